"""Themes: the words of a corpus, and prompts made of them."""

import random

import pytest
from datasets import Dataset

from poet.alignment.themes import (
    INSTRUCTION,
    Lexicon,
    ask_by_theme,
    count_used_words,
    instruction,
    part_by_theme,
)
from poet.data.poems import Poem
from poet.data.rows import sft_row
from poet.prosody.script import to_simplified
from poet_tokenizer import ask

MOON, HOME = "明月照松間，清風入舊山。", "故鄉千里外，秋雁帶霜還。"
POEM = f"{MOON}\n{HOME}"


@pytest.fixture(scope="module")
def poems() -> list[str]:
    """Poems that begin with one of six pairs of characters. All other pairs occur by chance."""
    rng = random.Random(0)
    others = [chr(0x5000 + i) for i in range(400)]

    def line(start: str) -> str:
        return start + "".join(rng.sample(others, 5 - len(start)))

    starts = ["明月", "秋月", "江月", "故鄉", "秋雁", "不知"]
    return [
        f"{line(start)}，{line('')}。\n{line('')}，{line('')}。"
        for start in starts
        for _ in range(40)
    ]


def as_poems(texts: list[str]) -> list[Poem]:
    return [Poem(f"題{i}", tuple(text.split("\n"))) for i, text in enumerate(texts)]


def test_words_are_frequent_pairs_and_their_shared_endings(poems):
    # 月 ends three pairs. 不知 (not know) is as frequent, but has a grammatical role only.
    assert Lexicon(poems).words == {"明月", "秋月", "江月", "故鄉", "秋雁", "月"}


def test_a_theme_is_one_to_three_words_of_its_poem_without_a_repeated_character(poems):
    lexicon = Lexicon([*poems, *[POEM] * 5])
    rng = random.Random(0)
    themes = [lexicon.theme(POEM, rng).split(" ") for _ in range(50)]
    assert {len(words) for words in themes} == {1, 2, 3}
    for words in themes:
        assert all(word in POEM for word in words)
        assert len(set("".join(words))) == len("".join(words))
    assert lexicon.theme("一二三四五，六七八九十。", rng) is None


def test_a_mark_inside_a_line_does_not_divide_a_word(poems):
    text = MOON.replace("明月", "明、月")
    assert "明月" in Lexicon(poems).words_of(text)
    assert count_used_words(text, "明月", {"明月": set()}) == (1, 1)


def test_related_words_occur_in_the_same_poems(poems):
    related = Lexicon([*poems, *[POEM] * 9]).related_words(["故鄉", "從來沒有"])
    assert {"清風", "秋雁"} & related["故鄉"] and "故鄉" not in related["故鄉"]
    assert related["從來沒有"] == set()  # in no poem


def test_the_words_that_a_poem_uses_are_counted_with_and_without_related_words():
    related = {"故鄉": {"秋雁"}, "酒": set(), "明月": {"清風"}}
    assert count_used_words(MOON, "明月 故鄉 酒", related) == (1, 1)
    assert count_used_words(HOME, "明月 故鄉 酒", related) == (1, 1)
    assert count_used_words(MOON.replace("明月", "白日"), "明月 酒", related) == (0, 1)


def test_a_fraction_of_the_rows_asks_for_words_of_its_poem(poems):
    rows = Dataset.from_list([sft_row(poem) for poem in as_poems(poems)])
    themed = ask_by_theme(rows, 0.5, seed=0)
    assert themed.features == rows.features and themed["completion"] == rows["completion"]
    changed = [row for row, old in zip(themed, rows, strict=True) if row["prompt"] != old["prompt"]]
    assert 60 < len(changed) < 120  # the poems with 不知 have no word, and keep their title
    for row in changed:
        theme = row["prompt"][1]["content"]
        assert row["prompt"] == ask(theme, INSTRUCTION)
        assert all(word in row["completion"][0]["content"] for word in theme.split(" "))
    assert ask_by_theme(rows, 0.5, seed=0)["prompt"] == themed["prompt"]
    assert ask_by_theme(rows, 0.0, seed=0)["prompt"] == rows["prompt"]
    assert len(ask_by_theme(rows.select([]), 0.5, seed=0)) == 0


def test_themes_of_simplified_poems_are_simplified(poems):
    # 無 has a grammatical role, like 无.
    simplified = [to_simplified(poem.replace("不知", "無人")) for poem in poems]
    assert Lexicon(simplified).words == {"明月", "秋月", "江月", "故乡", "秋雁", "月"}
    rows = Dataset.from_list([sft_row(poem) for poem in as_poems(simplified)])
    systems = {
        row["prompt"][0]["content"]
        for row in ask_by_theme(rows, 1.0, seed=0)
        if row["prompt"][0]["role"] == "system"
    }
    assert systems == {"请用以下主题写一首诗"} == {instruction("".join(simplified))}
    assert instruction("".join(poems)) == INSTRUCTION


def test_a_fraction_of_the_poems_has_a_theme_as_its_title(poems):
    corpus = as_poems(poems)
    titled, themed = part_by_theme(corpus, 0.5, seed=0)
    assert 60 < len(themed) < 120 and len(titled) + len(themed) == len(corpus)
    assert {poem.text for poem in titled + themed} == set(poems)
    assert all(poem in corpus for poem in titled)
    for poem in themed:
        assert poem not in corpus and all(word in poem.text for word in poem.title.split(" "))
    assert part_by_theme(corpus, 0.0, seed=0) == (corpus, [])
