"""Fine-tunes the pretrained model to answer a title with a poem, in three ways.

python book/code/ch08_fine_tuning.py
"""

import tempfile

import lesson
import torch
from datasets import Dataset
from torch.nn import functional as F
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

import poet
from poet import errors
from poet.data import blocks
from poet.data.run_data import load_stage
from poet.generation.write import write_ids
from poet.training.progress import silence_libraries

IGNORED = -100  # a position with this label has no part in the loss
TITLE = "春夜喜雨"  # joyful rain on a spring night
TITLES = 64  # titles that are answered to count the poems that end


def make_trainer(chosen, rows: Dataset, folder: str, **options) -> SFTTrainer:
    """Returns a trainer that starts from the pretrained model."""
    model, tokenizer = poet.load(chosen.run / "pretrain")
    settings = {
        "output_dir": folder,
        "max_steps": chosen.steps,
        "per_device_train_batch_size": 16,
        "learning_rate": 1.5e-3,
        "warmup_steps": 10,
        "max_length": model.config.n_positions,
        "activation_checkpointing": False,
        "seed": chosen.seed,
    }
    args = SFTConfig(**lesson.QUIET | settings | options)  # no reports, no checkpoints
    trainer = SFTTrainer(model, args, train_dataset=rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def without_end(row: dict, end: int) -> dict:
    """Returns a row of ids and labels in which the end mark does not count."""
    labels = [IGNORED if label == end else label for label in row["labels"]]
    return {"labels": labels}


def whole_rows(rows: Dataset, tokenizer, positions: int) -> Dataset:
    """Drops rows that are too long. TRL would cut them, and they would lose their end mark."""

    def fits(row: dict) -> bool:
        chat = row["prompt"] + row["completion"]
        return len(tokenizer.apply_chat_template(chat)["input_ids"]) <= positions

    return rows.filter(fits)


@torch.no_grad()
def held_out_loss(trainer: SFTTrainer, rows: Dataset) -> float:
    """Returns the loss per label in nats. The rows have ids and labels."""
    total, labels = 0.0, 0
    for batch in trainer.get_eval_dataloader(rows):
        asked = {name: batch[name] for name in ("input_ids", "attention_mask")}
        scores = trainer.model.eval()(**asked).logits[:, :-1]  # (rows, length - 1, vocabulary)
        right = batch["labels"][:, 1:]  # (rows, length - 1): the token that comes next
        losses = F.cross_entropy(scores.transpose(1, 2), right, reduction="sum")
        total, labels = total + losses.item(), labels + int((right != IGNORED).sum())
    return total / labels


def count_positions(trainer: SFTTrainer) -> tuple[int, int, int]:
    """Returns the positions of an epoch: all, those of padding, and those that count."""
    pad, computed, padding, counted = trainer.processing_class.pad_token_id, 0, 0, 0
    for batch in trainer.get_train_dataloader():
        computed += batch["input_ids"].numel()
        padding += int((batch["input_ids"] == pad).sum())
        counted += int((batch["labels"] != IGNORED).sum())
    return computed, padding, counted


def show_row(row: dict, tokenizer) -> None:
    """Prints tokens, ids and labels of a row, without the middle of its poem."""
    start = row["labels"].index(next(label for label in row["labels"] if label != IGNORED))
    print("place  token     id   label")
    for place, (id, label) in enumerate(zip(row["input_ids"], row["labels"], strict=True)):
        if place == start + 6:
            print("    …  …")
        if place < start + 6 or place >= len(row["labels"]) - 3:
            token = tokenizer.convert_ids_to_tokens(id).replace("\n", "\\n")
            wide = sum(ord(character) > 0x2E80 for character in token)
            print(f"{place:5}  {token}{' ' * (7 - len(token) - wide)}{id:5}   {label:5}")


def write_figure(rows: Dataset, tokenizer, positions: int, poems: dict[str, dict]) -> None:
    """Writes the data of book/figures/08-fine-tuning.html."""
    shown = [
        {
            "tokens": tokenizer.convert_ids_to_tokens(row["input_ids"]),
            "ids": row["input_ids"],
            "prompt": row["labels"].count(IGNORED),
        }
        for row in rows.select(range(12))
    ]
    two = {"ends": poems["the poem counts"], "endless": poems["no end mark counts"]}
    data = {"rows": shown, "positions": positions, "poems": {"title": TITLE} | two}
    lesson.write_data(__file__, FINE_TUNING=data)


def main() -> None:
    chosen = lesson.options(__doc__, steps=140, figure=0)
    set_seed(chosen.seed)
    silence_libraries()
    _, tokenizer = poet.load(chosen.run / "pretrain")
    end, positions = tokenizer.eos_token_id, tokenizer.model_max_length
    rows = load_stage(chosen.run, "sft")
    train, test = (whole_rows(rows[half], tokenizer, positions) for half in ("train", "test"))
    titles = [row["prompt"][-1]["content"] for row in test.select(range(TITLES))]
    text = blocks.encode_rows(load_stage(chosen.run, "pretrain")["test"], tokenizer)
    starts = range(0, 64 * positions, positions)
    text = Dataset.from_dict({"input_ids": [text[start : start + positions] for start in starts]})

    scratch = tempfile.TemporaryDirectory()  # removed at the end
    folder = scratch.name
    ready = make_trainer(chosen, train, folder).train_dataset  # ids and labels, made by TRL
    held_out = make_trainer(chosen, test, folder).train_dataset
    held_out_rows, text = (
        each.map(lambda row: {"labels": row["input_ids"]}) for each in (held_out, text)
    )

    lesson.part("row")
    show_row(min(ready.select(range(100)), key=lambda row: len(row["input_ids"])), tokenizer)

    lesson.part("positions")
    print("batches                      computed   padding   count in the loss")
    for name, options in {
        "as they come": {},
        "rows of similar length": {"train_sampling_strategy": "group_by_length"},
        "packed": {"packing": True},
    }.items():
        trainer = make_trainer(chosen, ready, folder, **options)
        computed, padding, counted = count_positions(trainer)
        print(f"{name:27} {computed:9,} {padding / computed:9.0%} {counted:19,}")
        lesson.keep(**{f"padding_{name.split()[0]}": padding / computed})

    lesson.part("losses")
    print("training               poem   whole row   poems that end   plain text")
    poems = {}
    for name, (trained_on, options) in {
        "none": (train, {}),
        "the poem counts": (train, {}),
        "the prompt counts too": (train, {"completion_only_loss": False}),
        "no end mark counts": (ready.map(without_end, fn_kwargs={"end": end}), {}),
    }.items():
        trainer = make_trainer(chosen, trained_on, folder, **options)
        if name != "none":
            trainer.train()
        model, settings = trainer.model, {"seed": chosen.seed, "temperature": 0.8}
        answers = write_ids(model, tokenizer, titles, **settings)
        found = {
            "poem": held_out_loss(trainer, held_out),
            "row": held_out_loss(trainer, held_out_rows),
            "ended": 100 * sum(ids[-1] == end for ids in answers) / len(answers),
            "text": held_out_loss(trainer, text),
        }
        print("{:22} {poem:.2f} {row:11.2f} {ended:15.0f}% {text:12.2f}".format(name, **found))
        key = name.replace(" ", "_")
        lesson.keep(**{f"{key}_{what}": number for what, number in found.items()})
        (ids,) = write_ids(model, tokenizer, [TITLE], **settings)
        written = tokenizer.decode(ids, skip_special_tokens=True)
        poems[name] = {"text": written, "ended": ids[-1] == end}
    for name, poem in poems.items():
        lesson.part(f"poem: {name}")
        print(poem["text"] + ("" if poem["ended"] else " …"))
    lesson.keep(rows=len(train), prompt_share=1 - counted / (computed - padding))
    if chosen.figure:
        write_figure(ready, tokenizer, positions, poems)
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
