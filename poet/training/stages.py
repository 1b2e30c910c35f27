"""Describes the stages that train, for run.py, reports, figures and model cards.

A stage is train_<stage>.py with the numbers of configs/<recipe>/<stage>.yaml. To add a way of
alignment, write these two files and an entry here.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poet.data.kind import Kind

_LOSS = (
    "The loss is in nats per token, on held-out {texts}. A token is one character. "
    "The perplexity is the exponential of the loss."
)


@dataclass(frozen=True)
class StageInfo:
    """Describes one stage. `told_of` fills in the words in braces, such as {texts}.

    Attributes:
        name: Its name in reports and figures.
        rows: The data set that it takes its rows or prompts from.
        card: Text for the model card: the use of its model, and how it was trained.
        number: Its number among the five stages, or 0.
        chapter: The chapter of the book that explains it.
        heading: The heading that run.py prints.
        share: Its share of --minutes, among the stages that are run.
        curve: The logged value to draw, and the label of its axis.
        results: Results for the card and their names in the log. Default: loss and perplexity.
        explained: The meaning of the results.
    """

    name: str
    rows: str
    card: str
    number: int = 0
    chapter: str = ""
    heading: str = ""
    share: int = 1
    curve: tuple[str, str] = ("loss", "loss, nats per character")
    results: dict[str, str] = field(default_factory=dict)
    explained: str = _LOSS

    def told_of(self, kind: "Kind") -> "StageInfo":
        """Returns the stage with its heading and descriptions worded for one kind of data."""
        words = kind.words()
        texts = {name: getattr(self, name) for name in ("heading", "card", "explained")}
        return replace(self, **{name: text.format(**words) for name, text in texts.items()})


STAGES = {
    "pretrain": StageInfo(
        name="pretraining",
        rows="pretrain",
        number=3,
        chapter="06-pretraining",
        heading="Pretraining: the model learns to continue {texts}, character by character",
        share=2,
        card="This model continues {full_name}, one character after the other. It was trained "
        "from random weights on {trained_on}. It follows no instruction: {next_stage} "
        "teaches that.",
    ),
    "sft": StageInfo(
        name="fine-tuning",
        rows="sft",
        number=4,
        chapter="08-fine-tuning",
        heading="Fine-tuning: the model learns to answer {answer}",
        card="This model writes {written}. It was first trained to continue "
        "{read}. It was then fine-tuned on {pairs}, and only the characters of the {texts} "
        "counted in the loss.",
    ),
    "dpo": StageInfo(
        name="alignment",
        rows="dpo",
        number=5,
        chapter="09-preference",
        heading="Alignment: the model learns which {texts} are preferred",
        card="This model writes {written}, {preferred}. It was first trained to "
        "continue {read}, and then fine-tuned on {pairs}. It was then aligned with pairs of a "
        "preferred and a rejected {text} (direct preference optimization, "
        "https://arxiv.org/abs/2305.18290).",
        curve=("loss", "DPO loss"),
        results={
            "DPO loss": "eval_loss",
            "reward margin": "eval_rewards/margins",
            "reward accuracy": "eval_rewards/accuracies",
        },
        explained="The reward margin compares this model with the model before alignment. Above "
        "zero, alignment has made the preferred {text} of a held-out pair more likely relative to "
        "the rejected one. The reward accuracy is the share of held-out pairs with a margin above "
        "zero.",
    ),
    "grpo": StageInfo(
        name="reinforcement",
        rows="sft",
        number=5,
        chapter="10-reward",
        heading="Alignment by rewards: the model is rewarded for {texts} that keep rules",
        card="This model writes {written}, by rules that it was rewarded for. It "
        "was first trained to continue {read}, and then fine-tuned on {pairs}. It was then "
        "rewarded for {texts} of its own that keep the rules (group relative policy optimization, "
        "https://arxiv.org/abs/2402.03300).",
        curve=("reward", "reward, sum over all rules"),
        results={"reward": "eval_reward"},
        explained="The reward is the mean over held-out {prompts}. Each rule has a weight.",
    ),
    "distill": StageInfo(
        name="distillation",
        rows="sft",
        number=5,
        chapter="10-reward",
        heading="Alignment by distillation: the model learns from its own poems under a mask",
        card="This model writes {written}, mostly in regulated verse. It was "
        "first trained to continue {read}, and then fine-tuned on {pairs}. It then wrote "
        "{texts} under a mask that keeps the rules, and learned to write so without it "
        "(distillation, https://arxiv.org/abs/1503.02531).",
        curve=("loss", "loss, weighted in training"),
    ),
    "author": StageInfo(
        name="an author's adapter",
        rows="sft",
        card="This is an adapter (LoRA, https://arxiv.org/abs/2106.09685). It needs the model that "
        "it was trained on, which writes {written}. With the adapter "
        "the {texts} are closer to the poems of one author.",
    ),
}
JOURNEY = {stage: info for stage, info in STAGES.items() if info.number}
ALIGNED = tuple(stage for stage, info in JOURNEY.items() if info.number == 5)
"""The ways of alignment. A recipe may have several."""
