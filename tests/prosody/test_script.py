"""Tests of the conversion between simplified and traditional characters."""

import pytest

from poet.prosody.script import to_traditional


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
