"""Distillation: the probabilities of the masked teacher, and the loss of the student."""

import copy

import pytest
import torch
from helpers import make_model, rhyme_words
from torch import Tensor

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
from poet.prosody.characters import all_groups
from poet.prosody.judge import judge

QUATRAIN = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒城。"))
EIGHT_LINES = Poem("早行", ("石徑幽泉細雨聲，松窗夜雨白雲生。",) * 4)
# The tones are those of regulated verse, but the even lines rhyme in oblique tones.
OBLIQUE_RHYME = Poem("古意", ("石徑幽泉雨，松窗夜雨白。", "孤燈明舊壁，白髮對寒月。"))
BROKEN_IN_LINE_3 = Poem("感興", ("石徑幽泉細，松窗夜雨聲。", "孤燈明寒泉，白髮石白徑。"))
FOUR_CHARACTERS = Poem("詩", ("石徑幽泉，松窗夜雨。", "孤燈舊壁，白髮寒城。"))


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_model(tmp_path_factory.mktemp("poet"), rhyme_words(all_groups(), 12)))


@pytest.fixture(scope="module")
def batch(poet):
    """A batch of two regulated poems in different forms."""
    rows = rows_in_forms(*poet, [EIGHT_LINES, QUATRAIN], seed=0)
    judgments = [judge(row["completion"][0]["content"]) for row in rows]
    assert [judgment.form for judgment in judgments] == ["七言律詩", "五言絕句"]
    assert all(judgment.regulated for judgment in judgments)
    return as_batch(poet[1], rows)


def as_batch(tokenizer, rows) -> dict[str, Tensor]:
    """Returns a batch as trl makes it: padded on the right, with labels on the poems alone."""
    prompts = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        for row in rows
    ]
    texts = [
        tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]
        for row in rows
    ]
    padded = tokenizer.pad({"input_ids": texts}, padding_side="right", return_tensors="pt")
    labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
    for row, prompt in zip(labels, prompts, strict=True):
        row[: len(prompt)] = -100
    return {**padded, "labels": labels}


def logits_of_labels(model, batch) -> Tensor:
    """Returns the logits (labels, vocabulary) from which the labels are predicted."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits[:, :-1][batch["labels"][:, 1:] != -100]


def test_the_ends_of_masked_lines_are_marked(poet, batch):
    _, kinds = MaskedTeacher(*poet)(**batch)
    # Rhyme words and marks. The first mark of the quatrain does not count: five characters may
    # still become seven.
    line_ends = (4 + 8) + (2 + 3)
    assert (kinds == MASKED_LINE_END).sum() == line_ends
    assert (kinds == MASKED).sum() == len(kinds) - line_ends


def test_the_teacher_is_the_model_without_forbidden_characters(poet, batch):
    model, tokenizer = poet
    target, kinds = MaskedTeacher(model, tokenizer)(**batch)
    labels = batch["labels"][:, 1:]
    labels = labels[labels != -100]
    assert target.shape == (len(labels), len(tokenizer)) and kinds.shape == labels.shape
    assert torch.allclose(target.sum(1), torch.ones(len(target)))
    assert (target.gather(1, labels[:, None]) > 0).all()  # the poems keep the rules
    allowed = target > 0
    assert (allowed.sum(1) < len(tokenizer)).all()
    second_rhyme = (kinds == MASKED_LINE_END).nonzero()[4].item()
    assert allowed[second_rhyme].sum() < 40  # words of one rhyme group, without the first
    # Allowed characters keep their proportions. The exception is the end of the first line, where
    # the words that rhyme get the probability of all other level tones.
    with torch.no_grad():
        unmasked = logits_of_labels(model, batch).softmax(-1)
    ratio = torch.where(allowed, target / unmasked, torch.nan)
    spread = ratio.nan_to_num(0).amax(1) / ratio.nan_to_num(torch.inf).amin(1)
    assert ((spread - 1).abs() < 1e-3).sum() >= len(target) - 2


@pytest.mark.parametrize(
    ("poem", "ignored"), [(OBLIQUE_RHYME, 12), (BROKEN_IN_LINE_3, 19), (FOUR_CHARACTERS, 10)]
)
def test_after_a_broken_rule_the_teacher_has_no_mask(poet, poem, ignored):
    model, tokenizer = poet
    batch = as_batch(tokenizer, [sft_row(poem)])
    target, kinds = MaskedTeacher(model, tokenizer)(**batch)
    assert kinds.tolist() == [IGNORED] * ignored + [UNMASKED] * (len(kinds) - ignored)
    with torch.no_grad():
        logits = logits_of_labels(model, batch)
    logits[..., model.generation_config.suppress_tokens or []] = -torch.inf
    assert torch.allclose(target, logits.softmax(-1), atol=1e-6)


def test_another_model_may_teach_after_a_broken_rule(poet, batch):
    model, tokenizer = poet
    other = copy.deepcopy(model)
    torch.nn.init.normal_(other.transformer.wte.weight)
    old_style = as_batch(tokenizer, [sft_row(BROKEN_IN_LINE_3)])

    def target(*models, of) -> Tensor:
        teacher, *unmasked = models
        return MaskedTeacher(teacher, tokenizer, *unmasked)(**of)[0]

    assert torch.equal(target(model, other, of=old_style), target(other, of=old_style))
    assert not torch.allclose(target(model, other, of=old_style), target(model, of=old_style))
    assert torch.equal(target(model, other, of=batch), target(model, of=batch))


def test_the_loss_is_least_where_student_and_teacher_agree(poet, batch):
    target, kinds = MaskedTeacher(*poet)(**batch)
    logits = target.clamp(min=1e-30).log().requires_grad_()
    least, metrics = distillation_loss(logits, target, kinds)
    least.backward()
    assert logits.grad.abs().max() < 1e-5
    assert metrics["divergence"] == pytest.approx(0, abs=1e-5)
    assert metrics["forbidden"] == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        untrained = logits_of_labels(poet[0], batch)
    loss, metrics = distillation_loss(untrained, target, kinds)
    assert loss > least and metrics["forbidden"] > 0.3


def test_each_kind_of_position_has_its_terms_in_the_loss():
    torch.manual_seed(0)
    logits, target = torch.randn(4, 6), torch.randn(4, 6)
    target[:, 0] = -torch.inf
    target = target.softmax(-1)
    kinds = torch.tensor([IGNORED, UNMASKED, MASKED, MASKED_LINE_END])
    loss, metrics = distillation_loss(logits, target, kinds)
    log_p = logits.log_softmax(-1)
    cross_entropy = -(target * log_p).sum(-1)
    log_allowed = log_p[:, 1:].logsumexp(-1)
    expected = cross_entropy[1:].sum() - 3 * log_allowed[2] - 33 * log_allowed[3]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    forbidden = (1 - log_allowed[2:].exp()).mean()
    assert metrics["forbidden"].item() == pytest.approx(forbidden.item(), rel=1e-4)
    divergence = (cross_entropy - torch.special.entr(target).sum(-1))[1:].mean()
    assert metrics["divergence"].item() == pytest.approx(divergence.item(), rel=1e-4)


def test_a_student_learns_the_rules(poet, batch):
    student = copy.deepcopy(poet[0])
    target, kinds = MaskedTeacher(*poet)(**batch)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    history = []
    for _ in range(60):
        loss, metrics = distillation_loss(logits_of_labels(student, batch), target, kinds)
        (loss / len(target)).backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: value.item() for name, value in metrics.items()})
    assert history[-1]["forbidden"] < history[0]["forbidden"] / 4
    assert history[-1]["divergence"] < history[0]["divergence"] / 2
