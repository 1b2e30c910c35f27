"""Shows what a model sees of a poem: its row, then the tokens, ids and labels of one batch.

It knows rows and the tokenizer. It does not know models. `make_batch` builds the same batches as
the trainers of `transformers` and `trl`, in plain Python.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from transformers import PreTrainedTokenizerFast

from poet.data.rows import POEM_SEPARATOR, Row, content, split_title
from poet.data.run_data import STAGES, first_rows, make_tokenizer
from poet.text import visible
from poet_tokenizer import Message, encode_text

IGNORED = -100  # PyTorch's cross-entropy gives no loss where the label is -100
_ROWS = 2
_WIDTH = 96


@dataclass(frozen=True)
class Batch:
    """One batch. Both lists have the shape (rows, length)."""

    input_ids: list[list[int]]
    labels: list[list[int]]
    """The ids again, or -100 at positions that give no loss."""

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.input_ids), len(self.input_ids[0])


def make_batch(
    stage: str, rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast, block_length: int
) -> Batch:
    """Returns the rows of a stage as one batch.

    A batch of `pretrain` has blocks of the joined text. A batch of `sft` has one sequence per row.
    A batch of `dpo` has the preferred poems first, then the rejected poems. Instead of
    labels, `trl` gives them a `completion_mask`: 0 where the label here is -100, 1 elsewhere.

    Args:
        block_length: Tokens per block of `pretrain`.
    """
    if stage == "pretrain":
        text = POEM_SEPARATOR.join(row["text"] for row in rows)
        ids = encode_text(tokenizer, text[: _ROWS * block_length])  # a token per character or more
        length = min(block_length, len(ids))
        starts = range(0, len(ids) - length + 1, length)[:_ROWS]
        blocks = [ids[start : start + length] for start in starts]
        return Batch(blocks, blocks)

    answers = ("completion",) if stage == "sft" else ("chosen", "rejected")
    pairs = [_encode(row["prompt"], row[name], tokenizer) for name in answers for row in rows]
    length = max(len(ids) for ids, _ in pairs)
    return Batch(
        [_pad(ids, length, tokenizer.pad_token_id) for ids, _ in pairs],
        [_pad(labels, length, IGNORED) for _, labels in pairs],
    )


def _encode(
    prompt: list[Message], answer: list[Message], tokenizer: PreTrainedTokenizerFast
) -> tuple[list[int], list[int]]:
    """Returns the ids of prompt and answer, and the labels. The prompt gives no loss."""
    prompt_ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
    ids = tokenizer.apply_chat_template(prompt + answer)["input_ids"]
    return ids, [IGNORED] * len(prompt_ids) + ids[len(prompt_ids) :]


def _pad(values: list[int], length: int, filler: int) -> list[int]:
    return values + [filler] * (length - len(values))


# ---------------------------------------------------------------------------------- batch -> text


def show_data(output_dir: str | Path, block_length: int) -> str:
    """Returns one poem of each stage of a run, from its text to a batch."""
    tokenizer = make_tokenizer(output_dir, block_length)
    parts = []
    for stage in STAGES:
        count = block_length if stage == "pretrain" else _ROWS  # a block holds several poems
        if rows := first_rows(output_dir, stage, "train", count):
            parts.append(show_stage(stage, rows, tokenizer, block_length))
    return visible("\n\n".join(parts))


def show_stage(
    stage: str, rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast, block_length: int
) -> str:
    """Returns the first row and the batch of a stage as text."""
    batch = make_batch(stage, rows, tokenizer, block_length)
    shape = f"input_ids {batch.shape}, labels {batch.shape}"
    first = rows[0]
    if stage == "pretrain":
        title, poem = split_title(first["text"])
        return _lines(
            "Pretraining sees texts one after another, cut into blocks.",
            ("text", _fit(f"{title} | {poem}")),
            ("row", _json(first["text"], '{"text": %s}')),
            ("batch", f"{shape}. Its first block:"),
            *_table("", batch, 0, tokenizer),
            ("", "Every token is a label: the model predicts it from the tokens before it."),
        )
    title = content(first["prompt"])
    if stage == "sft":
        return _lines(
            "Fine-tuning sees a prompt, such as a title, and its completion, such as a poem.",
            ("text", _fit(f"{title} | {content(first['completion'])}")),
            *((name, _messages(first[name])) for name in ("prompt", "completion")),
            ("batch", f"{shape}. Its first row:"),
            *_table("", batch, 0, tokenizer),
            ("", _masked(batch.labels[0])),
        )
    return _lines(
        "Alignment sees two completions of one prompt, a preferred and a rejected one.",
        *((name, _messages(first[name])) for name in ("prompt", "chosen", "rejected")),
        ("batch", f"{shape}. Preferred ones come first. The first pair:"),
        *_table("chosen", batch, 0, tokenizer),
        *_table("rejected", batch, len(batch.labels) // 2, tokenizer),
        ("", _masked(batch.labels[0])),
    )


def _masked(labels: list[int]) -> str:
    count = labels.count(IGNORED)
    return (
        f"{count} of {len(labels)} labels are -100: the prompt and the padding. They give no loss."
    )


def _table(
    name: str, batch: Batch, row: int, tokenizer: PreTrainedTokenizerFast
) -> list[tuple[str, str]]:
    """Returns tokens, ids and labels of a row in columns. Leaves out most of a long row."""
    ids, labels = batch.input_ids[row], batch.labels[row]
    columns = []
    previous = -1
    for position in _positions(labels):
        if position > previous + 1:
            columns.append(("…", "…", "…"))
        token = tokenizer.convert_ids_to_tokens(ids[position]).replace("\n", "\\n")
        columns.append((token, str(ids[position]), str(labels[position])))
        previous = position
    if previous < len(ids) - 1:
        columns.append(("…", "…", "…"))
    aligned = [_align_right(column) for column in columns]
    tokens, id_row, label_row = (" ".join(cells) for cells in zip(*aligned, strict=True))
    return [(name, f"tokens {tokens}"), ("", f"ids    {id_row}"), ("", f"labels {label_row}")]


def _align_right(cells: Sequence[str]) -> list[str]:
    width = max(map(_width, cells))
    return [" " * (width - _width(cell)) + cell for cell in cells]


def _positions(labels: list[int]) -> list[int]:
    """Returns the positions to show: the start, the first and last label, and their neighbors."""
    with_loss = [position for position, label in enumerate(labels) if label != IGNORED]
    first, last = with_loss[0], with_loss[-1]
    if first == 0:
        shown = set(range(14))
    else:
        shown = {*range(3), *range(first - 3, first + 4), last - 1, last, last + 1}
    return sorted(position for position in shown if 0 <= position < len(labels))


def _lines(heading: str, *lines: tuple[str, str]) -> str:
    return "\n".join([heading, *(f"  {name:10} {text}".rstrip() for name, text in lines)])


def _messages(messages: list[Message]) -> str:
    role = messages[-1]["role"]
    return _json(content(messages), f'[{{"role": "{role}", "content": %s}}]')


def _json(text: str, frame: str) -> str:
    """Puts a text, shortened to one line, into `frame`: the JSON around it."""
    columns = _WIDTH - 13 - len(frame)
    return frame % json.dumps(_shorten(text, columns), ensure_ascii=False)


def _fit(text: str) -> str:
    return _shorten(text.replace("\n", " "), _WIDTH - 13)


def _shorten(text: str, columns: int) -> str:
    """Cuts a text to a number of columns of the terminal."""
    if len(text) <= columns and _width(text) <= columns:
        return text
    text = text[: columns - 1]  # keeps the loop short
    while _width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """Returns the columns of a text in a terminal. A line break counts as one."""
    return cell_len(text.replace("\n", " "))
