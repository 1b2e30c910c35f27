"""Rewards the fine-tuned model for poems that keep rules: alignment without pairs.

    python train_grpo.py --config configs/tang-regulated/grpo.yaml
    accelerate launch train_grpo.py --config configs/tang-regulated/grpo.yaml --num_generations 16

The model is output_dir/../sft. The titles are those of output_dir/../data.
Options: `GRPOOptions` (poet/training/options.py) and TRL's `GRPOConfig`.
"""

import logging

from poet import errors


def main() -> None:
    from trl import GRPOConfig

    from poet.training.command_line import parse
    from poet.training.options import GRPOOptions

    options, args = parse(GRPOOptions, GRPOConfig)

    from trl import GRPOTrainer

    from poet.alignment import rewards
    from poet.alignment.titles import drop_long_titles
    from poet.data.run_data import load_stage
    from poet.errors import UserError
    from poet.training.callbacks import ShowSample, WarnOfEqualRewards
    from poet.training.stage import Stage
    from poet.training.trainer import PoetTrainerMixin

    class Reinforcer(PoetTrainerMixin, GRPOTrainer):
        """trl.GRPOTrainer with the corrections of poet/training/trainer.py."""

    stage = Stage("grpo", options, args)
    model, tokenizer = stage.load_model("sft")

    # Data: only titles. The poems are the model's own.
    room = model.config.n_positions - (args.max_completion_length or model.config.n_positions)
    if room <= 0:
        raise UserError(
            f"max_completion_length {args.max_completion_length} leaves no room for a title in "
            f"{model.config.n_positions} positions. Lower it."
        )
    rows = load_stage(stage.run_folder, "sft")
    rows = drop_long_titles(rows, tokenizer, room)

    # Samples: tokens that the model never writes, such as parts of characters, stay suppressed.
    suppressed = {"suppress_tokens": model.generation_config.suppress_tokens}
    args.generation_kwargs = {**suppressed, **(args.generation_kwargs or {})}

    # Rewards: one function per rule. `reward_weights` weighs them.
    reward_functions, args.reward_weights = rewards.get_all(
        options.rewards, args.reward_weights, tokenizer.eos_token_id
    )
    stage.inputs |= rewards.codes(options.rewards)

    if not stage.begin():
        return
    # TRL passes max_new_tokens, and the checkpoint has max_length: transformers warns in each step.
    logging.getLogger("transformers.generation.utils").addFilter(
        lambda record: "max_new_tokens" not in record.msg
    )
    trainer = Reinforcer(
        stage=stage,
        model=model,
        reward_funcs=reward_functions,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        callbacks=[WarnOfEqualRewards(), ShowSample(stage, tokenizer, text=model)],
    )
    stage.train(trainer)


if __name__ == "__main__":
    errors.run(main)
