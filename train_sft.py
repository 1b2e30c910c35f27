"""Fine-tunes the pretrained model to write a poem for a title: stage four of the journey.

    python train_sft.py --config configs/tang/sft.yaml
    accelerate launch train_sft.py --config configs/tang/sft.yaml --num_train_epochs 3

It starts from OUTPUT_DIR/../pretrain and the data beside it. Every option is a field of `FinetuningArguments`
(poet/arguments.py) or of trl's `SFTConfig`.
"""

from poet import errors


def main() -> None:
    from trl import SFTConfig

    from poet.arguments import FinetuningArguments, parse

    stage_args, args = parse(FinetuningArguments, SFTConfig)

    from trl import SFTTrainer

    from poet import dataset, scoring, themes, write
    from poet.callbacks import ShowVerse
    from poet.training import Stage, begin, fit_lengths, load_model, locate, train

    class Tuner(Stage, SFTTrainer):
        """trl.SFTTrainer, and what poet/training.py adds to all three stages."""

    scoring.score_only_what_counts()
    run = locate(args)
    model, tokenizer, origin = load_model(stage_args.model_name_or_path or run.folder / "pretrain", stage_args)

    # Data: a title as the prompt, or words of the poem; the poem as the completion.
    rows = dataset.load_stage(run.folder, "sft")
    if stage_args.theme_share:
        rows["train"] = themes.ask_by_theme(rows["train"], stage_args.theme_share, args.seed)
    rows = fit_lengths(rows, tokenizer, args, model.config.n_positions)

    made_from = dataset.load_summary(run.folder)["made_from"]
    if not begin("sft", args, stage_args, {"data": made_from, "model": origin}):
        return

    trainer = Tuner(
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
    )
    trainer.stage_args = stage_args
    title = stage_args.sample_title
    trainer.add_callback(
        ShowVerse(title, lambda: {"text": write.write_poems(model, tokenizer, [title], seed=args.seed)[0]}, run.samples)
    )
    train(trainer, {"stage": "sft", "corpus": made_from["corpus"]})


if __name__ == "__main__":
    errors.run(main)
