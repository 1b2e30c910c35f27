"""Teaches a model the rules of a form: its teacher is the same model under the mask of that form.

In distillation a student learns to predict the probabilities that a teacher gives to every token
(Hinton et al., arXiv:1503.02531). Here both start as the same model, and only the teacher has a
mask. The mask sets the probability of forbidden characters to zero. Where it forbids nothing, the
two agree, so the student learns the rules and little else. A reward is one number per poem, but the
teacher shows for each position which characters are allowed. Snell et al., arXiv:2209.15189, also
use a model as its own teacher. There the teacher reads a longer prompt than the student.

`trl.DistillationTrainer` computes the teacher's probabilities inside its loss, and has no place for
a mask. So train_distill.py gives `trl.SFTTrainer` the loss of this module.

It knows forms and tokens. It does not train.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet.alignment.scores import sampling_scores
from poet.prosody.judge import judge
from poet.prosody.mask import FormLogitsProcessor
from poet.prosody.request import read_form, regulated_form
from poet.text import LINE_END, poem_lines

# Kinds of token position. The kind decides which teacher the student follows.
IGNORED = 0  # No teacher. The position does not count.
UNMASKED = 1  # The teacher is the model without a mask.
MASKED = 2  # The teacher is the model under the mask of the form.
MASKED_LINE_END = 3  # Like MASKED, at a rhyme word or at the mark of a line end.

_RULE_WEIGHT = 3.0  # with 5, poems in lines of seven characters become rare (benchmarks/LOG.md)
_ENDING_WEIGHT = 30.0  # rhyme words are the hardest: the same word may not appear twice


class MaskedTeacher:
    """Gives the probabilities that the student learns, at each position of a batch of poems.

    For a poem in a regulated form, the teacher is `model` under the mask of that form.

    A poem in old style (gutishi) or with irregular lines breaks a rule somewhere. Its positions up
    to the end of the first line with a broken rule are ignored. After that line the teacher is
    `unmasked_model`. Such poems keep the student's loss on old style low. Without them it learns
    that no rule is ever broken.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        unmasked_model: PreTrainedModel | None = None,
    ):
        """Stores the models and the tokenizer.

        Args:
            unmasked_model: The teacher without a mask. Default: `model`. Later rounds pass the
                model from before the first round, because a round may change its old style.
        """
        self.model, self.tokenizer = model.eval(), tokenizer
        self.unmasked_model = self.model if unmasked_model is None else unmasked_model.eval()
        self._masks: dict[tuple[str, int], FormLogitsProcessor] = {}

    @torch.no_grad()
    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the teacher's probabilities and the kind of each position that has a label.

        The kinds are IGNORED, UNMASKED, MASKED and MASKED_LINE_END.

        Args:
            input_ids: (poems, tokens), padded on the right.
            attention_mask: (poems, tokens).
            labels: (poems, tokens). -100 everywhere except on the poems.

        Returns:
            Probabilities (labels, vocabulary) and kinds (labels,), poem after poem.

        Raises:
            ValueError: A poem is neither in a regulated form nor in old style.
        """
        has_label = labels[:, 1:] != -100
        poems = [row[row != -100] for row in labels[:, 1:]]
        kinds = [torch.full((len(poem),), MASKED) for poem in poems]
        of_mask: dict[FormLogitsProcessor, list[int]] = defaultdict(list)
        without_mask: list[int] = []
        for number, poem in enumerate(poems):
            text = self.tokenizer.decode(poem, skip_special_tokens=True)
            ignored = _end_of_first_broken_line(text)
            if ignored is None:
                of_mask[self._mask(text)].append(number)
            else:
                without_mask.append(number)
                kinds[number][:ignored], kinds[number][ignored:] = IGNORED, UNMASKED

        under_mask = [number for numbers in of_mask.values() for number in numbers]
        scores = [torch.empty(0)] * len(poems)  # (tokens of the poem, vocabulary) per poem
        for model, numbers in ((self.unmasked_model, without_mask), (self.model, under_mask)):
            if numbers:
                scores_of_model = self._scores(
                    model, input_ids[numbers], attention_mask[numbers], has_label[numbers]
                )
                for number, poem_scores in zip(numbers, scores_of_model, strict=True):
                    scores[number] = poem_scores

        for mask, numbers in of_mask.items():
            ids = torch.stack([poems[number] for number in numbers])
            form_scores = torch.stack([scores[number] for number in numbers])
            for place in range(ids.shape[1]):
                form_scores[:, place] = mask(ids[:, :place], form_scores[:, place])
            # The first line may still have five or seven characters, so its mark is no rule yet.
            marks = [place for place in mask.request.mark_places if place > 5]
            for number, poem_scores in zip(numbers, form_scores, strict=True):
                scores[number] = poem_scores
                kinds[number][mask.request.rhyme_places] = MASKED_LINE_END
                kinds[number][marks] = MASKED_LINE_END
        return torch.cat(scores).softmax(-1), torch.cat(kinds).to(labels.device)

    def _scores(
        self, model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, has_label: Tensor
    ) -> Sequence[Tensor]:
        """Returns what `generate` samples from: one tensor per poem, (its tokens, vocabulary)."""
        logits = model(input_ids=input_ids, attention_mask=attention_mask).logits[:, :-1]
        scores = sampling_scores(logits[has_label], self.model.generation_config)
        return scores.split(has_label.sum(1).tolist())

    def _mask(self, text: str) -> FormLogitsProcessor:
        form, lines = regulated_form(text), len(poem_lines(text))
        if form is None:
            raise ValueError(f"this poem is in no regulated form and not in old style: {text}")
        if (form, lines) not in self._masks:
            request = read_form(form, lines=lines)
            self._masks[form, lines] = FormLogitsProcessor(self.tokenizer, request, prompt_length=0)
        return self._masks[form, lines]


def _end_of_first_broken_line(text: str) -> int | None:
    """Returns the number of characters up to the end of the first line that breaks a rule.

    Returns None for a poem that the judge does not call old style or irregular.
    """
    judgment = judge(text)
    if not judgment.free:
        return None
    # Two kinds of poems may have no verdict: old style that rhymes in oblique tones, and irregular
    # lines. Line 2, the end of the first couplet, then counts as the broken line.
    broken_line = min((verdict.line for verdict in judgment.verdicts), default=2)
    line_ends = [mark.end() for mark in LINE_END.finditer(text)]
    return line_ends[broken_line - 1] if broken_line <= len(line_ends) else len(text)


def distillation_loss(
    logits: Tensor, target: Tensor, kinds: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the loss, summed over all positions, and two figures to log.

    The loss has two terms. The first is the cross-entropy to the teacher's probabilities. The
    second counts only where the teacher has a mask. It is a weight times `-log(p)`. Here p is the
    total probability that the student gives to allowed characters. The weight is larger where a
    line ends.

    Both terms have their minimum where student and teacher agree. The second measures the rules
    alone. It does not depend on which of the allowed characters comes next.

    The figures are "divergence" and "forbidden". The first is the Kullback-Leibler divergence in
    nats per token. The second is the probability that the student still gives to forbidden
    characters.

    Args:
        logits: Logits of the student (labels, vocabulary).
        target: Probabilities from `MaskedTeacher` (labels, vocabulary).
        kinds: Kinds of position from `MaskedTeacher` (labels,).
    """
    taught, masked = kinds != IGNORED, kinds >= MASKED
    log_p = logits.float().log_softmax(-1)
    log_allowed = log_p.masked_fill(target == 0, -torch.inf).logsumexp(-1)
    cross_entropy = -(target * log_p).sum(-1)
    weights = _RULE_WEIGHT * masked + _ENDING_WEIGHT * (kinds == MASKED_LINE_END)
    with torch.no_grad():
        divergence = cross_entropy - torch.special.entr(target).sum(-1)
        metrics = {
            "divergence": (divergence * taught).sum() / taught.sum().clamp(min=1),
            "forbidden": ((1 - log_allowed.exp()) * masked).sum() / masked.sum().clamp(min=1),
        }
    return (cross_entropy * taught - weights * log_allowed).sum(), metrics
