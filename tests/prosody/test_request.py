"""Requests for a form: how they are read, which ones are refused, and what breaks one."""

import subprocess
import sys

import pytest

from poet.errors import UserError
from poet.prosody.characters import all_groups
from poet.prosody.judge import judge
from poet.prosody.request import explain, read_form, regulated_form

BASE = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"


def test_reading_and_judging_import_no_torch():
    code = (
        "import sys; from poet.prosody import judge, request; "
        "request.read_form('wuyan-jueju', first_line='石徑幽泉細'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_request_is_read_in_either_script_and_with_any_marks():
    plain = read_form("五言律詩", rhyme="東", acrostic="春風化雨", first_line="春山石徑細")
    for form, rhyme, acrostic, first_line in (
        ("五律", "上平聲一東", "春,風,化,雨", "春山石徑細,"),
        ("五言律诗", "东", "春风化雨", "春山石径细？"),
        ("wuyan-lushi", "1-dong", "春 風 化 雨", "春山石徑細！"),
        ("Five-Character Regulated Verse", "上平一東", "春風化雨", "春山石徑細"),
    ):
        assert read_form(form, rhyme=rhyme, acrostic=acrostic, first_line=first_line) == plain
    assert (plain.lines, plain.couplets, plain.tokens, plain.given[20]) == (8, 4, 52, "化")
    for group in all_groups():
        assert read_form("五言古體", rhyme=group).rhyme == group


def test_positions_of_rhyme_words_and_marks():
    request = read_form("五言絕句")
    poem = BASE + "<end>"
    assert [poem[position] for position in request.rhyme_places] == ["聲", "城"]
    assert [poem[position] for position in request.mark_places] == list("，。，。")


@pytest.mark.parametrize(
    "request_, sentence",
    [
        ({"form": "五言絕詩"}, "there is no form 五言絕詩. Did you mean 五言絕句?"),
        (
            {"form": "五言絕句", "rhyme": "陌"},
            "陌 .入聲十一陌. is oblique, but 五言絕句 .five-character quatrain. rhymes in",
        ),
        ({"form": "五言絕句", "rhyme": "風"}, "The character 風 is in 東 .1-dong."),
        ({"form": "五言絕句", "rhyme": ""}, "the rhyme is empty"),
        (
            {"form": "五言律詩", "acrostic": "春風化"},
            "春風化 has 3 characters, but 五言律詩 .* has 8 lines. Give 8 characters, .* or 4",
        ),
        ({"form": "五言律詩", "acrostic": "春A化雨"}, "has A, which is not a Chinese character"),
        ({"form": "五言律詩", "acrostic": "，"}, "the acrostic is empty"),
        (
            {"form": "五言律詩", "first_line": "春山"},
            "春山 has 2 characters, but a line of 五言律詩 .* has 5",
        ),
        (
            {"form": "七言絕句", "first_line": "石徑幽泉細"},
            "has 5 characters, but a line of 七言絕句 .seven-character quatrain. has 7",
        ),
        ({"form": "五言絕句", "first_line": BASE}, "has 4 lines. Give only the first one"),
        (
            {"form": "五言絕句", "first_line": "水風風風水"},
            "breaks the rules of 五言絕句 .*Line 1, place 4: the tones at the even places",
        ),
        (
            {"form": "五言絕句", "first_line": "石徑幽泉細", "acrostic": "春風"},
            "the first line begins with 石, but the acrostic begins with 春",
        ),
        (
            {"form": "五言絕句", "first_line": "石山風水風", "rhyme": "庚"},
            "ends in 風, .* does not rhyme with 庚 .8-geng.. It is in 東 .1-dong.",
        ),
        ({"form": "五言絕句", "lines": 6}, "五言絕句 .five-character quatrain. has 4 lines, not 6"),
        ({"form": "五言排律", "lines": 8}, "an even number of lines, at least 10, not 8"),
        ({"form": "五言古體", "lines": 5}, "an even number of lines, at least 4, not 5"),
    ],
)
def test_a_request_that_no_poem_can_keep_is_refused(request_, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        read_form(**request_)
    assert "\n" not in str(raised.value)


def test_the_regulated_form_of_a_poem_follows_from_its_line_length_and_number_of_lines():
    five, seven = "石徑幽泉細，松窗夜雨聲。", "石徑幽泉細雨聲，松窗夜雨白雲生。"
    assert regulated_form("\n".join([five] * 2)) == "五言絕句"
    assert regulated_form("\n".join([seven] * 4)) == "七言律詩"
    assert regulated_form("\n".join([seven] * 6)) == "七言排律"
    assert regulated_form("\n".join([seven] * 3)) is None and regulated_form("石徑") is None


# ------------------------------------------------------------------------- what breaks a request


@pytest.mark.parametrize(
    "old, new, sentences",
    [
        ("", "", []),
        (
            "對寒城",
            "對寒亭",
            ["Line 4, place 5: 亭 is in 青 (9-qing), but the request asks for 庚"],
        ),
        ("對寒城", "對寒聲", ["Line 4, place 5: 聲 already ends line 2."]),
        ("松窗夜", "石窗夜", ["Line 2, place 1: the line ends level with the tones 仄平仄仄平"]),
        ("泉細，松", "水細，松", ["Line 1, place 4: the oblique tone is a fault, because"]),
        ("孤燈", "孤灯", ["Line 3, place 2: 灯 is simplified. Write 燈 instead."]),
        ("孤燈", "孤\U00030000", ["Line 3, place 2: the tone of \U00030000 is unknown."]),
        ("細，", "細。", ["Line 1 ends with 。 instead of ，."]),
        ("孤燈", "孤燈下", ["Line 3 has 6 characters instead of 5."]),
        ("孤燈", "A孤燈", ["The poem has A, which is not a Chinese character."]),
        (BASE[13:], "", ["五言絕句 (five-character quatrain) has 4 lines. The poem has 2."]),
        (
            "石徑幽泉細，松窗夜雨聲",
            "夜雨滴寒亭，松窗半夜聲",
            ["Line 1, place 5: 亭 is in 青 (9-qing), but the request asks for 庚 (8-geng)."],
        ),
        (
            "松窗夜雨聲",
            "落葉滿江山",
            [
                "Lines 1–2, place 2: the two lines of a couplet do not",
                "Line 2, place 5: 山 is in 刪",
            ],
        ),
    ],
)
def test_each_broken_rule_is_explained_with_line_and_place(old, new, sentences):
    request = read_form("wuyan-jueju", rhyme="geng")
    reasons = explain(request, BASE.replace(old, new))
    assert len(reasons) == len(sentences), reasons
    for reason, sentence in zip(reasons, sentences, strict=True):
        assert reason.startswith(sentence)


def test_a_rhyme_word_in_another_writing_is_explained():
    poem = BASE.replace("聲", "峯").replace("城", "峰")
    assert explain(read_form("五言絕句", rhyme="冬"), poem) == [
        "Line 4, place 5: 峰 already ends line 2, written 峯."
    ]


def test_parts_of_a_request_are_explained_too():
    request = read_form("五言絕句", acrostic="春風", first_line="春徑幽泉細")
    assert explain(request, BASE) == [
        "Line 1, place 1: the request asks for 春 instead of 石.",
        "Line 3, place 1: the request asks for 風 instead of 孤.",
    ]
    vocabulary = set(BASE) - set("燈")
    assert explain(read_form("五言絕句"), BASE, vocabulary) == [
        "Line 3, place 2: the model's vocabulary lacks 燈."
    ]
    old_style = read_form("五言古體", lines=4)
    assert explain(old_style, BASE.replace("對寒城", "對寒山")) == [
        "Line 4, place 5: 山 does not rhyme with the even lines before."
    ]


def test_the_beginning_of_a_poem_may_be_unfinished():
    request = read_form("五言絕句")
    for end in range(len(BASE)):
        assert explain(request, BASE[:end], finished=False) == []
    (reason,) = explain(request, "石徑幽泉細，松石", finished=False)
    assert reason.startswith("Line 2, place 2") or reason.startswith("Lines 1–2, place 2")


def test_faults_are_those_of_the_judge(tang_poems):
    """`judge` finds no fault in a poem that `explain` accepts, and the other way round."""
    for poem in tang_poems[:400]:
        form = regulated_form(poem)
        judgment = judge(poem)
        if form and not judgment.free:
            request = read_form(form, lines=len(judgment.lines))
            reasons = explain(request, poem)
            for verdict in judgment.faults:
                where = f"ine {verdict.line}, place {verdict.place}"
                lines = f"ines {'–'.join(map(str, verdict.lines))}, place {verdict.place}"
                assert any(where in reason or lines in reason for reason in reasons), poem
