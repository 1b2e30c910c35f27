"""What a model learns from itself under a mask: the rules of a form, and nothing else."""

import copy

import pytest
import torch
from helpers import make_model, rhyme_words

from poet.alignment.distillation import (
    IGNORED,
    MASKED,
    MASKED_LINE_END,
    UNMASKED,
    MaskedTeacher,
    distillation_loss,
)
from poet.alignment.masked_poems import rows_in_forms
from poet.data.poems import Poem
from poet.data.rows import sft_row
from poet.generation.load import load
from poet.prosody.judge import all_groups, judge

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
    return as_batch(tokenizer, rows)


def as_batch(tokenizer, rows):
    """Rows as trl makes a batch of them: padded behind, with labels for the poems alone."""
    prompts = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        for row in rows
    ]
    whole = [
        tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]
        for row in rows
    ]
    padded = tokenizer.pad({"input_ids": whole}, padding_side="right", return_tensors="pt")
    labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
    for row, prompt in zip(labels, prompts, strict=True):
        row[: len(prompt)] = -100
    return {**padded, "labels": labels}


def test_the_teacher_is_the_model_less_what_the_mask_forbids(poet, batch):
    model, tokenizer = poet
    target, kinds = MaskedTeacher(model, tokenizer)(**batch)
    counted = batch["labels"][:, 1:] != -100
    assert target.shape == (counted.sum(), len(tokenizer)) and kinds.shape == (counted.sum(),)
    # Words that rhyme and marks; whether the first line has five characters, the poem may choose.
    assert (kinds == MASKED_LINE_END).sum() == (4 + 8) + (2 + 3) and (
        kinds == MASKED
    ).sum() == counted.sum() - 17
    written = batch["labels"][:, 1:][counted]
    assert (target.gather(1, written[:, None]) > 0).all()  # the poem itself keeps the rules
    assert torch.allclose(target.sum(1), torch.ones(len(target)))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
            :, :-1
        ][counted]
    own = logits.softmax(-1)
    free = target > 0
    # The mask leaves proportions as they are, but at the end of the first line, where words that rhyme get those of the others'.
    ratio = torch.where(free, target / own, torch.nan)
    spread = ratio.nan_to_num(0).amax(1) / ratio.nan_to_num(torch.inf).amin(1)
    assert ((spread - 1).abs() < 1e-3).sum() >= len(target) - 2
    assert (free.sum(1) < len(tokenizer)).all()
    second = (kinds == MASKED_LINE_END).nonzero()[4].item()
    assert free[second].sum() < 40  # one group's words less the first one


# Every even line ends oblique, tones as in regulated verse; the second poem breaks them in its third line; the third has lines of 4.
OBLIQUE = Poem("古意", ("石徑幽泉雨，松窗夜雨白。", "孤燈明舊壁，白髮對寒月。"))
BROKEN = Poem("感興", ("石徑幽泉細，松窗夜雨聲。", "孤燈明寒泉，白髮石白徑。"))
FOURS = Poem("詩", ("石徑幽泉，松窗夜雨。", "孤燈舊壁，白髮寒城。"))


@pytest.mark.parametrize(("poem", "free_from"), [(OBLIQUE, 12), (BROKEN, 19), (FOURS, 10)])
def test_behind_a_broken_rule_the_teacher_writes_as_it_did(poet, poem, free_from):
    model, tokenizer = poet
    batch = as_batch(tokenizer, [sft_row(poem)])
    target, kinds = MaskedTeacher(model, tokenizer)(**batch)
    assert kinds.tolist() == [IGNORED] * free_from + [UNMASKED] * (len(kinds) - free_from)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
            :, :-1
        ]
    logits[..., model.generation_config.suppress_tokens or []] = -torch.inf
    assert torch.allclose(target, logits[batch["labels"][:, 1:] != -100].softmax(-1), atol=1e-6)


def test_free_verse_is_taught_by_the_model_of_before(poet, batch):
    model, tokenizer = poet
    before = copy.deepcopy(model)
    torch.nn.init.normal_(before.transformer.wte.weight)
    free = as_batch(tokenizer, [sft_row(BROKEN)])
    target, kinds = MaskedTeacher(model, tokenizer, before)(**free)
    assert torch.equal(target, MaskedTeacher(before, tokenizer)(**free)[0])
    assert not torch.allclose(target, MaskedTeacher(model, tokenizer)(**free)[0])
    assert torch.equal(
        MaskedTeacher(model, tokenizer, before)(**batch)[0],
        MaskedTeacher(model, tokenizer)(**batch)[0],
    )


def test_the_loss_is_least_where_the_two_agree(poet, batch):
    target, kinds = MaskedTeacher(*poet)(**batch)
    scores = target.clamp(min=1e-30).log().requires_grad_()
    total, metrics = distillation_loss(scores, target, kinds, 2.0, 10.0)
    total.backward()
    assert scores.grad.abs().max() < 1e-5
    assert metrics["divergence"] == pytest.approx(0, abs=1e-5) and metrics[
        "forbidden"
    ] == pytest.approx(0, abs=1e-5)
    model, _ = poet
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
            :, :-1
        ]
    before, metrics = distillation_loss(
        logits[batch["labels"][:, 1:] != -100], target, kinds, 2.0, 10.0
    )
    assert before > total and metrics["forbidden"] > 0.3


def test_what_is_left_out_and_what_is_free_count_as_they_should():
    torch.manual_seed(0)
    logits, target = torch.randn(4, 6), torch.randn(4, 6)
    target[:, 0] = -torch.inf
    target = target.softmax(-1)
    kinds = torch.tensor([IGNORED, UNMASKED, MASKED, MASKED_LINE_END])
    total, metrics = distillation_loss(logits, target, kinds, 2.0, 10.0)
    log_p = logits.log_softmax(-1)
    cross_entropy = -(target * log_p).sum(-1)
    kept = log_p[:, 1:].logsumexp(-1)
    assert total.item() == pytest.approx(
        (cross_entropy[1:].sum() - 2 * kept[2] - 12 * kept[3]).item(), rel=1e-5
    )
    assert metrics["forbidden"].item() == pytest.approx(
        (1 - kept[2:].exp()).mean().item(), rel=1e-4
    )
    divergence = cross_entropy - torch.special.entr(target).sum(-1)
    assert metrics["divergence"].item() == pytest.approx(divergence[1:].mean().item(), rel=1e-4)


def test_what_is_learned_are_the_rules(poet, batch):
    model = copy.deepcopy(poet[0])
    teacher = MaskedTeacher(*poet)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    found = []
    for _ in range(60):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
            :, :-1
        ]
        target, kinds = teacher(**batch)
        total, metrics = distillation_loss(
            logits[batch["labels"][:, 1:] != -100], target, kinds, 2.0, 10.0
        )
        (total / len(target)).backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append({name: value.item() for name, value in metrics.items()})
    assert found[-1]["forbidden"] < found[0]["forbidden"] / 4
    assert found[-1]["divergence"] < found[0]["divergence"] / 2
