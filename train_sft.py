"""Fine-tunes the pretrained model to write a poem for a title: stage four of the journey.

    python train_sft.py --config configs/tang/sft.yaml
    accelerate launch train_sft.py --config configs/tang/sft.yaml --num_train_epochs 3
    python train_sft.py --config configs/tang/author.yaml --author 李白

It starts from OUTPUT_DIR/../pretrain and the data beside it; with --author from OUTPUT_DIR/../sft, and trains an adapter
on that author's poems. Every option is a field of `FinetuningArguments` or `AuthorArguments` (poet/training/options.py) or of
trl's `SFTConfig`.
"""

from dataclasses import asdict

from poet import errors


def main() -> None:
    from trl import SFTConfig

    from poet.training.options import AuthorArguments, FinetuningArguments, parse

    stage_args, args, author_args = parse(FinetuningArguments, SFTConfig, AuthorArguments)

    from trl import SFTTrainer

    from poet.alignment import author, themes
    from poet.data import run_data
    from poet.speed import scoring
    from poet.training.callbacks import show_sample
    from poet.training.stage import Stage, begin, fit_lengths, load_model, locate, train

    class Tuner(Stage, SFTTrainer):
        """trl.SFTTrainer, and what poet/training/stage.py adds to every stage."""

    scoring.patch_trl_scoring(stage_args.compile_scoring)
    run = locate(args)
    stage, before = ("author", "sft") if author_args.author else ("sft", "pretrain")
    model, tokenizer, origin = load_model(
        stage_args.model_name_or_path or run.folder / before, stage_args, stage_args.sample_title
    )

    # Data: a title as the prompt, or words of the poem; the poem as the completion.
    if author_args.author:
        voice = author.find_author(run.folder, author_args.author)
        author_args.author, rows = voice.author, voice.rows()
    else:
        rows = run_data.load_stage(run.folder, "sft")
    if stage_args.theme_fraction:
        rows["train"] = themes.ask_by_theme(rows["train"], stage_args.theme_fraction, args.seed)
    rows = fit_lengths(rows, tokenizer, args, model.config.n_positions)

    # Weights: all of the model's, or those of an adapter beside them.
    adapter = None
    if author_args.author:
        adapter = author.adapter_config(
            model,
            rank=author_args.lora_r,
            alpha=author_args.lora_alpha,
            dropout=author_args.lora_dropout,
            layers=author_args.lora_target_modules,
            optimizer=stage_args.optimizer,
            seed=args.seed,
        )

    made_from = run_data.load_summary(run.folder)["made_from"]
    inputs = {"data": made_from, "model": origin, **(asdict(author_args) if adapter else {})}
    if not begin(stage, args, stage_args, inputs):
        return

    trainer = Tuner(
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        peft_config=adapter,
    )
    trainer.stage_args = stage_args
    trainer.add_callback(
        show_sample(stage_args.sample_title, args.seed, run.samples, tokenizer, text=model)
    )
    train(trainer, {"stage": stage, "corpus": made_from["corpus"], "author": author_args.author})


if __name__ == "__main__":
    errors.run(main)
