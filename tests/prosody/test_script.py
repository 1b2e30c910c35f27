"""Tests of the conversion between simplified and traditional characters."""

import pytest
from helpers import simplified_sample

from poet.prosody.script import (
    SIMPLIFIED,
    TRADITIONAL,
    from_simplified,
    script_of,
    to_script_of,
    to_traditional,
)


def test_a_simplified_title_gets_the_characters_of_the_corpus():
    pairs = (
        "却望归 却望歸 闲居见 閑居見 登峰顶 登峰頂 古剑篇 古劒篇 床前 牀前 长叹 長歎 "
        "万里归云 萬里歸雲 里门 里門"
    ).split()
    assert [to_traditional(title) for title in pairs[::2]] == pairs[1::2]


@pytest.mark.parametrize(
    "text",
    ["故里", "子云", "皇后", "山中白云", "雲歸里門", "几案", "春夜喜雨", "却望千里餘", "<RES>", ""],
)
def test_traditional_text_stays_as_it_is(text):
    assert to_traditional(text) == text


def test_the_script_of_a_vocabulary_is_that_of_most_of_its_characters():
    simplified = set("".join(simplified_sample()))
    assert script_of(simplified) == SIMPLIFIED
    # The instruction of the prompts and stray variants do not decide.
    assert script_of(simplified | set("請用以下題目寫一首詩")) == SIMPLIFIED
    assert script_of(map(from_simplified, simplified)) == TRADITIONAL
    assert script_of("abc") == script_of("") == script_of("山水") == TRADITIONAL


@pytest.mark.parametrize(
    ("vocabulary", "text", "expected"),
    [
        ("听风云归山", "聽風歸", "听风归"),
        ("听风云归山", "听风归", "听风归"),
        ("乾坤听风", "乾坤", "乾坤"),  # 乾 stays in simplified text, where 乾燥 is 干燥
        ("聽風雲歸山", "听风归", "聽風歸"),
        ("東京国会学駅話語", "国会", "国会"),  # Japanese: the conversion would not help
        ("abc", "Autumn", "Autumn"),
    ],
)
def test_a_title_is_converted_to_the_script_of_a_vocabulary(vocabulary, text, expected):
    assert to_script_of(set(vocabulary), text) == expected
