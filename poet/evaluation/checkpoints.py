"""Measures checkpoints and held-out texts. Each gets one row.

It knows how to load checkpoints and to let them write. It does not train.
"""

import itertools
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet import device
from poet.alignment import themes
from poet.alignment.attribution import AuthorClassifier
from poet.alignment.author import AuthorSplit, find_author_of
from poet.data.kind import Kind
from poet.data.rows import content
from poet.data.shapes import POEMS
from poet.errors import UserError
from poet.evaluation.copies import TrainingPoems
from poet.evaluation.held_out import Answer, HeldOut, load_from_run
from poet.evaluation.intervals import Estimate, area_under_curve, fraction, ratio, share
from poet.evaluation.losses import poem_costs, text_measures, title_measures
from poet.evaluation.rates import rates
from poet.evaluation.row import Row, merge
from poet.generation.adapter import base_of
from poet.generation.load import check_template, checkpoint_kind, load, stage_folder
from poet.generation.write import continue_texts, write, write_ids
from poet.text import visible
from poet.training.checkpoints import is_finished
from poet.training.stages import ALIGNED
from poet_tokenizer import Message, ask

TITLES = 500  # the number of poems that each checkpoint writes
THEMES = 100  # the number of poems for theme words
START, CONTINUATION = 24, 200  # characters that a pretrained model gets, and that it then writes
_BATCH = 128  # the number of continuations in a batch
MAX_TITLE = 40  # characters. A longer title is a preface.


