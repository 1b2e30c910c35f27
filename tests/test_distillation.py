"""What a model learns from itself under a mask: the rules of a form, and nothing else."""

import copy

import pytest
import torch
from test_forms import make_model, rhyme_words

from poet.corpus import Poem
from poet.dataset import ask
from poet.distillation import MaskedTeacher, distillation_loss
from poet.prosody import all_groups, judge
from poet.sampling import rows_in_forms
from poet.write import load

LINES = "石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒城。"
QUATRAIN, EIGHT = Poem("登樓", LINES), Poem("早行", ("石徑幽泉細雨聲，松窗夜雨白雲生。",) * 4)


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_model(tmp_path_factory.mktemp("distilled"), rhyme_words(all_groups(), 12)))


@pytest.fixture(scope="module")
def batch(poet):
    """Two poems of different forms that keep the rules, padded behind as trl pads them, and their labels."""
    model, tokenizer = poet
    rows = rows_in_forms(model, tokenizer, [EIGHT, QUATRAIN], temperature=1.0, seed=0)
    assert [judge(row["completion"][0]["content"]).form for row in rows] == ["七言律詩", "五言絕句"]
    assert all(judge(row["completion"][0]["content"]).regulated for row in rows)
    prompts = [tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"] for row in rows]
    whole = [tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"] for row in rows]
    padded = tokenizer.pad({"input_ids": whole}, padding_side="right", return_tensors="pt")
    labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
    for row, prompt in zip(labels, prompts, strict=True):
        row[: len(prompt)] = -100
    return {**padded, "labels": labels}


def test_poems_without_a_regulated_form_give_none(poet):
    assert rows_in_forms(*poet, [Poem("望月", LINES[:1])], temperature=1.0, seed=0) == []
    (row,) = rows_in_forms(*poet, [QUATRAIN], temperature=1.0, seed=0)
    assert row["prompt"] == ask("登樓")


def test_the_teacher_is_the_model_less_what_the_mask_forbids(poet, batch):
    model, tokenizer = poet
    target, rhyming = MaskedTeacher(model, tokenizer)(**batch)
    counted = batch["labels"][:, 1:] != -100
    assert target.shape == (counted.sum(), len(tokenizer)) and rhyming.shape == (counted.sum(),)
    assert rhyming.sum() == 4 + 2
    written = batch["labels"][:, 1:][counted]
    assert (target.gather(1, written[:, None]) > 0).all()  # the poem itself keeps the rules
    assert torch.allclose(target.sum(1), torch.ones(len(target)))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1][counted]
    own = logits.softmax(-1)
    free = target > 0
    # The mask leaves proportions as they are, but at the end of the first line, where words that rhyme get those of the others'.
    ratio = torch.where(free, target / own, torch.nan)
    spread = ratio.nan_to_num(0).amax(1) / ratio.nan_to_num(torch.inf).amin(1)
    assert ((spread - 1).abs() < 1e-3).sum() >= len(target) - 2
    assert (free.sum(1) < len(tokenizer)).all()
    second = rhyming.nonzero()[1].item()
    assert free[second].sum() < 40  # one group's words less the first one


def test_the_loss_is_least_where_the_two_agree(poet, batch):
    target, rhyming = MaskedTeacher(*poet)(**batch)
    scores = target.clamp(min=1e-30).log().requires_grad_()
    weights = 2.0 + 10.0 * rhyming
    total, told = distillation_loss(scores, target, weights)
    total.backward()
    assert scores.grad.abs().max() < 1e-5
    assert told["divergence"] == pytest.approx(0, abs=1e-5) and told["forbidden"] == pytest.approx(0, abs=1e-5)
    model, _ = poet
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    before, told = distillation_loss(logits[batch["labels"][:, 1:] != -100], target, weights)
    assert before > total and told["forbidden"] > 0.3


def test_what_is_learned_are_the_rules(poet, batch):
    model = copy.deepcopy(poet[0])
    teacher = MaskedTeacher(*poet)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    found = []
    for _ in range(60):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        target, rhyming = teacher(**batch)
        total, told = distillation_loss(logits[batch["labels"][:, 1:] != -100], target, 2.0 + 10.0 * rhyming)
        (total / len(target)).backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(told)
    assert found[-1]["forbidden"] < found[0]["forbidden"] / 4
    assert found[-1]["divergence"] < found[0]["divergence"] / 2
