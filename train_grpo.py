"""Reinforces what a rule can verify, rhyme and tones among it: an alignment without pairs, beside stage five.

    python train_grpo.py --config configs/tang-regulated/grpo.yaml
    accelerate launch train_grpo.py --config configs/tang-regulated/grpo.yaml --num_generations 16

It starts from OUTPUT_DIR/../sft and the titles of the data beside it. Every option is a field of `RewardArguments`
(poet/training/options.py) or of trl's `GRPOConfig`.
"""

import logging

from poet import errors


def main() -> None:
    from trl import GRPOConfig

    from poet.training.options import RewardArguments, parse

    stage_args, args = parse(RewardArguments, GRPOConfig)

    from trl import GRPOTrainer

    from poet.alignment import rewards
    from poet.data import run_data
    from poet.speed import scoring
    from poet.training.callbacks import WarnOfEqualRewards, show_sample
    from poet.training.stage import Stage, begin, fit_titles, load_model, locate, train

    class Reinforcer(Stage, GRPOTrainer):
        """trl.GRPOTrainer, and what poet/training/stage.py adds to every stage."""

    if args.entropy_coef or args.use_adaptive_entropy:
        stage_args.compile_scoring = False  # compiled, the entropy has no gradient
    scoring.patch_trl_scoring(stage_args.compile_scoring)
    run = locate(args)
    model, tokenizer, origin = load_model(
        stage_args.model_name_or_path or run.folder / "sft", args, stage_args.sample_title
    )

    # Data: titles alone; the poems are the model's own.
    rows = fit_titles(
        run_data.load_stage(run.folder, "sft"), tokenizer, args, model.config.n_positions
    )

    # Rewards: one function a rule, weighed by `reward_weights`.
    judges, args.reward_weights = rewards.get_all(
        stage_args.rewards, args.reward_weights, tokenizer.eos_token_id, stage_args.form_baseline
    )

    made_from = run_data.load_summary(run.folder)["made_from"]
    if not begin("grpo", args, stage_args, {"data": made_from, "model": origin}):
        return

    # trl asks for max_new_tokens beside the checkpoint's own max_length, of which transformers would warn at each step.
    logging.getLogger("transformers.generation.utils").addFilter(
        lambda record: "max_new_tokens" not in record.msg
    )
    trainer = Reinforcer(
        model=model,
        reward_funcs=judges,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
    )
    trainer.stage_args = stage_args
    trainer.add_callback(WarnOfEqualRewards())
    trainer.add_callback(
        show_sample(stage_args.sample_title, args.seed, run.samples, tokenizer, text=model)
    )
    train(trainer, {"stage": "grpo", "corpus": made_from["corpus"]})


if __name__ == "__main__":
    errors.run(main)
