"""A model under a mask -> a teacher for the model without it: rules that were kept by force, learned by heart.

Knows forms and tokens; trains nothing. The teacher is the model itself, and where the mask forbids nothing the two agree, so
that all there is to learn are the rules; and it tells of every character of the vocabulary, at every place, whether it may stand
there, where a reward has one number for a whole poem. Distillation: Hinton et al., arXiv:1503.02531; of a model by itself under
other conditions: Snell et al., arXiv:2209.15189.
"""

from collections import defaultdict

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet.prosody.forms import FormLogitsProcessor, read_form, regulated_form
from poet.prosody.judge import judge
from poet.text import LINE_END, poem_lines

UNTAUGHT, FREE, RULED, ENDING = range(4)
"""What a place of a poem is to a learner: left out; one where no rule is left to keep; under the mask; that, and where a line ends: a word that
rhymes, or a mark."""


class MaskedTeacher:
    """What `model` would write next at each place of a poem, at its own temperature: by the mask of the form, or freely.

    A poem in old style, or with lines of no form, teaches nothing up to the end of the line that breaks the first rule, and that
    the model goes on as before after it. Without such poems a model that never sees a broken rule learns that there is none, and
    the verse of the poets that keep to none becomes unlikely.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        before: PreTrainedModel | None = None,
    ):
        """
        Args:
            before: who teaches what is free, if not `model`: one that has not been taught yet, so that what was lost is learned again.
        """
        self.model, self.tokenizer = model.eval(), tokenizer
        self.before = self.model if before is None else before.eval()
        self._masks: dict[tuple[str, int], FormLogitsProcessor] = {}

    @torch.no_grad()
    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(poems, tokens), padded behind, labels of the poems alone -> what it would write, and what is to be learned of it.

        Returns:
            Probabilities (labels, vocabulary) and one of the four constants above (labels,), poem after poem.

        Raises:
            ValueError: a poem that is not in old style has not the length and lines of a regulated form.
        """
        counted = labels[:, 1:] != -100
        poems = [row[row != -100] for row in labels[:, 1:]]
        kinds = [torch.full((len(poem),), RULED) for poem in poems]
        by_mask: dict[FormLogitsProcessor, list[int]] = defaultdict(list)
        free: list[int] = []
        for number, poem in enumerate(poems):
            text = self.tokenizer.decode(poem, skip_special_tokens=True)
            broken = _free_from(text)
            if broken is None:
                by_mask[self._mask(text)].append(number)
            else:
                free.append(number)
                kinds[number][:broken], kinds[number][broken:] = UNTAUGHT, FREE
        scores = [torch.empty(0)] * len(poems)  # (tokens of a poem, vocabulary) each
        for model, numbers in ((self.before, free), (self.model, sum(by_mask.values(), []))):
            if numbers:
                found = self._scores(
                    model, input_ids[numbers], attention_mask[numbers], counted[numbers]
                )
                for number, own in zip(numbers, found, strict=True):
                    scores[number] = own
        for mask, numbers in by_mask.items():
            ids = torch.stack([poems[number] for number in numbers])
            together = torch.stack([scores[number] for number in numbers])
            for place in range(ids.shape[1]):
                together[:, place] = mask(ids[:, :place], together[:, place])
            for number, own in zip(numbers, together, strict=True):
                scores[number] = own
                kinds[number][mask.request.rhyme_places] = ENDING
                # The first five characters may yet become seven; from there on the length of lines is no choice.
                kinds[number][[place for place in mask.request.mark_places if place > 5]] = ENDING
        return torch.cat(scores).softmax(-1), torch.cat(kinds).to(labels.device)

    def _scores(
        self, model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, counted: Tensor
    ):
        """(poems, tokens) -> the scores of each poem, (its tokens, vocabulary), as `generate` would sample from them."""
        logits = (
            model(input_ids=input_ids, attention_mask=attention_mask)
            .logits[:, :-1][counted]
            .float()
        )
        logits /= self.model.generation_config.temperature or 1.0
        logits[:, self.model.generation_config.suppress_tokens or []] = -torch.inf
        return logits.split(counted.sum(1).tolist())

    def _mask(self, text: str) -> FormLogitsProcessor:
        form, lines = regulated_form(text), len(poem_lines(text))
        if form is None:
            raise ValueError(f"this poem has no regulated form: {text}")
        if (form, lines) not in self._masks:
            request = read_form(form, lines=lines)
            self._masks[form, lines] = FormLogitsProcessor(self.tokenizer, request, prompt_length=0)
        return self._masks[form, lines]


def _free_from(text: str) -> int | None:
    """Where a poem that is in no regulated form has broken a rule: the character behind that line; None of any other poem."""
    judgment = judge(text)
    if not judgment.free:
        return None
    # Old style that rhymes in an oblique group may keep all tones: its first couplet ends so. So do lines of no form.
    broken = min((verdict.line for verdict in judgment.verdicts), default=2)
    ends = [mark.end() for mark in LINE_END.finditer(text)]
    return ends[broken - 1] if broken <= len(ends) else len(text)


def distillation_loss(
    logits: Tensor, target: Tensor, kinds: Tensor, rule_weight: float, ending_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores and what `MaskedTeacher` returns of the same places -> the sum over them, and what is worth logging.

    The cross-entropy to the teacher, and where rules hold, by their weight, the negative log-probability of all that it leaves
    possible: both are least where the two agree, and the second is what a rule costs, without the noise of what else there is to learn.

    Args:
        ending_weight: what is added to `rule_weight` where a line ends.
    """
    taught, ruled = kinds != UNTAUGHT, kinds >= RULED
    log_p = logits.float().log_softmax(-1)
    kept = log_p.masked_fill(target == 0, -torch.inf).logsumexp(-1)
    cross_entropy = -(target * log_p).sum(-1)
    weights = rule_weight * ruled + ending_weight * (kinds == ENDING)
    with torch.no_grad():
        divergence = cross_entropy - torch.special.entr(target).sum(
            -1
        )  # Kullback-Leibler, nats a token
        metrics = {
            "divergence": (divergence * taught).sum() / taught.sum().clamp(min=1),
            # what is still given to characters that break a rule
            "forbidden": ((1 - kept.exp()) * ruled).sum() / ruled.sum().clamp(min=1),
        }
    return (cross_entropy * taught - weights * kept).sum(), metrics
