"""Themes: which words of a corpus they are made of, and what fine-tuning and evaluation do with them."""

import random

import pytest
from datasets import Dataset

from poet.alignment.themes import (
    INSTRUCTION,
    Lexicon,
    ask_by_theme,
    count_used_words,
    part_by_theme,
)
from poet.data.poems import Poem
from poet.data.rows import sft_row
from poet_tokenizer import ask

_MOON, _HOME = "明月照松間，清風入舊山。", "故鄉千里外，秋雁帶霜還。"


@pytest.fixture(scope="module")
def poems() -> list[str]:
    """Verse in which 明月, 秋月 and 江月, 故鄉 and 秋雁 return, among lines that never do."""
    draw = random.Random(0)
    others = [chr(0x5000 + i) for i in range(400)]

    def line(begins: str) -> str:
        return begins + "".join(draw.sample(others, 5 - len(begins)))

    heads = ["明月", "秋月", "江月", "故鄉", "秋雁", "不知"]
    return [
        f"{line(head)}，{line('')}。\n{line('')}，{line('')}。" for head in heads for _ in range(40)
    ]


def test_words_are_what_stands_together_and_what_many_of_them_end_in(poems):
    words = Lexicon(poems).words
    assert {"明月", "秋月", "江月", "故鄉", "秋雁"} <= words
    assert "月" in words and "鄉" not in words  # three words end in 月
    assert "不知" not in words  # as often, and nobody's theme
    assert words <= {"明月", "秋月", "江月", "故鄉", "秋雁", "月"}


def test_a_theme_is_of_its_poem_and_repeats_no_character(poems):
    lexicon = Lexicon([*poems, *[f"{_MOON}\n{_HOME}"] * 5])
    draw = random.Random(0)
    themes = [lexicon.theme(f"{_MOON}\n{_HOME}", draw) for _ in range(50)]
    for theme in themes:
        words = theme.split(" ")
        assert 1 <= len(words) <= 3 and all(word in _MOON + _HOME for word in words)
        assert len(set("".join(words))) == len("".join(words))
    assert {len(theme.split(" ")) for theme in themes} == {1, 2, 3}
    parted = _MOON.replace("明月", "明、月")
    assert lexicon.theme(parted, draw) and count_used_words(parted, "明月", {"明月": set()}) == (
        1,
        1,
    )
    assert lexicon.theme("一二三四五，六七八九十。", draw) is None


def test_kin_are_the_words_of_the_same_poems(poems):
    kin = Lexicon([*poems, *[f"{_MOON}\n{_HOME}"] * 9]).related_words(["故鄉", "從來沒有"])
    assert {"清風", "秋雁"} & kin["故鄉"] and "故鄉" not in kin["故鄉"]
    assert kin["從來沒有"] == set()


def test_a_poem_speaks_of_a_word_or_of_its_kin():
    kin = {"故鄉": {"秋雁"}, "酒": set(), "明月": {"清風"}}
    assert count_used_words(_MOON, "明月 故鄉 酒", kin) == (1, 1)
    assert count_used_words(_HOME, "明月 故鄉 酒", kin) == (1, 1)
    assert count_used_words(_MOON.replace("明月", "白日"), "明月 酒", kin) == (0, 1)


def test_a_share_of_the_rows_answers_words_of_its_own_poem(poems):
    rows = Dataset.from_list(
        [sft_row(Poem(f"題{i}", tuple(poem.split("\n")))) for i, poem in enumerate(poems)]
    )
    asked = ask_by_theme(rows, 0.5, seed=0)
    assert asked.features == rows.features and asked["completion"] == rows["completion"]
    changed = [row for row, before in zip(asked, rows) if row["prompt"] != before["prompt"]]
    assert 60 < len(changed) < 120  # a sixth of the poems has no word for a theme
    for row in changed:
        theme = row["prompt"][1]["content"]
        assert row["prompt"] == ask(theme, INSTRUCTION)
        assert all(word in row["completion"][0]["content"] for word in theme.split(" "))
    assert ask_by_theme(rows, 0.5, seed=0)["prompt"] == asked["prompt"]
    assert ask_by_theme(rows, 0.0, seed=0)["prompt"] == rows["prompt"]
    assert len(ask_by_theme(rows.select([]), 0.5, seed=0)) == 0


def test_a_share_of_the_poems_has_words_of_its_own_for_a_title(poems):
    whole = [Poem(f"題{i}", tuple(poem.split("\n"))) for i, poem in enumerate(poems)]
    titled, themed = part_by_theme(whole, 0.5, seed=0)
    assert 60 < len(themed) < 120 and len(titled) + len(themed) == len(whole)
    assert {poem.text for poem in titled} | {poem.text for poem in themed} == set(poems)
    assert all(poem in whole for poem in titled) and not any(poem in whole for poem in themed)
    assert all(word in poem.text for poem in themed for word in poem.title.split(" "))
    assert part_by_theme(whole, 0.0, seed=0) == (whole, [])
