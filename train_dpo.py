"""Aligns the fine-tuned model to a preference, with pairs of poems. This is stage 5 of run.py.

    python train_dpo.py --config configs/tang/dpo.yaml
    accelerate launch train_dpo.py --config configs/tang/dpo.yaml --beta 0.2

The model is output_dir/../sft, which is also the reference model. The pairs are those of
output_dir/../data.
Options: `DPOOptions` (poet/training/options.py) and TRL's `DPOConfig`.
"""

import copy

from poet import errors


def main() -> None:
    from trl import DPOConfig

    from poet.training.command_line import parse
    from poet.training.options import DPOOptions

    options, args = parse(DPOOptions, DPOConfig)

    from trl import DPOTrainer

    from poet.data.run_data import load_stage
    from poet.training.callbacks import RefuseWrongReference, ShowSample
    from poet.training.stage import Stage
    from poet.training.trainer import PoetTrainerMixin

    class Aligner(PoetTrainerMixin, DPOTrainer):
        """trl.DPOTrainer with the corrections of poet/training/trainer.py."""

    # TRL's first process writes these scores where the other processes do not find them.
    args.precompute_ref_log_probs &= args.world_size == 1
    stage = Stage("dpo", options, args)
    model, tokenizer = stage.load_model("sft")
    reference = copy.deepcopy(model).to(args.device).eval()

    # Data: a title, the preferred poem and the rejected poem.
    rows = load_stage(stage.run_folder, "dpo")
    args.max_length = min(args.max_length or model.config.n_positions, model.config.n_positions)
    rows = stage.drop_long_rows(rows, tokenizer, args.max_length)

    preferred = None
    if options.sampled_titles:  # pairs of poems that the model writes itself
        from poet.alignment import own_pairs
        from poet.training.refusals import try_out

        preferred = own_pairs.preference_of(stage.run_folder)
    if not stage.begin():
        return
    if preferred:
        try_out(stage, Aligner, rows, model=model, ref_model=reference, processing_class=tokenizer)
        rows["train"] = own_pairs.add_sampled_pairs(
            rows["train"],
            reference,
            tokenizer,
            preferred,
            sampled_titles=options.sampled_titles,
            corruptions=options.corruptions,
            seed=args.seed,
        )
        rows = stage.drop_long_rows(rows, tokenizer, args.max_length)
    trainer = Aligner(
        stage=stage,
        model=model,
        ref_model=reference,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        callbacks=[
            RefuseWrongReference(),
            ShowSample(stage, tokenizer, text=model, reference=reference),
        ],
    )
    stage.train(trainer)


if __name__ == "__main__":
    errors.run(main)
