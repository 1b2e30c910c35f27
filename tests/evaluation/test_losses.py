"""Losses are those that plain torch computes."""

import pytest
import torch
from helpers import make_checkpoint

from poet.evaluation.held_out import Answer
from poet.evaluation.intervals import Estimate, ratio
from poet.evaluation.losses import poem_costs, text_costs, title_gain
from poet.generation.load import load
from poet_tokenizer import ask, encode_text

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
SEVEN = "一二三四五六七，八九十甲乙丙丁。\n戊己庚辛壬癸子，丑寅卯辰巳午未。"


@pytest.fixture
def poet(tmp_path):
    return load(make_checkpoint(tmp_path, characters=FIVE + SEVEN + "春夜"))


def poem_loss(model, tokenizer, poems: list[Answer]) -> Estimate:
    return ratio(poem_costs(model, tokenizer, poems))


def gain_of(model, tokenizer, poems: list[Answer]) -> float:
    costs = poem_costs(model, tokenizer, poems)
    return title_gain(model, tokenizer, poems, costs).value


@torch.inference_mode()
def plain_nats(model, ids: list[int], first: int) -> float:
    """Returns the nats of ids[first:], each token given all before it."""
    log_probabilities = model(input_ids=torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return -sum(log_probabilities[i - 1, ids[i]].item() for i in range(first, len(ids)))


def test_a_poems_loss_is_that_of_its_characters_and_its_end_given_the_prompt(poet):
    model, tokenizer = poet
    poems = [
        Answer(ask("春"), FIVE),
        Answer(ask("春夜" * 9), SEVEN),
        Answer(ask("夜"), "一二三四五，六七八九十。"),
        Answer(ask("鬱"), FIVE * 3),
    ]
    total, count = 0.0, 0
    for chat, poem in poems:
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        ids = [*prompt, *tokenizer(poem)["input_ids"], tokenizer.eos_token_id]
        ids = ids[: model.config.n_positions]
        total += plain_nats(model, ids, len(prompt))
        count += len(ids) - len(prompt)
    loss, (low, high) = poem_loss(model, tokenizer, poems)
    assert loss == pytest.approx(total / count, abs=1e-5)
    assert low < loss < high


def test_a_texts_loss_is_that_of_windows_one_after_another(poet):
    model, tokenizer = poet
    text = (FIVE + "\n\n" + SEVEN) * 4
    ids, size = encode_text(tokenizer, text), model.config.n_positions
    starts = range(0, len(ids) - size, size)
    total = 0.0
    for start in starts:
        window = torch.tensor(ids[start : start + size])
        following = torch.tensor(ids[start + 1 : start + size + 1])
        with torch.inference_mode():
            logits = model(input_ids=window[None]).logits[0]
        total += torch.nn.functional.cross_entropy(logits, following, reduction="sum").item()
    loss = ratio(text_costs(model, tokenizer, text.split("\n\n"))).value
    assert loss == pytest.approx(total / (len(starts) * size), abs=1e-5)


def test_a_poem_of_a_text_costs_what_its_characters_cost_in_the_whole_text(poet):
    model, tokenizer = poet
    poems = [f"春\n{SEVEN}", f"夜鬱\n{SEVEN}", f"春夜\n{FIVE}"] * 3
    text = "\n\n".join(poems)
    costs = text_costs(model, tokenizer, poems)
    ids, size = encode_text(tokenizer, text), model.config.n_positions
    first, second = (len(encode_text(tokenizer, f"{poem}\n\n")) for poem in poems[:2])
    assert first < size < first + second  # a window begins inside the second poem
    windows = [ids[start : start + size + 1] for start in (0, size)]
    # nats[i] is for ids[i + 1].
    nats = [plain_nats(model, window[: k + 1], k) for window in windows for k in range(1, size + 1)]
    assert costs[0][0] == pytest.approx(sum(nats[: first - 1]), abs=1e-3)
    assert costs[1][0] == pytest.approx(sum(nats[first - 1 : first + second - 1]), abs=1e-3)
    scored = (len(ids) - 1) // size * size
    assert sum(count for _, count in costs) == len(tokenizer.decode(ids[1 : scored + 1]))


def test_the_title_gain_is_what_other_titles_cost_more(poet):
    model, tokenizer = poet
    model.lm_head.weight.data.mul_(20)
    poems = [Answer(ask("春"), FIVE), Answer(ask("夜"), SEVEN), Answer(ask("春夜" * 4), FIVE)]
    own = poem_loss(model, tokenizer, poems).value
    titles = ["春夜" * 4, "春", "夜"]
    shuffled = [Answer(ask(title), poem.text) for title, poem in zip(titles, poems, strict=True)]
    other = poem_loss(model, tokenizer, shuffled).value
    gain = gain_of(model, tokenizer, poems)
    assert abs(gain) > 1e-4 and gain == pytest.approx(other - own, abs=1e-5)


def test_a_model_that_cannot_read_the_title_gains_nothing_by_it(poet):
    model, tokenizer = poet
    model.lm_head.weight.data.mul_(20)
    poems = [Answer(ask("春"), FIVE), Answer(ask("夜"), SEVEN), Answer(ask("春夜" * 4), FIVE)]
    for block in model.transformer.h:
        torch.nn.init.zeros_(block.attn.c_proj.weight)
    torch.nn.init.zeros_(model.transformer.wpe.weight)
    assert gain_of(model, tokenizer, poems) == pytest.approx(0, abs=1e-5)
