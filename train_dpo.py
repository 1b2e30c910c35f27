"""Aligns the fine-tuned model to a preference by pairs of poems: stage five of the journey.

    python train_dpo.py --config configs/tang/dpo.yaml
    accelerate launch train_dpo.py --config configs/tang/dpo.yaml --beta 0.2

It starts from OUTPUT_DIR/../sft, which is also its reference, and the data beside it; with `--rounds 3` it then samples, judges and
trains anew from what it has become. Every option is a field of
`AlignmentArguments` (poet/training/options.py) or of trl's `DPOConfig`.
"""

import copy
from typing import TYPE_CHECKING

from poet import errors

if TYPE_CHECKING:
    from trl import DPOConfig

    from poet.training.options import AlignmentArguments


def main() -> None:
    from trl import DPOConfig

    from poet.training.options import AlignmentArguments, parse

    stage_args, args = parse(AlignmentArguments, DPOConfig)

    from poet.alignment.rounds import rounds

    for stage_args_of_round, args_of_round, number in rounds(stage_args, args):
        align(stage_args_of_round, args_of_round, number)


def align(stage_args: "AlignmentArguments", args: "DPOConfig", number: int) -> None:
    """One round, of which there is one unless `rounds` says otherwise: it begins, judges and trains as if by itself."""
    from trl import DPOTrainer

    from poet.alignment import own_pairs
    from poet.data import preferences, run_data
    from poet.speed import scoring
    from poet.training.callbacks import RefuseWrongReference, show_sample
    from poet.training.stage import (
        Stage,
        begin,
        choose_attention,
        fit_lengths,
        load_model,
        locate,
        train,
    )

    class Aligner(Stage, DPOTrainer):
        """trl.DPOTrainer, and what poet/training/stage.py adds to every stage."""

    scoring.patch_trl_scoring(stage_args.compile_scoring)
    run = locate(args)
    model, tokenizer, origin = load_model(
        stage_args.model_name_or_path or run.folder / "sft", stage_args, stage_args.sample_title
    )

    # Data: a title as the prompt, the preferred poem and another one.
    rows = fit_lengths(
        run_data.load_stage(run.folder, "dpo"), tokenizer, args, model.config.n_positions
    )

    # Reference: the model as it is now.
    choose_attention(model, args)
    reference = copy.deepcopy(model).to(args.device).eval()

    made_from = run_data.load_summary(run.folder)["made_from"]
    if not begin("dpo", args, stage_args, {"data": made_from, "model": origin}):
        return

    # The model's own poems: its well-formed ones of the preferred kind against the others, title by title.
    if stage_args.sampled_titles:
        predicate = preferences.get(made_from["preference"], run_data.training_poems(run.folder))
        rows["train"] = own_pairs.add_sampled_pairs(
            rows["train"],
            reference,
            tokenizer,
            predicate,
            sampled_titles=stage_args.sampled_titles,
            samples_per_title=stage_args.samples_per_title,
            corruptions=stage_args.corruptions,
            corpus_pairs=stage_args.corpus_pairs,
            seed=args.seed,
            round_number=number,
        )
        rows = fit_lengths(rows, tokenizer, args, model.config.n_positions)

    # trl has one process write these scores, to a file of a folder that each process has for itself.
    args.precompute_ref_log_probs &= args.world_size == 1
    trainer = Aligner(
        model=model,
        ref_model=reference,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
    )
    trainer.stage_args = stage_args
    trainer.add_callback(RefuseWrongReference())
    trainer.add_callback(
        show_sample(
            stage_args.sample_title,
            args.seed,
            run.samples,
            tokenizer,
            text=model,
            reference=reference,
        )
    )
    train(
        trainer,
        {"stage": "dpo", "corpus": made_from["corpus"]},
        is_last_round=number == stage_args.rounds - 1,
    )


if __name__ == "__main__":
    errors.run(main)
