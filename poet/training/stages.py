"""The stages that train, and what is said of each: by run.py, in a report, over a figure, in a model card.

Knows words and names of logged figures, no code: a stage is train_<stage>.py with the numbers of configs/<recipe>/<stage>.yaml.
Another way of alignment is these two files and a row here.
"""

from dataclasses import dataclass, field

_LOSS = "Loss is in nats a token of held-out poems; a token is one character. Perplexity is its exponential."


@dataclass(frozen=True)
class StageInfo:
    """What is said of a stage."""

    name: str
    card: str
    """What its model does and how it came about, for the model card."""
    number: int = 0
    """Which of the five narrated stages it is; 0, none of them."""
    narrated: str = ""
    share: int = 1
    """Of the minutes that a run is given, among the stages that are run."""
    curve: tuple[str, str] = ("loss", "loss, nats a character")
    """What is logged of it and belongs beside the losses of other stages, and the name of its axis."""
    results: dict[str, str] = field(default_factory=dict)
    """Names of what its last evaluation found -> names in the log; where there are none, loss and perplexity."""
    explained: str = _LOSS


STAGES = {
    "pretrain": StageInfo(
        name="pretraining",
        number=3,
        narrated="The model learns to continue verse, character by character",
        share=2,
        card="It continues classical Chinese verse, one character after the other. It was trained from scratch on poems with their "
        "titles and follows no instruction: that is what the next stage teaches.",
    ),
    "sft": StageInfo(
        name="fine-tuning",
        number=4,
        narrated="It learns to answer a title with a poem",
        card="It writes a poem in classical Chinese for a title. It was first trained to continue verse, then fine-tuned on titles "
        "and their poems; only the poem's characters counted in the loss.",
    ),
    "dpo": StageInfo(
        name="alignment",
        number=5,
        narrated="It learns which poems are preferred",
        card="It writes a poem in classical Chinese for a title, in the kind of verse that was preferred. It was first trained to "
        "continue verse, then fine-tuned on titles and their poems, then aligned with pairs of a preferred and a rejected poem "
        "(direct preference optimization, https://arxiv.org/abs/2305.18290).",
        curve=("loss", "DPO loss"),
        results={
            "DPO loss": "eval_loss",
            "reward margin": "eval_rewards/margins",
            "reward accuracy": "eval_rewards/accuracies",
        },
        explained="The reward margin is how much more the model prefers the better poem of a held-out pair than the model before "
        "alignment did; reward accuracy is the share of held-out pairs in which it does.",
    ),
    "grpo": StageInfo(
        name="reinforcement",
        number=5,
        narrated="Or it is rewarded for what a rule can verify",
        card="It writes a poem in classical Chinese for a title, by rules that it was rewarded for. It was first trained to continue "
        "verse, then fine-tuned on titles and their poems, then reinforced with rewards that a judge of verse gives its own poems "
        "(group relative policy optimization, https://arxiv.org/abs/2402.03300).",
        curve=("reward", "reward, of all rules"),
        results={"reward": "eval_reward"},
        explained="The reward is the mean over held-out titles of what the judge gives, each rule with its weight.",
    ),
    "distill": StageInfo(
        name="distillation",
        number=5,
        narrated="Or it learns from itself under a mask that keeps the rules",
        card="It writes a poem in classical Chinese for a title, mostly in regulated verse. It was first trained to continue verse, "
        "then fine-tuned on titles and their poems, then distilled from itself: it learned to write without a mask what it had "
        "written under one that keeps the rules (https://arxiv.org/abs/1503.02531).",
        curve=("loss", "loss; in training, weighted"),
    ),
    "author": StageInfo(
        name="an author's adapter",
        card="It is an adapter (LoRA, https://arxiv.org/abs/2106.09685) and needs the model that it was trained on, which writes a poem "
        "in classical Chinese for a title: with the adapter the poem leans towards the verse of one author, whose titles and poems "
        "it was fine-tuned on.",
    ),
}
JOURNEY = {stage: facts for stage, facts in STAGES.items() if facts.number}
ALIGNED = tuple(stage for stage, facts in JOURNEY.items() if facts.number == 5)
"""The ways of alignment, of which a recipe may have several."""
