"""One author's voice: the poems among those of a run, the adapter that learns them, whose verse a poem is taken for.

Knows the split of a run and PEFT's adapters; knows nothing of how they are trained. The corpus is read again, since the
three sets of a run do not say who wrote what.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poet.data import dataset
from poet.data.corpus import Poem, fingerprint
from poet.errors import UserError
from poet.prosody import script
from poet.text import poem_lines
from poet.training import checkpoints
from poet.training.options import AuthorArguments, StageArguments

if TYPE_CHECKING:
    import datasets
    import peft

FEWEST = 20  # poems of an author; fewer are learned by heart


@dataclass(frozen=True)
class AuthorSplit:
    """The poems of a corpus as one author divides them: the author's and the others', those that train and those that evaluate."""

    author: str
    learned: list[Poem]
    held_out: list[Poem]
    others_learned: list[Poem]
    others_held_out: list[Poem]

    def rows(self) -> "datasets.DatasetDict":
        """`train` and `test` of the author's poems, in the form of fine-tuning's rows."""
        import datasets

        parts = {"train": self.learned, "test": self.held_out}
        return datasets.DatasetDict(
            {
                name: datasets.Dataset.from_list(list(map(dataset.sft_row, poems)))
                for name, poems in parts.items()
            }
        )


def find_author(run: Path, name: str) -> AuthorSplit:
    """The poems of the author `name`, in traditional or simplified characters, and of all others in a run's corpus.

    What evaluates is the held-out end of each of the three parts, less the poems whose wording trains somewhere: the
    models of the run have seen none of it.

    Raises:
        UserError: an unknown author (the nearest are named), one with too few poems, or a corpus that is gone.
    """
    made_from = dataset.load_summary(run)["made_from"]
    split = _split_again(run, made_from)
    counts = Counter(poem.author for poem in chain(*split.parts) if poem.author)
    author = name.strip() if name.strip() in counts else script.to_traditional(name.strip())
    if author not in counts:
        near = sorted(
            counts, key=lambda other: (SequenceMatcher(None, author, other).ratio(), counts[other])
        )[:-4:-1]
        nearest = f"the nearest are {', '.join(near)}" if near else "its poems name no authors"
        raise UserError(f"there is no poem by {author} in {made_from['corpus']}; {nearest}")
    if counts[author] < FEWEST:
        raise UserError(
            f"{author} has {counts[author]} poems in {made_from['corpus']}, and a voice takes {FEWEST}"
        )

    share = made_from["held_out"]
    # The text of pretraining is cut by characters: a poem belongs to the rows that train if its beginning does.
    cut = len(dataset.pretraining_rows(dataset.pretraining_text(split.pretrain), share)[0])
    halves = [(split.pretrain[:cut], split.pretrain[cut:])]
    halves += [dataset.hold_out(part, share) for part in (split.sft, split.dpo)]
    learned = [poem for half, _ in halves for poem in half]
    known = {poem.wording for poem in learned}
    held_out = [poem for _, half in halves for poem in half if poem.wording not in known]
    voice = AuthorSplit(
        author,
        learned=[poem for poem in learned if poem.author == author],
        held_out=[poem for poem in held_out if poem.author == author],
        others_learned=[poem for poem in learned if poem.author != author],
        others_held_out=[poem for poem in held_out if poem.author != author],
    )
    if not voice.learned or not voice.held_out:
        raise UserError(
            f"of the {counts[author]} poems by {author} {len(voice.learned)} train and {len(voice.held_out)} evaluate, "
            "and both are needed; choose an author with more poems"
        )
    return voice


def _split_again(run: Path, made_from: dict[str, Any]):
    arguments = dataset.DataArguments(
        **{key: value for key, value in made_from.items() if key != "fingerprint"}
    )
    try:
        if fingerprint(arguments.corpus) != made_from["fingerprint"]:
            raise UserError("it has changed since")
        return dataset.read_and_split(arguments)[1]
    except UserError as error:
        raise UserError(
            f"{run} was made from {arguments.corpus}, where authors are looked up: {error}"
        ) from error


def find_author_of(adapter: Path) -> AuthorSplit | None:
    """The voice that an adapter learned; None where its folder does not stand in a run, and nobody can say."""
    author = checkpoints.arguments_of(adapter).get("author")
    return (
        find_author(adapter.parent, author)
        if author and (adapter.parent / "data").is_dir()
        else None
    )


# ----------------------------------------------------------------------------------------------------- the adapter


def adapter_config(
    author_args: AuthorArguments, stage_args: StageArguments, model, seed: int
) -> "peft.LoraConfig | None":
    """The adapter to train beside `model`, whose own weights then stay as they are; None without an author.

    Raises:
        UserError: layers that the model does not have, Muon, or no PEFT.
    """
    if not author_args.author:
        return None
    layers = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if missing := set(author_args.lora_target_modules) - layers:
        raise UserError(
            f"lora_target_modules: the model has no layer {min(missing)}; GPT-2 has c_attn, c_proj, c_fc"
        )
    if stage_args.optimizer == "muon":
        raise UserError(
            "optimizer: muon is for whole matrices, and an adapter's are halves of one; use adamw"
        )
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise UserError(
            "an adapter needs PEFT, which is not installed here: pip install peft"
        ) from error
    from transformers import set_seed

    set_seed(seed)  # the adapter's first weights are drawn before Trainer sets it
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=author_args.lora_r,
        lora_alpha=author_args.lora_alpha,
        lora_dropout=author_args.lora_dropout,
        target_modules=author_args.lora_target_modules,
        fan_in_fan_out=True,  # GPT-2's layers hold their weights as (in, out)
    )


def complete_adapter(folder: Path, model) -> None:
    """Adds to what PEFT saves how the adapter writes by default, and takes out where on this machine its base stands."""
    model.generation_config.save_pretrained(folder)
    (folder / "README.md").unlink(
        missing_ok=True
    )  # PEFT's card, with that path; ours is written when training is over
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = Path(config["base_model_name_or_path"])
    if base.is_absolute():
        config["base_model_name_or_path"] = f"../{base.name}"
        checkpoints.write_text(folder / "adapter_config.json", json.dumps(config, indent=2))


# ---------------------------------------------------------------------------------------- whose verse a poem is like


class Bayes:
    """Tells an author's verse from the others' by its pairs of characters: naive Bayes, learned from as many poems of either.

    A poem is taken for the author's where its pairs speak for that more than for the others, and also more than those of
    95 in 100 other poems do, which it has not learned. A pair that neither side has written says nothing.
    """

    def __init__(self, voice: AuthorSplit, seed: int, unlearned: int = 2000):
        count = len(voice.learned)
        drawn = random.Random(seed).sample(
            voice.others_learned, min(len(voice.others_learned), count + unlearned)
        )
        sides = (voice.learned, drawn[:count])
        own, others = (
            Counter(chain.from_iterable(_pairs(poem.text) for poem in side)) for side in sides
        )
        known = own.keys() | others.keys()
        less = math.log((own.total() + len(known)) / (others.total() + len(known)))
        self.speaks_for = {
            pair: math.log((own[pair] + 1) / (others[pair] + 1)) - less for pair in known
        }  # in nats
        scores = sorted(self._score(poem.text) for poem in drawn[count:])
        self.least = max([0.0, *scores[int(0.95 * len(scores)) :][:1]])

    def takes(self, poem: str) -> bool:
        """Whether the poem is taken for the author's."""
        return self._score(poem) > self.least

    def _score(self, poem: str) -> float:
        """Nats a pair for the author."""
        found = [self.speaks_for.get(pair, 0.0) for pair in _pairs(poem)]
        return sum(found) / max(1, len(found))


def _pairs(poem: str) -> Iterator[tuple[str, str]]:
    return chain.from_iterable(pairwise(line) for line in poem_lines(poem))
