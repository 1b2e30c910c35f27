"""Poems that a model writes under the mask of a form, and the poems that give titles and forms."""

import pytest
from datasets import Dataset
from helpers import make_model, rhyme_words

from poet.alignment.masked_poems import in_no_form, in_regulated_forms, rows_in_forms
from poet.alignment.themes import INSTRUCTION
from poet.data.poems import Poem
from poet.data.rows import sft_row
from poet.errors import UserError
from poet.generation import write
from poet.generation.load import load
from poet.prosody.characters import all_groups
from poet.prosody.judge import judge
from poet_tokenizer import ask

QUATRAIN = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒城。"))
EIGHT_LINES = Poem("早行", ("石徑幽泉細雨聲，松窗夜雨白雲生。",) * 4)
TWO_LINES = Poem("望月", QUATRAIN.couplets[:1])
OBLIQUE_RHYME = Poem("古意", ("石徑幽泉雨，松窗夜雨白。", "孤燈明舊壁，白髮對寒月。"))
FOUR_CHARACTERS = Poem("詩", ("石徑幽泉，松窗夜雨。", "孤燈舊壁，白髮寒城。"))


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_model(tmp_path_factory.mktemp("poet"), rhyme_words(all_groups(), 12)))


def rows_of(*poems: Poem) -> Dataset:
    return Dataset.from_list([sft_row(poem) for poem in poems])


def titles(poems: Dataset) -> list[str]:
    return [row["prompt"][0]["content"] for row in poems]


def test_a_poem_under_the_mask_keeps_every_rule_of_its_form(poet):
    poems = [EIGHT_LINES, TWO_LINES, QUATRAIN]
    rows = rows_in_forms(*poet, poems, seed=0)
    assert [row["prompt"] for row in rows] == [ask("早行"), ask("登樓")]
    judgments = [judge(row["completion"][0]["content"]) for row in rows]
    assert [judgment.form for judgment in judgments] == ["七言律詩", "五言絕句"]
    assert all(judgment.regulated for judgment in judgments)


def test_poems_for_a_theme_are_sampled_with_the_instruction_for_themes(poet, monkeypatch):
    instructions = []
    write_ids = write.write_ids

    def record(*args, **settings):
        instructions.append(settings["instruction"])
        return write_ids(*args, **settings)

    monkeypatch.setattr(write, "write_ids", record)
    (row,) = rows_in_forms(*poet, [QUATRAIN], seed=0, instruction=INSTRUCTION)
    assert row["prompt"] == ask("登樓", INSTRUCTION) and instructions == [INSTRUCTION]


def test_poems_with_the_length_of_a_regulated_form_are_found():
    rows = rows_of(QUATRAIN, TWO_LINES, FOUR_CHARACTERS, EIGHT_LINES)
    assert in_regulated_forms(rows, max_lines=8) == [QUATRAIN, EIGHT_LINES]
    assert in_regulated_forms(rows, max_lines=4) == [QUATRAIN]
    with pytest.raises(UserError, match="none of the 2 poems has 5 or 7 characters per line"):
        in_regulated_forms(rows_of(TWO_LINES, FOUR_CHARACTERS), max_lines=8)


def test_poems_in_old_style_or_with_irregular_lines_are_found():
    sixteen_lines = Poem("長歌", OBLIQUE_RHYME.couplets * 4)
    rows = rows_of(QUATRAIN, OBLIQUE_RHYME, FOUR_CHARACTERS, EIGHT_LINES, sixteen_lines)
    # EIGHT_LINES has the length of a regulated form, but its tones are those of no form.
    assert titles(in_no_form(rows, max_lines=12, written=30)) == ["古意", "詩", "早行"]
    assert titles(in_no_form(rows, max_lines=16, written=30)) == ["古意", "詩", "早行", "長歌"]
    assert titles(in_no_form(rows, max_lines=12, written=7)) == ["古意", "詩"]
    assert titles(in_no_form(rows, max_lines=12, written=1)) == []
