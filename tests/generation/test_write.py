"""Tests of writing, with random checkpoints of one layer and sixteen numbers per token."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import POSITIONS, ROOT, make_checkpoint, make_model, simplified_sample
from transformers import pipeline, set_seed

from poet.errors import UserError
from poet.generation.load import load
from poet.generation.write import mean_log_probabilities, write, write_ids
from poet_tokenizer import encode_text


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def poet(checkpoint):
    return load(checkpoint)


@pytest.fixture(scope="module")
def pipeline_writes(checkpoint):
    """(messages, seed) -> the poem that plain transformers writes."""
    plain = pipeline("text-generation", model=str(checkpoint))

    def call(messages: list[dict], seed: int, **settings) -> str:
        set_seed(seed)
        return plain(messages, **settings)[0]["generated_text"][-1]["content"]

    return call


def title_message(title: str) -> dict:
    return {"role": "user", "content": title}


# ------------------------------------------------------------------- the same poem as transformers


@pytest.mark.parametrize("plain", [False, True])
def test_a_title_gives_the_poem_of_pipeline(pipeline_writes, poet, plain):
    for seed, title in enumerate(["春夜喜雨", "鬱", "春<RES>夜"]):
        expected = pipeline_writes([title_message(title)], seed)
        assert write(*poet, title, seed=seed, plain=plain) == [expected]


@pytest.mark.parametrize("begun", ["春夜，", "春<夜", "<"])
def test_pipeline_continues_a_begun_poem(pipeline_writes, begun):
    chat = [title_message("山<中"), {"role": "assistant", "content": begun}]
    poem = pipeline_writes(chat, 0)
    assert poem.startswith(begun) and len(poem) > len(begun)


@pytest.mark.parametrize("plain", [False, True])
def test_settings_give_the_poem_of_pipeline_with_them(pipeline_writes, poet, plain):
    settings = {"temperature": 0.5, "top_k": 4, "do_sample": True}
    expected = pipeline_writes([title_message("山中")], 2, **settings)
    assert write(*poet, "山中", seed=2, plain=plain, **settings) == [expected]


@pytest.fixture(scope="module")
def simplified_poet(tmp_path_factory):
    characters = "".join(sorted(set("".join(simplified_sample()))))
    return load(make_model(tmp_path_factory.mktemp("simplified"), characters))


@pytest.mark.parametrize("titles", [("聽風", "听风"), ("秋 鄉 雲", "秋 乡 云")])
def test_a_model_of_simplified_poems_understands_traditional_titles(simplified_poet, titles):
    """Before, the missing characters became byte tokens, which no title of the corpus has."""
    traditional, simplified = (write(*simplified_poet, title, seed=3) for title in titles)
    assert traditional == simplified != write(*simplified_poet, "山", seed=3)


def test_a_model_of_traditional_poems_understands_simplified_titles(tmp_path):
    poet = load(make_model(tmp_path, "春夜聽風雲山水歸"))
    assert write(*poet, "听风云归", seed=3) == write(*poet, "聽風雲歸", seed=3)


def test_guidance_gives_the_poem_of_pipeline_with_guidance(pipeline_writes, poet):
    titles = ["春夜", "山中喜雨"]
    for title in titles:
        expected = pipeline_writes([title_message(title)], 5, guidance_scale=3.0)
        assert write(*poet, title, seed=5, guidance_scale=3.0) == [expected]
    assert write(*poet, titles, seed=5, guidance_scale=3.0) != write(*poet, titles, seed=5)


def test_an_instruction_gives_the_poem_of_pipeline_with_a_system_message(pipeline_writes, poet):
    system = {"role": "system", "content": "春夜"}
    expected = pipeline_writes([system, title_message("秋 雁")], 3)
    assert write(*poet, "秋 雁", seed=3, instruction="春夜") == [expected]
    assert write(*poet, "秋 雁", seed=3) != [expected]


# ---------------------------------------------------------------------------------- several poems


@pytest.mark.parametrize("plain", [False, True])
def test_poems_come_in_the_order_of_their_titles(poet, plain):
    titles = ["春", "春夜喜雨山中", "夜", "山中"]
    greedy = {"do_sample": False, "max_new_tokens": 5, "plain": plain}
    together = write(*poet, titles, batch_size=3, **greedy)
    assert together == [write(*poet, title, **greedy)[0] for title in titles]
    assert len(set(together)) > 1
    assert write(*poet, [], plain=plain) == []


def test_of_several_poems_the_likeliest_comes_first(tmp_path):
    model, tokenizer = load(make_checkpoint(tmp_path, ends=0.3))
    titles = ["春夜", "山"]
    poems = write(model, tokenizer, titles, n=5, seed=1)
    repeated = [title for title in titles for _ in range(5)]
    assert sorted(poems) == sorted(write(model, tokenizer, repeated, seed=1))
    for title, group in zip(titles, (poems[:5], poems[5:]), strict=True):
        ids = [[*encode_text(tokenizer, poem), tokenizer.eos_token_id] for poem in group]
        scores = mean_log_probabilities(model, tokenizer, title, ids)
        assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]


def test_a_seed_gives_the_same_poems_and_keeps_the_callers_random_state(poet):
    model, _ = poet
    model.train()
    state = torch.get_rng_state()
    first, again, other, fresh = (write(*poet, ["春夜"] * 4, seed=seed) for seed in (1, 1, 2, None))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    model.eval()
    assert first == again != other
    assert fresh not in (first, write(*poet, ["春夜"] * 4))


# -------------------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("plain", [False, True])
def test_a_streamed_poem_comes_in_whole_characters(poet, plain):
    pieces: list[str] = []
    (poem,) = write(*poet, "春夜", stream=pieces.append, seed=3, plain=plain)
    assert "".join(pieces) == poem == write(*poet, "春夜", seed=3)[0]
    assert all(len(piece) == 1 for piece in pieces)


def test_bytes_that_form_no_character_are_streamed_as_they_are_decoded(poet):
    pieces: list[str] = []
    (poem,) = write(*poet, "春夜", stream=pieces.append, seed=3, suppress_tokens=None)
    assert "�" in poem and "".join(pieces) == poem


def test_only_one_poem_can_be_streamed(poet):
    with pytest.raises(ValueError, match="only one poem"):
        write(*poet, "春夜", n=2, stream=print)


# ------------------------------------------------------------------------------------- every poem


@pytest.mark.parametrize("plain", [False, True])
def test_poems_have_neither_tags_nor_broken_characters(poet, plain):
    _, tokenizer = poet
    allowed = set("春夜喜雨山中白，。\n請用以下題目寫一首詩")
    rows = write_ids(*poet, ["鬱"] * 50, seed=0, plain=plain)
    end = tokenizer.eos_token_id
    assert all(end not in ids[:-1] for ids in rows) and any(ids[-1] == end for ids in rows)
    assert set("".join(tokenizer.batch_decode(rows, skip_special_tokens=True))) <= allowed


@pytest.mark.parametrize("plain", [False, True])
def test_no_poem_goes_over_the_last_position(tmp_path, plain):
    model, tokenizer = load(make_checkpoint(tmp_path, ends=1e-6))
    prompt = len(tokenizer.apply_chat_template([title_message("春夜")])["input_ids"])

    def length(title: str, **settings) -> int:
        return len(write_ids(model, tokenizer, [title], plain=plain, **settings)[0])

    assert length("春夜") == length("春夜", max_new_tokens=500) == POSITIONS - prompt
    assert length("春夜", max_new_tokens=3) == 3
    assert length("春" * (POSITIONS - prompt + 1)) == 1
    with pytest.raises(UserError, match=f"takes {POSITIONS} tokens, .* holds {POSITIONS}"):
        length("春" * (POSITIONS - prompt + 2))


@pytest.mark.parametrize("plain", [False, True])
def test_writing_without_a_form_imports_no_rules_and_plain_writing_no_other_loop(checkpoint, plain):
    code = (
        "import poet, sys;"
        f"poet.write(*poet.load({str(checkpoint)!r}), '春', plain={plain});"
        "print(*sorted(name for name in sys.modules if name.startswith('poet.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders = {name.split(".")[1] for name in done.stdout.split()}
    needed = {"device", "errors", "generation", "interrupts", "text"}
    assert folders == needed | (set() if plain else {"speed"})
