"""Teaches the model the rules of regulated verse. The teacher is the same model under a mask.

    python train_distill.py --config configs/tang-regulated/distill.yaml
    accelerate launch train_distill.py --config configs/tang-regulated/distill.yaml --rounds 2

The model and the teacher are output_dir/../sft. The titles are those of output_dir/../data.
With --rounds, each round starts from the model of the round before and writes new poems.
Options: `DistillOptions` (poet/training/options.py) and TRL's `SFTConfig`.
"""

import copy
from typing import TYPE_CHECKING

from poet import errors

if TYPE_CHECKING:
    from trl import SFTConfig

    from poet.training.options import DistillOptions


def main() -> None:
    from trl import SFTConfig

    from poet.training.command_line import parse
    from poet.training.options import DistillOptions

    options, args = parse(DistillOptions, SFTConfig)

    from poet.alignment.rounds import rounds

    for round_options, round_args, number in rounds(options, args):
        distill(round_options, round_args, number, options.model_name_or_path)


def distill(
    options: "DistillOptions", args: "SFTConfig", number: int, first_model: str | None
) -> None:
    """Runs one round: the model writes poems, and then trains on them.

    Args:
        number: the number of the round, from 0.
        first_model: the model of the first round. Default: the fine-tuned model of the run.
    """
    from datasets import Dataset, concatenate_datasets
    from trl import SFTTrainer

    from poet.alignment import masked_poems, themes
    from poet.alignment.distillation import MaskedTeacher, distillation_loss
    from poet.data.run_data import load_stage
    from poet.generation.load import load
    from poet.training.callbacks import ShowSample
    from poet.training.refusals import try_out
    from poet.training.stage import Stage
    from poet.training.trainer import PoetTrainerMixin

    class Distiller(PoetTrainerMixin, SFTTrainer):
        """trl.SFTTrainer with the loss of poet/alignment/distillation.py in training."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            if not model.training:  # held-out poems of the corpus have the loss of fine-tuning
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            batch = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            target, kinds = teacher(**batch, labels=inputs["labels"])
            is_label = inputs["labels"][:, 1:] != -100
            logits = model(**batch).logits[:, :-1][is_label] / temperature
            total, metrics = loss(logits, target, kinds)
            for name, value in metrics.items():
                self._metrics["train"][name].append(value.item())
            if num_items_in_batch is None:
                return total / len(logits)
            return total / num_items_in_batch * self.accelerator.num_processes

    stage = Stage("distill", options, args, is_last_round=number == options.rounds - 1)
    model, tokenizer = stage.load_model("sft")
    loss, temperature = stage.compile(distillation_loss), model.generation_config.temperature

    # Data: prompts from poems in a regulated form. A prompt is a title, or words of the poem.
    rows = load_stage(stage.run_folder, "sft")
    seed = args.seed + number
    poems = masked_poems.in_regulated_forms(rows["train"])[: options.samples_per_round]
    titled, themed = themes.part_by_theme(poems, masked_poems.THEME_FRACTION, seed)

    # Teachers: this model under the mask, and without the mask the model of the first round.
    reference = copy.deepcopy(model).to(args.device)
    first = reference
    if number:
        first, _ = load(first_model or stage.run_folder / "sft")
        stage.prepare_model(first, tokenizer)
        first.to(args.device)
    teacher = MaskedTeacher(reference, tokenizer, first)

    if not stage.begin():
        return
    args.max_length = min(args.max_length or model.config.n_positions, model.config.n_positions)
    try_out(stage, Distiller, rows, model=model, processing_class=tokenizer)
    # The model writes poems under the mask. Poems in old style come from the corpus.
    samples = masked_poems.rows_in_forms(reference, tokenizer, titled, seed=seed)
    ask = themes.instruction(tokenizer.get_vocab())
    samples += masked_poems.rows_in_forms(reference, tokenizer, themed, seed=seed, instruction=ask)
    old_style = masked_poems.in_no_form(rows["train"], options.samples_per_round)
    old_style = themes.ask_by_theme(old_style, masked_poems.THEME_FRACTION, seed)
    sampled = Dataset.from_list(samples, features=old_style.features)
    rows["train"] = concatenate_datasets([sampled, old_style])
    rows = stage.drop_long_rows(rows, tokenizer, args.max_length)

    trainer = Distiller(
        stage=stage,
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        callbacks=[ShowSample(stage, tokenizer, text=model)],
    )
    stage.train(trainer)


if __name__ == "__main__":
    errors.run(main)
