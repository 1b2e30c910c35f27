"""Checkpoints and held-out poems -> figures: how likely a model finds the poets' verse, and what its own is like.

Knows checkpoints, run folders and the judge of verse; trains nothing. Losses are nats a character, rates are over all
poems that were asked for, and a poem that does not end by itself is no whole poem.
"""

import bisect
import itertools
import math
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet import device
from poet.alignment import themes
from poet.alignment.attribution import AuthorClassifier
from poet.alignment.author import AuthorSplit, find_author_of
from poet.data import run_data
from poet.data.poems import Poem, read_corpus
from poet.data.rows import (
    POEM_SEPARATOR,
    content,
    dpo_row,
    hold_out,
    pretraining_rows,
    pretraining_text,
    sft_row,
    split_title,
    training_texts,
)
from poet.errors import UserError
from poet.generation import write
from poet.generation.adapter import base_of
from poet.generation.load import check_template, load
from poet.prosody.judge import judge
from poet.prosody.parallelism import Parallelism, middle_couplets
from poet.text import LINE_END, line_length, poem_lines
from poet.training.checkpoints import is_finished
from poet.training.stages import ALIGNED
from poet_tokenizer import ask, encode_text

TITLES = 500  # poems a checkpoint writes
THEMES = 100  # poems that it writes for words in place of a title
TITLE_LIMIT = 40  # characters; longer titles are prefaces
Verse = tuple[str, str]  # title, poem
_WIDE = str.maketrans(",.?!;", "，。？！；")
Nats = tuple[float, int]  # of a poem, and of how many characters
Row = dict[str, Any]  # measure -> value, and "interval": measure -> its 95 % interval


# ------------------------------------------------------------------------------------------------ what is held out


@dataclass(frozen=True)
class HeldOut:
    """What evaluates, and the poems that trained: what a model may have copied from."""

    verses: list[Verse]
    text: str
    training: list[str]


def of_run(run: Path) -> HeldOut:
    """The evaluation parts that stand in a run folder; a UserError where it has no data."""
    sets = {stage: run_data.load_stage(run, stage) for stage in run_data.STAGES}
    parts = {stage: (list(rows["train"]), list(rows["test"])) for stage, rows in sets.items()}
    return _held_out(parts)


def of_corpus(corpus: str) -> HeldOut:
    """The evaluation parts of a corpus, cut as the recipe `tang` cuts it; UserErrors are those of `read_corpus`."""
    from poet.training.command_line import parse

    recipe = Path(__file__).resolve().parents[2] / "configs" / "tang" / "data.yaml"
    (arguments,) = parse(run_data.DataOptions, argv=["--config", str(recipe), "--corpus", corpus])
    _, split = run_data.read_and_split(arguments)
    share = arguments.held_out
    parts = {
        "pretrain": pretraining_rows(pretraining_text(split.pretrain), share),
        "sft": hold_out([sft_row(poem) for poem in split.sft], share),
        "dpo": (
            [dpo_row((poem, poem)) for poem in hold_out(split.dpo, share)[0]],
            [],
        ),
    }
    return _held_out(parts)


def find_held_out(corpus: str | None, checkpoints: Sequence[str | Path]) -> HeldOut | None:
    """That of `corpus`, else of the run in which the first checkpoint stands; None with neither, for poems of a file."""
    if corpus is not None:
        return of_corpus(corpus)
    if not checkpoints:
        return None
    runs = [_stage(checkpoint).parent for checkpoint in checkpoints]
    if not (runs[0] / "data" / "summary.json").is_file():
        raise UserError(
            f"beside {checkpoints[0]} there is no {runs[0] / 'data'} to measure it on; name poems with --corpus"
        )
    parts = _parts(runs[0])
    for checkpoint, run in zip(checkpoints, runs, strict=True):
        if (run / "data" / "summary.json").is_file() and _parts(run) != parts:
            raise UserError(
                f"{checkpoints[0]} and {checkpoint} have learned from different data, so that one may know what the other is "
                "measured on: evaluate them apart"
            )
    return of_run(runs[0])


def _parts(run: Path) -> dict[str, Any]:
    """What a run's parts depend on: the poems, wherever they were read from, and how they were cut, whatever was preferred."""
    made_from = run_data.load_summary(run)["made_from"]
    return {key: value for key, value in made_from.items() if key not in ("corpus", "preference")}


