"""Checkpoints made by hand here, one layer of sixteen numbers; what is asked of them is asked of any."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import POSITIONS, make_checkpoint
from transformers import pipeline, set_seed

from poet.errors import UserError
from poet.generation.write import load, stream_poem, write_ids, write_poems


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def poet(checkpoint):
    return load(checkpoint)


def test_a_title_gives_the_poem_of_pipeline(checkpoint, poet):
    write_as_pipeline = pipeline("text-generation", model=str(checkpoint))
    for seed, title in enumerate(["春夜喜雨", "鬱", "春<RES>夜"]):
        set_seed(seed)
        answer = write_as_pipeline([{"role": "user", "content": title}])[0]["generated_text"][-1][
            "content"
        ]
        assert write_poems(*poet, [title], seed=seed) == [answer]


def test_poems_come_in_the_order_of_their_titles(poet):
    titles = ["春", "春夜喜雨山中", "夜", "山中"]
    greedy = {"do_sample": False, "max_new_tokens": 5}
    together = write_poems(*poet, titles, batch_size=3, **greedy)
    assert together == [write_poems(*poet, [title], **greedy)[0] for title in titles]
    assert len(set(together)) > 1
    assert write_poems(*poet, []) == []


def test_a_seed_gives_the_same_poems_and_leaves_the_callers_random_numbers_alone(poet):
    model, _ = poet
    model.train()
    state = torch.get_rng_state()
    first, again, other, fresh = (
        write_poems(*poet, ["春夜"] * 4, seed=seed) for seed in (1, 1, 2, None)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    model.eval()
    assert first == again != other
    assert fresh not in (first, write_poems(*poet, ["春夜"] * 4))


def test_what_is_streamed_is_the_poem_in_whole_characters(poet):
    pieces: list[str] = []
    poem = stream_poem(*poet, "春夜", pieces.append, seed=3)
    assert "".join(pieces) == poem == write_poems(*poet, ["春夜"], seed=3)[0]
    assert all(len(piece) == 1 for piece in pieces)
    # With byte tokens allowed a random model writes broken characters; the pieces are still what decodes at once.
    pieces.clear()
    poem = stream_poem(*poet, "春夜", pieces.append, seed=3, suppress_tokens=None)
    assert "�" in poem and "".join(pieces) == poem


def test_verse_has_neither_tags_nor_broken_characters(poet):
    model, tokenizer = poet
    allowed = set("春夜喜雨山中白，。\n請用以下題目寫一首詩")
    written = write_ids(model, tokenizer, ["鬱"] * 50, seed=0)
    assert all(
        ids.index(tokenizer.eos_token_id) == len(ids) - 1
        for ids in written
        if tokenizer.eos_token_id in ids
    )
    assert set("".join(tokenizer.batch_decode(written, skip_special_tokens=True))) <= allowed


def test_no_poem_goes_over_the_last_position(tmp_path):
    model, tokenizer = load(make_checkpoint(tmp_path, ends=1e-6))
    prompt = len(tokenizer.apply_chat_template([{"role": "user", "content": "春夜"}])["input_ids"])
    for most in ({}, {"max_new_tokens": 500}):
        assert [len(ids) for ids in write_ids(model, tokenizer, ["春夜"], **most)] == [
            POSITIONS - prompt
        ]
    assert len(write_ids(model, tokenizer, ["春夜"], max_new_tokens=3)[0]) == 3
    assert len(write_ids(model, tokenizer, ["春" * (POSITIONS - prompt + 1)])[0]) == 1
    with pytest.raises(
        UserError, match=f"too long: its prompt takes {POSITIONS} tokens of the {POSITIONS}"
    ):
        write_ids(model, tokenizer, ["春" * (POSITIONS - prompt + 2)])


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}]
)
def test_settings_that_nothing_can_be_drawn_with_are_refused_at_once(settings, tmp_path):
    with pytest.raises(UserError, match=next(iter(settings))):
        make_checkpoint(tmp_path, **settings)


def test_a_checkpoint_that_is_none_is_refused_in_one_sentence(checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other", characters="春夜")
    mixed = shutil.copytree(checkpoint, tmp_path / "mixed")
    shutil.copy(other / "tokenizer.json", mixed)
    swapped = shutil.copytree(checkpoint, tmp_path / "swapped")
    shutil.copy(other / "model.safetensors", swapped)
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(
        (checkpoint / "model.safetensors").read_bytes()[:500]
    )
    without = shutil.copytree(checkpoint, tmp_path / "without")
    (without / "model.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    sizes = [len(load(folder)[1]) for folder in (other, checkpoint)]
    for folder, sentence in {
        tmp_path / "nowhere": "there is no checkpoint folder",
        checkpoint / "config.json": "is a file",
        tmp_path / "empty": "no config.json and no tokenizer.json",
        broken: "not a whole checkpoint",
        without: "not a whole checkpoint",
        swapped: "have not the shapes that its config.json gives",
        mixed: f"has {sizes[0]} tokens and the model {sizes[1]}",
    }.items():
        with pytest.raises(UserError, match=sentence) as raised:
            load(folder)
        assert "\n" not in str(raised.value)


def test_guidance_gives_the_poem_of_pipeline_with_it_and_another_than_without(checkpoint, poet):
    write_as_pipeline = pipeline("text-generation", model=str(checkpoint))
    titles = ["春夜", "山中喜雨"]
    for title in titles:
        set_seed(5)
        answer = write_as_pipeline([{"role": "user", "content": title}], guidance_scale=3.0)
        (guided,) = write_poems(*poet, [title], seed=5, guidance_scale=3.0)
        assert answer[0]["generated_text"][-1]["content"] == guided
    assert write_poems(*poet, titles, seed=5, guidance_scale=3.0) != write_poems(
        *poet, titles, seed=5
    )


def test_another_instruction_is_what_pipeline_makes_of_a_system_message(checkpoint, poet):
    write_as_pipeline = pipeline("text-generation", model=str(checkpoint))
    set_seed(3)
    messages = [{"role": "system", "content": "春夜"}, {"role": "user", "content": "秋 雁"}]
    answer = write_as_pipeline(messages)[0]["generated_text"][-1]["content"]
    assert write_poems(*poet, ["秋 雁"], seed=3, instruction="春夜") == [answer]
    assert write_poems(*poet, ["秋 雁"], seed=3) != [answer]
