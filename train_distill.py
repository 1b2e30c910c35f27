"""Teaches the fine-tuned model the rules of regulated verse by itself under a mask: a third way of alignment, beside stage five.

    python train_distill.py --config configs/tang-regulated/distill.yaml
    accelerate launch train_distill.py --config configs/tang-regulated/distill.yaml --samples_per_round 3200

It starts from OUTPUT_DIR/../sft, which is also the teacher, and the titles of the data beside it; with `rounds` above 1 once more
from what it has learned, with new poems of its own. Every option is a field of `DistillationArguments` (poet/training/options.py) or of
trl's `SFTConfig`.
"""

import copy
from typing import TYPE_CHECKING

from poet import errors

if TYPE_CHECKING:
    from trl import SFTConfig

    from poet.training.options import DistillationArguments


def main() -> None:
    from trl import SFTConfig

    from poet.training.options import DistillationArguments, parse

    stage_args, args = parse(DistillationArguments, SFTConfig)

    from poet.alignment.rounds import rounds

    for stage_args_of_round, args_of_round, number in rounds(stage_args, args):
        distill(stage_args_of_round, args_of_round, number, stage_args.model_name_or_path)


def distill(
    stage_args: "DistillationArguments", args: "SFTConfig", number: int, first: str | None
) -> None:
    """One round, of which there is one unless `rounds` says otherwise: it begins, writes and trains as if by itself.

    Args:
        number: of the round, from 0.
        first: the checkpoint that the first round started from, if not the fine-tuned model beside.
    """
    import torch
    from datasets import Dataset, concatenate_datasets
    from trl import SFTTrainer

    from poet.alignment import masked_poems, themes
    from poet.alignment.distillation import MaskedTeacher, distillation_loss
    from poet.data import run_data
    from poet.speed import hardware, scoring
    from poet.training.callbacks import show_sample
    from poet.training.stage import (
        Stage,
        begin,
        choose_attention,
        fit_lengths,
        load_model,
        locate,
        train,
    )

    loss = distillation_loss
    if stage_args.compile_scoring and hardware.has_compiler():
        loss = torch.compile(loss, dynamic=True)

    class Distiller(Stage, SFTTrainer):
        """trl.SFTTrainer with another loss, that of poet/alignment/distillation.py; evaluation is that of fine-tuning."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            if not model.training:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            target, kinds = teacher(**batch, labels=inputs["labels"])
            logits = (
                model(**batch).logits[:, :-1][inputs["labels"][:, 1:] != -100]
                / stage_args.temperature
            )
            total, metrics = loss(
                logits, target, kinds, stage_args.rule_weight, stage_args.ending_weight
            )
            for name, value in metrics.items():
                self._metrics["train"][name].append(value.item())
            if num_items_in_batch is None:
                return total / len(logits)
            return total / num_items_in_batch * self.accelerator.num_processes

    scoring.patch_trl_scoring(stage_args.compile_scoring)
    run = locate(args)
    start = run.folder / "sft"
    model, tokenizer, origin = load_model(
        stage_args.model_name_or_path or start, stage_args, stage_args.sample_title
    )

    # Data: titles of poems in a regulated form, or words of theirs in place of the title.
    rows = run_data.load_stage(run.folder, "sft")
    patterns = masked_poems.in_regulated_forms(rows["train"], stage_args.max_lines)[
        : stage_args.samples_per_round
    ]
    seed = args.seed + number
    titled, themed = themes.part_by_theme(patterns, stage_args.theme_fraction, seed)

    # Teachers: the model as it is now, under the mask of each poem's form; and of free verse as it was before the first round.
    choose_attention(model, args)
    reference = copy.deepcopy(model).to(args.device)
    before = load_model(first or start, stage_args)[0].to(args.device) if number else reference
    choose_attention(before, args)
    teacher = MaskedTeacher(reference, tokenizer, before)

    made_from = run_data.load_summary(run.folder)["made_from"]
    if not begin("distill", args, stage_args, {"data": made_from, "model": origin}):
        return

    # The poems that it writes for these under the mask, beside some of the poets that keep to no form; the poets' own evaluate.
    written = masked_poems.rows_in_forms(
        reference, tokenizer, titled, stage_args.sampling_temperature, seed
    )
    written += masked_poems.rows_in_forms(
        reference, tokenizer, themed, stage_args.sampling_temperature, seed, themes.INSTRUCTION
    )
    free = masked_poems.in_no_form(rows["train"], stage_args.max_lines, stage_args.old_style_poems)
    free = themes.ask_by_theme(free, stage_args.theme_fraction, seed)
    rows["train"] = concatenate_datasets([Dataset.from_list(written, features=free.features), free])
    rows = fit_lengths(rows, tokenizer, args, model.config.n_positions)

    trainer = Distiller(
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
    )
    trainer.stage_args = stage_args
    trainer.add_callback(
        show_sample(stage_args.sample_title, args.seed, run.samples, tokenizer, text=model)
    )
    train(
        trainer,
        {"stage": "distill", "corpus": made_from["corpus"]},
        is_last_round=number == stage_args.rounds - 1,
    )


if __name__ == "__main__":
    errors.run(main)
