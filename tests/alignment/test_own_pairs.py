"""Pairs of a model's own poems: which poems are paired, and which are dropped and counted."""

from functools import partial

import pytest
from datasets import Dataset
from helpers import make_checkpoint

from poet.alignment import own_pairs
from poet.alignment.own_pairs import SampledPairs, add_sampled_pairs, sample_pairs
from poet.alignment.poems import batches
from poet.data.poems import Poem
from poet.data.rows import dpo_row
from poet.errors import UserError
from poet.generation.load import load
from poet_tokenizer import encode_text


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_checkpoint(tmp_path_factory.mktemp("poet"), ends=0.1))


SPRING = tuple("春夜喜雨")


def begins_with_spring(poem: Poem) -> bool:
    return poem.text.startswith(SPRING)


def texts(row) -> tuple[str, str]:
    return row["chosen"][0]["content"], row["rejected"][0]["content"]


def test_a_preferred_poem_is_paired_with_another_poem_for_the_same_title(poet, monkeypatch):
    monkeypatch.setattr(own_pairs, "batches", partial(batches, size=3))
    titles = [f"春{i}" for i in range(8)]
    pairs = sample_pairs(*poet, titles, begins_with_spring, per_title=6, seed=1)
    titles_of_pairs = [row["prompt"][0]["content"] for row in pairs.rows]
    assert titles_of_pairs == sorted(titles_of_pairs) and len(set(titles_of_pairs)) > 4
    for row in pairs.rows:
        assert row.keys() == {"prompt", "chosen", "rejected"}
        assert [row[side][0]["role"] for side in row] == ["user", "assistant", "assistant"]
        chosen, rejected = texts(row)
        assert chosen.startswith(SPRING) and not rejected.startswith(SPRING)
    assert 0 < len(pairs.rows) <= pairs.preferred < pairs.poems <= 48


def test_the_same_seed_gives_the_same_pairs(poet):
    first, again, other = (
        sample_pairs(*poet, ["春夜", "喜雨"], begins_with_spring, per_title=6, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again != other


def let_model_write(monkeypatch, poet, poems: list[str]) -> None:
    """Replaces sampling by these poems. A poem that ends in … has no end mark."""
    _, tokenizer = poet
    ids = [encode_text(tokenizer, poem.removesuffix("…")) for poem in poems]
    ends = [[] if poem.endswith("…") else [tokenizer.eos_token_id] for poem in poems]
    written = [poem + end for poem, end in zip(ids, ends, strict=True)]
    monkeypatch.setattr(own_pairs.write, "write_ids", lambda *_, **__: written)


def test_poems_and_titles_that_give_no_pair_are_counted(poet, monkeypatch):
    poems = "春， 春。 中， 中。 春中 山 夜 白… 春 中… 山… 白… 春… 中… 山… 白…".split()
    let_model_write(monkeypatch, poet, poems)
    pairs = sample_pairs(*poet, ["甲", "乙", "丙", "丁"], begins_with_spring, per_title=4, seed=0)
    assert [texts(row) for row in pairs.rows] == [
        ("春，", "中，"),
        ("春。", "中。"),
        ("春中", "山"),
    ]
    assert (pairs.poems, pairs.preferred) == (8, 5)
    assert pairs.dropped == {
        "poems without an end": 8,
        "titles with nothing but preferred poems": 1,
        "titles without a preferred poem": 1,  # no poem of the last title reached its end
    }


def test_two_equal_poems_make_no_pair(poet, monkeypatch):
    let_model_write(monkeypatch, poet, ["春", "春", "中", "山", "山", "山"])
    answers = iter([True, False, False, False, False, False])  # a preference that is inconsistent
    pairs = sample_pairs(*poet, ["甲", "乙"], lambda poem: next(answers), per_title=3, seed=0)
    assert pairs.rows == []
    assert pairs.dropped == {"pairs of one text": 1, "titles without a preferred poem": 1}


def test_line_breaks_of_a_poem_are_kept(poet, monkeypatch):
    let_model_write(monkeypatch, poet, ["春\n\n夜\n", "中\n"])
    (row,) = sample_pairs(*poet, ["甲"], begins_with_spring, per_title=2, seed=0).rows
    assert texts(row) == ("春\n\n夜\n", "中\n")


def test_a_title_that_leaves_no_room_for_a_poem_is_refused(poet):
    with pytest.raises(UserError, match="too long"):
        sample_pairs(*poet, ["春" * 80], begins_with_spring, per_title=2, seed=0)


GOOD, BAD = "春夜喜雨山，春夜喜雨山。\n春夜喜雨山，春夜喜雨山。", "中"
OPTIONS = {
    "sampled_titles": 2,
    "samples_per_title": 4,
    "corruptions": 0,
    "seed": 5,
}


@pytest.fixture
def corpus_pairs() -> Dataset:
    poems = [Poem(title, tuple(GOOD.split("\n"))) for title in "甲乙丙丁"]
    return Dataset.from_list([dpo_row((poem, Poem(poem.title, (BAD,)))) for poem in poems])


def record_titles(monkeypatch, rows) -> list[tuple[list[str], int]]:
    """Replaces the sampling of pairs by `rows`, and records its titles and seeds."""
    calls = []

    def sample(model, tokenizer, titles, preferred, per_title, seed):
        calls.append((titles, seed))
        return SampledPairs(rows, 4, 1, {})

    monkeypatch.setattr(own_pairs, "sample_pairs", sample)
    return calls


def test_sampled_pairs_join_those_of_the_corpus(poet, corpus_pairs, monkeypatch):
    calls = record_titles(monkeypatch, [corpus_pairs[0]])
    rows = add_sampled_pairs(corpus_pairs, *poet, begins_with_spring, **OPTIONS)
    assert len(rows) == 5 and rows.features == corpus_pairs.features
    assert calls == [(["甲", "乙"], 5)]


def test_corrupted_poems_replace_the_pairs_of_the_corpus(poet, corpus_pairs, monkeypatch):
    options = OPTIONS | {"corruptions": 2}
    monkeypatch.setattr(own_pairs, "corruption_pairs", lambda *_: [corpus_pairs[0]])
    assert len(add_sampled_pairs(corpus_pairs, *poet, begins_with_spring, **options)) == 1
    monkeypatch.setattr(own_pairs, "corruption_pairs", lambda *_: [])
    with pytest.raises(UserError, match="2 titles gave no pair. Raise sampled_titles"):
        add_sampled_pairs(corpus_pairs, *poet, begins_with_spring, **options)


def test_a_preferred_poem_must_also_be_well_formed(poet, corpus_pairs, monkeypatch):
    title = [corpus_pairs[0]["prompt"][0]["content"]]
    assert title == ["甲"]
    let_model_write(monkeypatch, poet, ["春", GOOD])  # the preference likes both
    options = OPTIONS | {"sampled_titles": 1, "samples_per_title": 2}
    row = add_sampled_pairs(corpus_pairs, *poet, begins_with_spring, **options)[-1]
    assert texts(row) == (GOOD, "春")
