"""Finds the poems of one author in the corpus of a run, and configures an adapter for them.

An adapter is a small set of extra weights (LoRA, arXiv:2106.09685). It trains while the weights of
the model stay as they are. The data sets of a run do not name authors, so the corpus is read again.

This module knows the split of a run and PEFT's adapters. It does not train.
"""

from collections import Counter
from dataclasses import dataclass, fields
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poet.data import build, run_data
from poet.data.options import DataOptions
from poet.data.poems import SPLIT_SEED, Poem, Split
from poet.data.rows import hold_out, pretraining_rows, pretraining_text, sft_row
from poet.data.sets import split_corpus
from poet.errors import UserError
from poet.prosody import script
from poet.training import checkpoints

if TYPE_CHECKING:
    import datasets
    import peft

RANK = 16  # width of the adapter's matrices: 0.20 M parameters in the model of `tang`
MIN_POEMS = 20  # an adapter would memorise fewer


@dataclass(frozen=True)
class AuthorSplit:
    """The poems of a corpus, split by author and by whether the run trains on them."""

    author: str
    training: list[Poem]
    held_out: list[Poem]
    others_training: list[Poem]
    others_held_out: list[Poem]

    def rows(self) -> "datasets.DatasetDict":
        """Returns the author's poems as rows of fine-tuning, in the sets `train` and `test`."""
        import datasets

        parts = {"train": self.training, "test": self.held_out}
        return datasets.DatasetDict(
            {
                name: datasets.Dataset.from_list(list(map(sft_row, poems)))
                for name, poems in parts.items()
            }
        )


def find_author(run: Path, name: str) -> AuthorSplit:
    """Splits the corpus of a run by author.

    A poem is held out if no model of the run was trained on it. Pretraining, fine-tuning and
    alignment each hold out the last poems of their part of the corpus. Held-out poems with the
    same wording as a training poem are left out.

    Args:
        run: Folder of the run.
        name: Name of the author, in traditional or simplified characters.

    Raises:
        UserError: The corpus has no such author, or too few poems. Or the corpus is gone or has
            changed.
    """
    summary = run_data.load_summary(run)
    made_from = summary["made_from"]
    corpus = made_from["corpus"]
    split = _split_again(run, made_from, summary.get("split"))
    counts = Counter(poem.author for poem in chain(*split.parts) if poem.author)
    author = name.strip() if name.strip() in counts else script.to_traditional(name.strip())
    if not counts:
        raise UserError(f"{corpus} names no authors. Use another corpus.")
    if author not in counts:
        similar = ", ".join(_similar_authors(author, counts))
        raise UserError(f"no poem by {author} in {corpus}. Similar names: {similar}.")
    if counts[author] < MIN_POEMS:
        poems = f"{counts[author]} poem{'s' if counts[author] > 1 else ''}"
        raise UserError(
            f"{author} has {poems} in {corpus}. Choose an author with at least {MIN_POEMS}."
        )

    fraction = made_from["held_out"]
    # Pretraining cuts its text by characters. The poem at the cut begins in the training part, so
    # it counts as trained on.
    text = pretraining_text(split.pretrain)
    cut = len(pretraining_rows(text, fraction)[0])
    halves = [(split.pretrain[:cut], split.pretrain[cut:])]
    halves += [hold_out(part, fraction) for part in (split.sft, split.dpo)]
    training = [poem for half, _ in halves for poem in half]
    known = {poem.wording for poem in training}
    held_out = [poem for _, half in halves for poem in half if poem.wording not in known]
    author_split = AuthorSplit(
        author,
        training=[poem for poem in training if poem.author == author],
        held_out=[poem for poem in held_out if poem.author == author],
        others_training=[poem for poem in training if poem.author != author],
        others_held_out=[poem for poem in held_out if poem.author != author],
    )
    if not author_split.training or not author_split.held_out:
        raise UserError(
            f"{author} has {len(author_split.training)} poems to train on and "
            f"{len(author_split.held_out)} held out. Choose an author with more poems."
        )
    return author_split


def _similar_authors(name: str, counts: Counter[str]) -> list[str]:
    """Returns up to three names, the one most similar to `name` first.

    Of two names that are equally similar, the author with more poems comes first.
    """

    def similarity(other: str) -> tuple[float, int]:
        return SequenceMatcher(None, name, other).ratio(), counts[other]

    return sorted(counts, key=similarity, reverse=True)[:3]


def _split_again(run: Path, made_from: dict[str, Any], ratio: list[int] | None) -> Split:
    seed = made_from.get("seed", SPLIT_SEED)
    if seed != SPLIT_SEED:  # an older run, made with the option `seed`
        raise UserError(
            f"cannot read the authors of the poems in {run}: the poems were split with the seed "
            f"{seed}, and the seed is now always {SPLIT_SEED}. Make the data again in another "
            "folder."
        )
    names = {field.name for field in fields(DataOptions)}
    arguments = DataOptions(**{key: made_from[key] for key in names & made_from.keys()})
    try:
        if build.fingerprint_of(arguments) == made_from["fingerprint"]:
            return split_corpus(arguments, ratio)
    except UserError as error:
        raise UserError(f"cannot read the authors of the poems in {run}: {error}") from error
    raise UserError(
        f"cannot read the authors from {arguments.corpus}: it has changed since {run} was made. "
        "Make the data again in another folder."
    )


def find_author_of(adapter: Path) -> AuthorSplit | None:
    """Returns the author's split for an adapter folder, or None for a folder outside a run."""
    author = checkpoints.arguments_of(adapter).get("author")
    if not author or not (adapter.parent / "data").is_dir():
        return None
    return find_author(adapter.parent, author)


def adapter_config(seed: int) -> "peft.LoraConfig":
    """Returns PEFT's configuration of an adapter for a GPT-2.

    Args:
        seed: Seed for the first weights of the adapter.
    """
    from peft import LoraConfig
    from transformers import set_seed

    set_seed(seed)  # PEFT samples the first weights before Trainer sets the seed
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=RANK,
        lora_alpha=2 * RANK,  # PEFT multiplies the output by lora_alpha / r
        lora_dropout=0.1,
        target_modules=["c_attn", "c_proj", "c_fc"],  # all matrices of GPT-2's blocks
        fan_in_fan_out=True,  # GPT-2 stores its weights as (in, out)
    )