@dataclass
class Evaluation:
    """The rows of measures that `poet evaluate` prints."""

    seed: int
    titles: int = 0
    checkpoints: dict[str, Row] = field(default_factory=dict)
    poets: Row | None = None
    poems: Row | None = None
    kind: Kind = field(default_factory=Kind)

    def columns(self) -> dict[str, Row]:
        """Returns the rows by name: the checkpoints, then "poems" and "poets" if there are any."""
        others = {"poems": self.poems, "poets": self.poets}
        return self.checkpoints | {name: row for name, row in others.items() if row is not None}

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `poet evaluate --json` prints."""
        columns = {name: row.to_json() for name, row in self.columns().items()}
        checkpoints = {name: columns.pop(name) for name in self.checkpoints}
        return {"checkpoints": checkpoints, "titles": self.titles, "seed": self.seed, **columns}


def evaluate_checkpoints(
    checkpoints: Sequence[str | Path],
    held_out: HeldOut | None,
    titles: int = TITLES,
    seed: int = 0,
    poems: Sequence[str] = (),
    kind: Kind | None = None,
) -> Evaluation:
    """Returns the measures of checkpoints, of the poets and of other poems.

    A checkpoint that only continues text gets its losses of text and nothing else. An adapter of
    one author gets measures of the author's voice too.

    Args:
        held_out: the texts to measure on. Without them only `poems` are measured.
        titles: the number of poems that each checkpoint writes, for titles of held-out poems.
            The row "poets" measures the real poems of the same titles.
        seed: for the choice of titles and for sampling.
        poems: other poems to measure.
        kind: the kind of `poems`. With `held_out`, it is the kind of those texts.

    Raises:
        UserError: a checkpoint cannot be loaded, or no held-out text has a usable prompt.
    """
    # Every checkpoint is loaded first: a broken one is refused before the first is measured.
    loaded = {path: load(path) for path in checkpoints}
    writers = [path for path in checkpoints if checkpoint_kind(path) == "answers titles"]
    for path in writers:
        check_template(loaded[path][1], path)
    authors = {path: find_author_of(stage_folder(path)) for path in checkpoints}

    training = None
    result = Evaluation(seed, kind=held_out.kind if held_out else kind or Kind())
    if held_out is not None:
        sample = _sample(held_out, titles, seed, [loaded[path] for path in writers])
        training = TrainingPoems(held_out.training, held_out.kind, held_out.rows)
        test = _Test(held_out, sample, training, seed)
        bodies = [] if sample else _long_bodies(held_out, titles, seed)
        for path in checkpoints:
            model, tokenizer = loaded[path]
            model.to(device.fastest_device())
            row = test.text_row(path, model, tokenizer)
            if path in writers and sample:
                row = merge(row, test.writer_row(path, model, tokenizer, authors[path]))
            elif bodies:
                starts = [body[:START] for body in bodies]
                row = merge(row, test.continuing_row(path, model, tokenizer, starts))
            result.checkpoints[str(path)] = row
        result.titles = len(sample or bodies)
        if sample:
            result.poets = rates([answer.text for answer in sample], training, held_out.kind)
        elif bodies:
            ends = [body[START : START + CONTINUATION] for body in bodies]
            result.poets = test.continuation_rates(ends)
    if poems:
        result.poems = rates(poems, training, result.kind)
    return result


def evaluate_run(
    run: Path, start_model: str | Path | None = None, titles: int = TITLES, seed: int = 0
) -> dict[str, Row]:
    """Returns the rows "sft" and "poets", and one row for each way in which a run was aligned.

    If there is no fine-tuned model, the row "pretrain" replaces "sft".

    Args:
        start_model: the fine-tuned model that was aligned, if it is not the run's own.
    """
    aligned = {stage: run / stage for stage in ALIGNED if is_finished(run / stage)}
    start = {"sft": Path(start_model or run / "sft")}
    if not start_model and not is_finished(run / "sft"):
        start = {"pretrain": run / "pretrain"} if is_finished(run / "pretrain") else {}
    folders = start | aligned
    result = evaluate_checkpoints(list(folders.values()), load_from_run(run), titles, seed)
    rows = {name: result.checkpoints[str(folder)] for name, folder in folders.items()}
    return rows if result.poets is None else {**rows, "poets": result.poets}


@dataclass(frozen=True)
class _Test:
    """The poems and the seed that all checkpoints are measured with.

    Attributes:
        sample: the held-out texts whose prompts the checkpoints answer.
    """

    held_out: HeldOut
    sample: list[Answer]
    training: TrainingPoems
    seed: int

    @cached_property
    def themes(self) -> "ThemeTest":
        poems = [poem.text for poem in self.sample]
        return ThemeTest(poems, self.held_out.training, self.seed)

    def text_row(
        self, path: str | Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
    ) -> Row:
        """Returns the losses of held-out text, which every checkpoint has."""
        _print_progress(f"{path}: measuring held-out text")
        texts, bodies = self.held_out.texts, self.held_out.bodies()
        return text_measures(model, tokenizer, texts, bodies, self.training)

    def writer_row(
        self,
        path: str | Path,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        author: AuthorSplit | None,
    ) -> Row:
        """Returns the further measures of a checkpoint that answers titles or other prompts."""
        sample, seed, kind = self.sample, self.seed, self.held_out.kind
        texts = kind.texts
        _print_progress(f"{path}: measuring held-out {texts}, and writing {len(sample)} new ones")
        row = title_measures(model, tokenizer, self.held_out.answers, sample, self.training)
        if kind.verse:
            row = merge(row, self.themes.measures(model, tokenizer, seed))
        answers = write_answers(model, tokenizer, _prompts(sample), seed)
        written = mark_cut_off(answers) if kind.verse else [text for text, _ in answers]
        ends = Row(ends_by_itself=share(ended for _, ended in answers))
        row = merge(row, rates(written, self.training, kind), ends)
        if author is None:
            return row
        _print_progress(f"{path}: comparing with {author.author}")
        return merge(row, author_measures(path, model, tokenizer, author, sample, written, seed))

    def continuing_row(
        self,
        path: str | Path,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        starts: Sequence[str],
    ) -> Row:
        """Returns the rates of continuations, for a model of texts without titles."""
        _print_progress(f"{path}: writing {len(starts)} continuations of held-out texts")
        written = []
        for first in range(0, len(starts), _BATCH):
            batch = starts[first : first + _BATCH]
            texts = continue_texts(
                model, tokenizer, batch, new_tokens=CONTINUATION, seed=self.seed + first
            )
            written += [text[len(start) :] for text, start in zip(texts, batch, strict=True)]
        return self.continuation_rates(written)

    def continuation_rates(self, texts: Sequence[str]) -> Row:
        """Returns the rates of pieces of texts, which have no form even in verse."""
        return rates(texts, self.training, replace(self.held_out.kind, verse=False))


def _long_bodies(held_out: HeldOut, n: int, seed: int) -> list[str]:
    """Returns up to n held-out texts of more than START characters, in random order."""
    bodies = [body for body in held_out.bodies() if len(body) > START]
    random.Random(seed).shuffle(bodies)
    return bodies[:n]


def write_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[list[Message]],
    seed: int,
) -> list[tuple[str, bool]]:
    """Returns one text per prompt, and whether it ends with the end token.

    The other texts were cut off at the model's last position.
    """
    written = write_ids(model, tokenizer, prompts, seed=seed)
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [
        (text, ids[-1:] == [tokenizer.eos_token_id])
        for text, ids in zip(texts, written, strict=True)
    ]


def mark_cut_off(answers: Sequence[tuple[str, bool]]) -> list[str]:
    """Returns the poems. One that was cut off ends in "…", so it is not well formed."""
    return [text if ended else text + "…" for text, ended in answers]


class ThemeTest:
    """Theme words from held-out poems, and whether a model's poems use them.

    The rates by chance are those of a poem that was written for another theme.
    """

    def __init__(self, poems: Sequence[str], training: Sequence[str], seed: int):
        lexicon, rng = themes.Lexicon(training), random.Random(seed)
        candidates = (lexicon.theme(poem, rng) for poem in poems)
        self.themes = list(itertools.islice(filter(None, candidates), THEMES))
        self.related = lexicon.related_words(
            {word for theme in self.themes for word in theme.split()}
        )

    def measures(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, seed: int
    ) -> Row:
        """Writes one poem per theme, and returns the shares of theme words that the poems use.

        The row is empty for a corpus without repeated words.
        """
        if not self.themes:
            return Row()
        poems = write(
            model,
            tokenizer,
            self.themes,
            seed=seed,
            instruction=themes.instruction(tokenizer.get_vocab()),
            guidance_scale=themes.GUIDANCE,
        )
        return self.rates(poems)

    def rates(self, poems: list[str]) -> Row:
        """Returns the rates of poems, one poem per theme, in the order of the themes."""
        words, words_or_kin = self._words_used(poems)
        words_by_chance, words_or_kin_by_chance = self._words_used(poems[1:] + poems[:1])
        return Row(
            theme_words=words,
            theme_words_or_kin=words_or_kin,
            theme_words_by_chance=words_by_chance,
            theme_words_or_kin_by_chance=words_or_kin_by_chance,
        )

    def _words_used(self, poems: list[str]) -> tuple[Estimate, Estimate]:
        """Returns the share of theme words that poems use, and the share with related words."""
        used, used_or_related = [], []
        for poem, theme in zip(poems, self.themes, strict=True):
            size = len(theme.split())
            words, words_or_related = themes.count_used_words(poem, theme, self.related)
            used.append((words, size))
            used_or_related.append((words_or_related, size))
        return fraction(used), fraction(used_or_related)


def author_measures(
    adapter: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    author: AuthorSplit,
    sample: Sequence[Answer],
    written: Sequence[str],
    seed: int,
) -> Row:
    """Returns the measures of an author's adapter against the base model without the adapter.

    Args:
        model: the base model with the adapter.
        written: the poems that `model` wrote for the titles of `sample`.
    """
    base, _ = load(base_of(Path(adapter)))
    base.to(model.device)
    # Both models sample alike, so only the weights make a difference.
    base.generation_config = model.generation_config
    written_before = mark_cut_off(write_answers(base, tokenizer, _prompts(sample), seed))
    return merge(
        _author_losses(model, base, tokenizer, author, seed),
        _author_rates(author, written, written_before, seed),
    )


def _author_losses(
    model: PreTrainedModel,
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    author: AuthorSplit,
    seed: int,
) -> Row:
    """Returns how much the adapter lowers the loss of the author's poems and of others' poems."""
    own, others = (
        [Answer(ask(poem.title), poem.text) for poem in poems if len(poem.title) <= MAX_TITLE]
        for poems in (author.held_out, author.others_held_out)
    )
    if not own or not others:
        return Row()
    others = random.Random(seed).sample(others, min(len(others), max(len(own), TITLES)))
    after = poem_costs(model, tokenizer, own + others)
    before = poem_costs(base, tokenizer, own + others)
    saved = [
        (nats_before - nats) / max(1, count)
        for (nats, count), (nats_before, _) in zip(after, before, strict=True)
    ]
    n = len(own)
    return Row(
        voice_auc=area_under_curve(saved[:n], saved[n:]),
        author_loss=ratio(after[:n]),
        author_loss_before=ratio(before[:n]),
        others_loss=ratio(after[n:]),
        others_loss_before=ratio(before[n:]),
    )


def _author_rates(
    author: AuthorSplit, written: Sequence[str], written_before: Sequence[str], seed: int
) -> Row:
    """Returns the shares of poems that a classifier takes for the author's."""
    classifier = AuthorClassifier(author, seed)

    def taken(poems: Iterable[str]) -> Estimate:
        return share(map(classifier.is_by_author, poems))

    return Row(
        taken_for_author=taken(written),
        taken_for_author_before=taken(written_before),
        own_poems_taken_for_author=taken(poem.text for poem in author.held_out),
        others_poems_taken_for_author=taken(poem.text for poem in author.others_held_out),
    )