def read_poems(path: str) -> list[str]:
    """The poems of a file that is a corpus, with titles or without.

    Rows and widths of marks are its own affair: it is judged as if it had a couplet a row, with marks as wide as characters.

    Raises:
        UserError: no such file, none that can be read, no poem, or none with the marks that verse is read by.
    """
    corpus = read_corpus(path)
    poems = [poem.text for poem in corpus.poems]
    if corpus.dropped:  # they would be missed in what is a share of all poems
        _say(
            f"{path}: not judged: "
            + ", ".join(f"{count} {reason}" for reason, count in corpus.dropped.items())
        )
    if not any(map(LINE_END.search, poems)):
        raise UserError(
            f"{path}: no line ends in ， or 。 or another mark of verse, and by these it is read"
        )
    wide = ("".join(poem.translate(_WIDE).split()) for poem in poems)
    return [re.sub("(?<=[。？！；])(?=[^。？！；])", "\n", poem) for poem in wide]


def _stage(checkpoint: str | Path) -> Path:
    """runs/tang/dpo, for runs/tang/dpo/checkpoint-100 too."""
    folder = Path(checkpoint).resolve()
    return folder.parent if re.fullmatch(r"checkpoint-\d+", folder.name) else folder


def _held_out(parts: dict[str, tuple[list, list]]) -> HeldOut:
    text_rows, (learned, held_out), (pairs, _) = parts["pretrain"], parts["sft"], parts["dpo"]
    training = list(training_texts(text_rows[0], learned))
    training += [content(row[side]) for row in pairs for side in ("chosen", "rejected")]
    return HeldOut(
        verses=[(content(row["prompt"]), content(row["completion"])) for row in held_out],
        text=POEM_SEPARATOR.join(row["text"] for row in text_rows[1]),
        training=list(dict.fromkeys(training)),
    )


# ---------------------------------------------------------------------------------------------------------- losses


def text_loss(model, tokenizer, text: str) -> tuple[float, tuple[float, float]]:
    """Nats a character of a text and the interval: windows of n_positions, one after another, each predicted on its own."""
    return _ratio(_text_nats(model, tokenizer, text.split(POEM_SEPARATOR)))


def poem_loss(model, tokenizer, verses: Sequence[Verse]) -> tuple[float, tuple[float, float]]:
    """Nats a character of the poems and their end marks, given the prompts of their titles; with the interval."""
    return _ratio(_poem_nats(model, tokenizer, verses))


def title_gain(
    model, tokenizer, verses: Sequence[Verse], own: Sequence[Nats] | None = None
) -> tuple[float, tuple[float, float]]:
    """Nats a character that a poem's own title saves against the title of another one of them; with the interval.

    Args:
        own: what the poems cost under their own titles, where that is known already.
    """
    others = [verses[i - 1][0] for i in range(len(verses))]
    shuffled = [(title, poem) for title, (_, poem) in zip(others, verses, strict=True)]
    own = _poem_nats(model, tokenizer, verses) if own is None else own
    other = _poem_nats(model, tokenizer, shuffled)
    # A long title may push the end of a long poem over the last position: then the two are not of the same text.
    return _ratio([(b - a, n) for (a, n), (b, m) in zip(own, other, strict=True) if n == m])


def _text_nats(model, tokenizer, poems: Sequence[str]) -> list[Nats]:
    """(poems of a text) -> nats and characters of each; windows go over the poems' ends, as in training."""
    pieces = [poem + POEM_SEPARATOR for poem in poems[:-1]] + list(poems[-1:])
    encoded = [encode_text(tokenizer, piece) for piece in pieces]
    ids = list(itertools.chain.from_iterable(encoded))
    size = min(model.config.n_positions, len(ids) - 1)
    windows = [(ids[start : start + size + 1], 1) for start in range(0, len(ids) - size, size)]
    nats = torch.cat(
        _nats(model, windows)
    ).tolist()  # of ids[1:], less what is behind the last whole window
    parts, start = [], -1
    for piece in encoded:
        first, end = max(start, 0), min(start + len(piece), len(nats))
        parts.append((sum(nats[first:end]), len(tokenizer.decode(ids[first + 1 : end + 1]))))
        start += len(piece)
    return parts