def _sample(
    held_out: HeldOut,
    n: int,
    seed: int,
    writers: Sequence[tuple[PreTrainedModel, PreTrainedTokenizerFast]],
) -> list[Answer]:
    """Returns up to n held-out texts whose prompts fit into all writers, in random order."""
    usable = held_out.answers.copy()
    if held_out.kind.verse and held_out.kind.shape == POEMS:
        usable = [answer for answer in usable if len(content(answer.prompt)) <= MAX_TITLE]
        if held_out.answers and not usable:
            raise UserError(
                f"no held-out poem has a title of at most {MAX_TITLE} characters. "
                "Shorten the titles of the corpus, or choose another corpus."
            )
    random.Random(seed).shuffle(usable)

    def fits(answer: Answer) -> bool:
        return all(
            len(
                tokenizer.apply_chat_template(answer.prompt, add_generation_prompt=True)[
                    "input_ids"
                ]
            )
            < model.config.n_positions
            for model, tokenizer in writers
        )

    sample = list(itertools.islice(filter(fits, usable), n))
    if usable and not sample:
        positions = min(model.config.n_positions for model, _ in writers)
        raise UserError(
            f"no held-out prompt fits into the {positions} tokens of the model. "
            "Shorten the prompts, or train a model with a larger n_positions."
        )
    return sample


def _prompts(sample: Sequence[Answer]) -> list[list[Message]]:
    return [answer.prompt for answer in sample]


def _print_progress(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)