def _poem_nats(model, tokenizer, verses: Sequence[Verse]) -> list[Nats]:
    """(poems) -> nats and tokens of each, the end mark among them; what is behind the model's last position is left out."""
    chats = [ask(title) for title, _ in verses]
    prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True)["input_ids"]
    wholes = [
        prompt + encode_text(tokenizer, poem) + [tokenizer.eos_token_id]
        for prompt, (_, poem) in zip(prompts, verses, strict=True)
    ]
    limit = model.config.n_positions
    found = _nats(
        model, [(whole[:limit], len(prompt)) for whole, prompt in zip(wholes, prompts, strict=True)]
    )
    return [(nats.sum().item(), len(nats)) for nats in found]


@torch.inference_mode()
def _nats(
    model, sequences: Sequence[tuple[list[int], int]], tokens: int = 1024
) -> list[torch.Tensor]:
    """Sequences (ids, k) -> for each the nats of ids[k:], (len(ids) - k), each given all before it.

    Sequences of like length are one batch of about `tokens` (their logits fit a processor's cache better than more
    would), padded behind: what is causal does not see the padding.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i][0]))
    found = [torch.zeros(0)] * len(sequences)
    # Not the padding token: transformers warns of one without a mask, and causal attention without a mask is faster.
    filling = model.config.eos_token_id
    while order:
        size = max(1, tokens // len(sequences[order[-1]][0]))
        batch, order = order[-size:], order[:-size]
        width = len(sequences[batch[-1]][0])
        ids, labels = (
            torch.full((len(batch), width), filling),
            torch.full((len(batch), width), -100),
        )  # (B, T)
        for row, i in enumerate(batch):
            sequence, first = torch.tensor(sequences[i][0]), sequences[i][1]
            ids[row, : len(sequence)] = sequence
            labels[row, first : len(sequence)] = sequence[first:]
        ids, labels = ids.to(model.device), labels[:, 1:].to(model.device)
        logits = model(input_ids=ids[:, :-1]).logits.float()  # (B, T-1, vocabulary)
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), reduction="none"
        )
        for i, row_nats in zip(batch, nats.view(labels.shape).cpu(), strict=True):
            sequence_ids, first = sequences[i]
            found[i] = row_nats[first - 1 : len(sequence_ids) - 1]
    return found


# ----------------------------------------------------------------------------------------------------------- verse


class Training:
    """The poems that a model has learned, for finding what it copied, and which held-out poems it has seen."""

    def __init__(self, poems: Sequence[str]):
        lines = [poem_lines(poem) for poem in poems]
        self.lines = {line for poem in lines for line in poem}
        self.parallelism = Parallelism(poems)
        self.text = "\n".join(
            "".join(poem) for poem in lines
        )  # no run goes from one poem into the next
        self.wordings = {_wording(poem) for poem in poems}
        self.couplets = {couplet for poem in poems for couplet in map(_wording, poem.split("\n"))}

    def has_seen(self, poem: str) -> bool:
        """Whether a held-out poem leaks: a copy of it trained, or at least half its lines did."""
        return self.has_copy(poem) or self.has_half(poem)

    def has_copy(self, poem: str) -> bool:
        """Whether the poem stands word for word in a training part, whatever its punctuation."""
        return _wording(poem) in self.wordings

    def has_half(self, poem: str) -> bool:
        """Whether at least half the poem's lines stand in the training poems, each a couplet as the corpus has it.

        Lines of fewer than ten characters do not count: those are the formulas of hymns, which many poems share.
        """
        couplets = [_wording(line) for line in poem.split("\n")]
        return 2 * sum(len(each) >= 10 and each in self.couplets for each in couplets) >= len(
            couplets
        )

    def longest_copy(self, poems: Sequence[tuple[str, ...]], shortest: int = 4) -> int:
        """Characters of the longest run, over line ends too, that stands in a training poem; 0 if under `shortest`."""
        text, longest = self.text, 0
        places: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for poem in map("".join, poems):
            for at in range(len(poem) - shortest + 1):
                places[poem[at : at + shortest]].append((poem, at))
        for start in range(len(text) - shortest + 1):
            for poem, at in places.get(text[start : start + shortest], ()):
                if poem[at : at + longest + 1] == text[start : start + longest + 1]:
                    pairs = zip(poem[at:], text[start : start + len(poem) - at], strict=False)
                    longest = max(
                        longest,
                        sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)),
                    )
        return longest


def _wording(text: str) -> str:
    return Poem("", (text,)).wording


def rates(poems: Sequence[str], training: Training | None = None) -> Row:
    """What a list of poems is like: its forms and rules, its repetitions, its variety, what is copied.

    A line is one of five or seven characters, as the judge of verse reads it, without punctuation. Repetitions are
    within a poem (a line, a character that stood in it before); distinct-1 and distinct-2 are the different characters
    and pairs of characters in a line, over all of them (Li et al., arXiv:1510.03055). Parallelism is that of the middle couplets of
    eight lines, by what stands opposite one another in the training poems (poet/prosody/parallelism.py); 0 is chance. Characters of no known
    tone, which fit anything, are told where there are some.
    """
    lines = [poem_lines(poem) for poem in poems]
    characters = ["".join(poem) for poem in lines]
    pairs = [[a + b for line in poem for a, b in itertools.pairwise(line)] for poem in lines]
    judged = [judge(poem) for poem in poems]
    lengths = [line_length(poem) for poem in poems]
    row: Row = {"poems": len(poems), "interval": {}}

    def put(key: str, value: tuple[float, tuple[float, float]]) -> None:
        row[key], row["interval"][key] = value

    put("well_formed", _share(length is not None for length in lengths))
    put("five_character", _share(length == 5 for length in lengths))
    if any(each.unknown for each in judged):  # of no known tone: they fit anything
        sizes = map(len, characters)
        put(
            "unknown_characters",
            _portion([(each.unknown, n) for each, n in zip(judged, sizes, strict=True)]),
        )
    put("rhymed", _share(each.rhymed for each in judged))
    put("regulated", _share(each.regulated for each in judged))
    forms = [name for name, _ in Counter(each.form for each in judged).most_common()]
    shares = {form: _share(each.form == form for each in judged) for form in forms}
    row["forms"] = {form: share for form, (share, _) in shares.items()}
    row["interval"]["forms"] = {form: interval for form, (_, interval) in shares.items()}
    regular = [each for each in judged if each.form != "irregular"]
    put(
        "tone_violations_per_line",
        _ratio([(each.tone_violations, len(each.lines)) for each in regular], least=0),
    )
    put("repeated_lines", _portion([(len(poem) - len(set(poem)), len(poem)) for poem in lines]))
    put(
        "repeated_characters",
        _portion([(len(poem) - len(set(poem)), len(poem)) for poem in characters]),
    )
    put("distinct_first_lines", _distinct([poem[:1] for poem in lines]))
    put("distinct_1", _distinct(characters))
    put("distinct_2", _distinct(pairs))
    if training is not None:
        scores = [
            [training.parallelism.score(*couplet) for couplet in middle_couplets(poem)]
            for poem in poems
        ]
        if any(scores):
            put("parallelism", _ratio([(sum(couplets), len(couplets)) for couplets in scores]))
        put(
            "copied_lines",
            _portion([(sum(line in training.lines for line in poem), len(poem)) for poem in lines]),
        )
        row["longest_copy"] = training.longest_copy(lines)
    return row


# ------------------------------------------------------------------------------------------------------- intervals


def wilson(rate: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate among n (Wilson, JASA 22, 1927)."""
    z = 1.96
    middle, half = rate + z * z / (2 * n), z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def area_under_curve(
    own: Sequence[float], others: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """How often a value of `own` is above one of `others`, ties counted half, and the 95 % interval: 0.5 tells nothing.

    The interval is Newcombe's fifth (Statistics in Medicine 25, 2006), which like Wilson's has a width at 0 and 1 too.
    """
    ranked, n = sorted(others), (len(own), len(others))
    area = sum(bisect.bisect_left(ranked, x) + bisect.bisect_right(ranked, x) for x in own) / (
        2 * n[0] * n[1]
    )
    k = sum(n) / 2 - 1

    def bound(inside: float, outside: float) -> float:
        for _ in range(40):
            t = (inside + outside) / 2
            variance = t * (1 - t) * (1 + k * (1 - t) / (2 - t) + k * t / (1 + t)) / (n[0] * n[1])
            inside, outside = (t, outside) if abs(t - area) <= 1.96 * variance**0.5 else (inside, t)
        return inside

    return area, (bound(area, 0.0), bound(area, 1.0))


def _share(flags: Iterable[bool]) -> tuple[float, tuple[float, float]]:
    values = list(flags)
    rate = sum(values) / max(1, len(values))
    return rate, wilson(rate, max(1, len(values)))


def _portion(
    parts: Sequence[tuple[float, float]], above: float | None = None
) -> tuple[float, tuple[float, float]]:
    """As `_ratio`, of a part among the whole: what is below 0 or above 1 is cut off its interval."""
    return _ratio(parts, above, least=0, most=1)


def _ratio(
    parts: Sequence[tuple[float, float]],
    above: float | None = None,
    least: float = -math.inf,
    most: float = math.inf,
) -> tuple[float, tuple[float, float]]:
    """A ratio of sums over poems and its 95 % interval, by leaving each poem out in turn (Tukey's jackknife).

    Args:
        parts: what each poem adds above and below the line; characters of one poem are not independent, poems are.
        above: the whole above the line, where it is not the sum of the parts.
        least, most: the bounds of what the ratio may be, for its interval.
    """
    above = sum(a for a, _ in parts) if above is None else above
    below = sum(b for _, b in parts)
    ratio = above / below if below else 0.0
    without = [(above - a) / (below - b) for a, b in parts if below > b]
    n, mean = len(without), sum(without) / max(1, len(without))
    half = 1.96 * math.sqrt((n - 1) / n * sum((each - mean) ** 2 for each in without)) if n else 0.0
    if (
        half == 0 and 0 <= ratio <= 1
    ):  # nothing seen in any poem, or in all: a rate among poems has an interval still
        return ratio, wilson(ratio, max(1, n))
    return ratio, (max(least, ratio - half), min(most, ratio + half))


def _distinct(poems: Sequence[Sequence[str]]) -> tuple[float, tuple[float, float]]:
    """Different things over all things in all poems; without a poem, those that stand in no other are missing."""
    holders = Counter(itertools.chain.from_iterable(set(poem) for poem in poems))
    alone = [(sum(holders[thing] == 1 for thing in set(poem)), len(poem)) for poem in poems]
    return _portion(alone, above=len(holders))


# ------------------------------------------------------------------------------------------------------ checkpoints


def evaluate_checkpoints(
    checkpoints: Sequence[str | Path],
    held_out: HeldOut | None,
    titles: int = TITLES,
    seed: int = 0,
    poems: Sequence[str] = (),
) -> dict[str, Any]:
    """{"checkpoints": {path: row}, "poets": row, "titles", "seed"}, as `poet evaluate --json` prints it.

    Args:
        held_out: what the checkpoints are measured on; without it there are no poets to compare with.
        titles: how many poems each checkpoint writes, for titles of the evaluation part drawn by `seed`; "poets" are
            the real poems of the same titles. A checkpoint named pretrain knows no titles: it gets its loss alone.
            A loss `_unseen` is that without the poems that leak (`Training.has_seen`) from any of the three training
            parts; `leaked_poems` says how many `poem_loss_unseen` leaves out. An adapter's row says besides whether it
            sounds like its author: `voice_auc` and what stands beside it, over held-out poems of the whole run.
        poems: verse from elsewhere, judged as the row "poems".
    """
    result: dict[str, Any] = {"checkpoints": {}, "titles": 0, "seed": seed}
    training = None
    loaded = {
        path: load(path) for path in checkpoints
    }  # what is wrong is said before the first is measured
    writers = [path for path in checkpoints if _stage(path).name != "pretrain"]
    for path in writers:
        check_template(loaded[path][1], path)
    voices = {path: find_author_of(_stage(path)) for path in checkpoints}
    if held_out is not None:
        verses = [verse for verse in held_out.verses if len(verse[0]) <= TITLE_LIMIT]
        if not verses:
            raise UserError(
                f"the evaluation part has no poem with a title of at most {TITLE_LIMIT} characters"
            )
        random.Random(seed).shuffle(verses)
        verses = verses[:titles]
        training = Training(held_out.training)
        asked = _Themes([poem for _, poem in verses], held_out.training, seed) if writers else None
        for path in checkpoints:
            own = asked if path in writers else None
            result["checkpoints"][str(path)] = _row(
                path, *loaded[path], held_out, verses, own, seed, training, voices[path]
            )
        result |= {"poets": rates([poem for _, poem in verses], training), "titles": len(verses)}
    if poems:
        result["poems"] = rates(poems, training)
    return result


def _row(
    path: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    held_out: HeldOut,
    verses: list[Verse],
    asked: "_Themes | None",
    seed: int,
    training: Training,
    voice: AuthorSplit | None,
) -> Row:
    """Everything about one checkpoint; with nothing `asked`, since it knows no titles, its loss alone."""
    row: Row = {"interval": {}}
    model.to(device.fastest_device())
    _say(f"{path}: the loss of the evaluation part")
    _enter(row, _text_figures(model, tokenizer, held_out.text.split(POEM_SEPARATOR), training))
    if asked is None:
        return row
    seen = [training.has_seen(poem) for _, poem in held_out.verses]
    _enter(row, _title_figures(model, tokenizer, held_out.verses, seen, verses))
    _enter(row, asked.figures(model, tokenizer, seed))
    row["leaked_poems"] = sum(seen)
    _say(f"{path}: {len(verses)} poems")
    poems = _whole_poems(model, tokenizer, [title for title, _ in verses], seed)
    written = rates(poems, training)
    row |= {**written, "interval": row["interval"] | written["interval"]}
    if voice is not None:
        base, _ = load(base_of(Path(path)))
        base.to(model.device)
        base.generation_config = (
            model.generation_config
        )  # so that the weights alone make the difference
        _say(f"{path}: whether it sounds like {voice.author}")
        before = _whole_poems(base, tokenizer, [title for title, _ in verses], seed)
        _enter(row, _voice_figures(model, base, tokenizer, voice, seed))
        _enter(row, _bayes_figures(voice, poems, before, seed))
    return row


def _enter(row: Row, figures: Iterable[tuple[str, Any]]) -> None:
    for key, (value, interval) in figures:
        row[key], row["interval"][key] = value, interval


def _text_figures(
    model, tokenizer, poems: Sequence[str], training: Training
) -> Iterator[tuple[str, Any]]:
    nats = _text_nats(model, tokenizer, poems)
    loss, (low, high) = _ratio(nats)
    yield "loss", (loss, (low, high))
    yield "perplexity", (math.exp(loss), (math.exp(low), math.exp(high)))
    unseen = [
        each
        for each, poem in zip(nats, poems, strict=True)
        if not training.has_seen(split_title(poem)[1])
    ]
    if unseen:
        yield "loss_unseen", _ratio(unseen)


def _title_figures(
    model, tokenizer, verses: Sequence[Verse], seen: Sequence[bool], sample: Sequence[Verse]
) -> Iterator[tuple[str, Any]]:
    nats = _poem_nats(model, tokenizer, verses)
    yield "poem_loss", _ratio(nats)
    unseen = [each for each, known in zip(nats, seen, strict=True) if not known]
    if unseen:
        yield "poem_loss_unseen", _ratio(unseen)
    five = [each for each, (_, poem) in zip(nats, verses, strict=True) if line_length(poem) == 5]
    if five:
        yield "poem_loss_five_character", _ratio(five)
    own = dict(zip(verses, nats, strict=True))
    yield "title_gain", title_gain(model, tokenizer, sample, [own[verse] for verse in sample])


class _Themes:
    """Words out of held-out poems, and whether what a model writes on them speaks of them or of their kin.

    By chance: of the words that another of its poems was asked for.
    """

    def __init__(self, poems: Sequence[str], training: Sequence[str], seed: int):
        lexicon, draw = themes.Lexicon(training), random.Random(seed)
        found = (lexicon.theme(poem, draw) for poem in poems)
        self.themes = list(itertools.islice(filter(None, found), THEMES))
        self.kin = lexicon.related_words({word for theme in self.themes for word in theme.split()})

    def figures(self, model, tokenizer, seed: int) -> Iterator[tuple[str, Any]]:
        if not self.themes:  # a corpus of no repeated words
            return
        asked: dict[str, Any] = {
            "instruction": themes.INSTRUCTION,
            "guidance_scale": themes.GUIDANCE,
        }
        written = write.write(model, tokenizer, self.themes, seed=seed, **asked)
        for suffix, poems in (("", written), ("_by_chance", written[1:] + written[:1])):
            counts = [
                themes.count_used_words(poem, theme, self.kin)
                for poem, theme in zip(poems, self.themes, strict=True)
            ]
            sizes = [len(theme.split()) for theme in self.themes]
            for number, key in enumerate(("theme_words", "theme_words_or_kin")):
                yield (
                    key + suffix,
                    _portion([(count[number], n) for count, n in zip(counts, sizes, strict=True)]),
                )


def _voice_figures(
    model, base, tokenizer, voice: AuthorSplit, seed: int
) -> Iterator[tuple[str, Any]]:
    """What the adapter saves on held-out poems against its base, and how well that tells the author's from the others'."""
    own, others = (
        [(poem.title, poem.text) for poem in poems if len(poem.title) <= TITLE_LIMIT]
        for poems in (voice.held_out, voice.others_held_out)
    )
    if not own or not others:
        return
    others = random.Random(seed).sample(others, min(len(others), max(len(own), TITLES)))
    after, before = (_poem_nats(each, tokenizer, own + others) for each in (model, base))
    saved = [(b - a) / max(1, n) for (a, n), (b, _) in zip(after, before, strict=True)]
    yield "voice_auc", area_under_curve(saved[: len(own)], saved[len(own) :])
    for name, part in (("author", slice(len(own))), ("others", slice(len(own), None))):
        yield f"{name}_loss", _ratio(after[part])
        yield f"{name}_loss_before", _ratio(before[part])


def _bayes_figures(
    voice: AuthorSplit, poems: Sequence[str], before: Sequence[str], seed: int
) -> Iterator[tuple[str, Any]]:
    """Shares of poems that are taken for the author's: written with the adapter and without, held-out, the others'."""
    bayes = AuthorClassifier(voice, seed)
    yield "taken_for_author", _share(map(bayes.is_by_author, poems))
    yield "taken_for_author_before", _share(map(bayes.is_by_author, before))
    yield (
        "own_poems_taken_for_author",
        _share(bayes.is_by_author(poem.text) for poem in voice.held_out),
    )
    yield (
        "others_poems_taken_for_author",
        _share(bayes.is_by_author(poem.text) for poem in voice.others_held_out),
    )


def _whole_poems(model, tokenizer, titles: list[str], seed: int) -> list[str]:
    """One poem a title; one cut off at the last position ends in …, so that nothing takes it for a whole one."""
    written = write.write_ids(model, tokenizer, titles, seed=seed)
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [
        text if ids[-1:] == [tokenizer.eos_token_id] else text + "…"
        for text, ids in zip(texts, written, strict=True)
    ]


def evaluate(
    run: Path, before: str | Path | None = None, titles: int = TITLES, seed: int = 0
) -> dict[str, Row]:
    """The rows "sft", "poets" and one for each way in which a run has been aligned, for the same held-out titles.

    Args:
        before: the fine-tuned model that was aligned, where it is not the run's own.
    """
    aligned = [run / stage for stage in ALIGNED if is_finished(run / stage)]
    folders = {"sft": before or run / "sft", **{folder.name: folder for folder in aligned}}
    result = evaluate_checkpoints(list(folders.values()), of_run(run), titles, seed)
    return {name: result["checkpoints"][str(folder)] for name, folder in folders.items()} | {
        "poets": result["poets"]
    }


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def columns(result: dict[str, Any]) -> dict[str, Row]:
    """The rows of `evaluate_checkpoints` by name, checkpoints first, for `table` and for the figure."""
    return result["checkpoints"] | {
        name: result[name] for name in ("poems", "poets") if name in result
    }


def table(rows: dict[str, Row]) -> str:
    """A Markdown table: one column a writer, one row a measure, each value with its 95 % interval where it has one."""
    shown = {name: dict(_shown(row)) for name, row in rows.items()}
    lines = [f"| | {' | '.join(rows)} |", "|---" * (len(rows) + 1) + "|"]
    for measure in dict.fromkeys(itertools.chain.from_iterable(shown.values())):
        lines.append(
            f"| {measure} | {' | '.join(row.get(measure, '') for row in shown.values())} |"
        )
    return "\n".join(lines)


def _shown(row: Row) -> Iterator[tuple[str, str]]:
    """Measures and their values as the table has them; each form becomes a measure of its own."""
    intervals = row.get("interval", {})
    for key, value in row.items():
        if not isinstance(value, dict):
            yield key.replace("_", " "), _figure(value, intervals.get(key))
    for form, share in row.get("forms", {}).items():
        yield f"form {form}", _figure(share, intervals.get("forms", {}).get(form))


def _figure(value: float, interval: Sequence[float] | None) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return text if interval is None else f"{text} ({interval[0]:.3f} to {interval[1]:.3f})"
