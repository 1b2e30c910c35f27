"""Fine-tunes the pretrained model to answer titles with poems. This is stage 4 of run.py.

    python train_sft.py --config configs/tang/sft.yaml
    accelerate launch train_sft.py --config configs/tang/sft.yaml --num_train_epochs 3
    python train_sft.py --config configs/tang/author.yaml --author 李白

The model is output_dir/../pretrain. The titles and poems are those of output_dir/../data. With
--author, the model is output_dir/../sft. An adapter is then trained on the poems of that author.
Options: `SFTOptions` (poet/training/options.py) and TRL's `SFTConfig`.
"""

from poet import errors


def main() -> None:
    from trl import SFTConfig

    from poet.training.command_line import parse
    from poet.training.options import SFTOptions

    options, args = parse(SFTOptions, SFTConfig)

    from trl import SFTTrainer

    from poet.data.run_data import load_stage
    from poet.training.callbacks import ShowSample
    from poet.training.stage import Stage
    from poet.training.trainer import PoetTrainerMixin

    class Finetuner(PoetTrainerMixin, SFTTrainer):
        """trl.SFTTrainer with the corrections of poet/training/trainer.py."""

    stage = Stage("author" if options.author else "sft", options, args)
    model, tokenizer = stage.load_model("sft" if options.author else "pretrain")

    # Data: the title is the prompt, and the poem is the completion.
    rows, adapter = load_stage(stage.run_folder, "sft"), None
    if options.author:
        from poet.alignment import author

        split = author.find_author(stage.run_folder, options.author)
        options.author, rows = split.author, split.rows()
        adapter = author.adapter_config(args.seed)
    if options.theme_fraction:
        from poet.alignment import themes

        rows["train"] = themes.ask_by_theme(rows["train"], options.theme_fraction, args.seed)
    args.max_length = min(args.max_length or model.config.n_positions, model.config.n_positions)
    rows = stage.drop_long_rows(rows, tokenizer, args.max_length)

    if not stage.begin():
        return
    trainer = Finetuner(
        stage=stage,
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[ShowSample(stage, tokenizer, text=model)],
    )
    stage.train(trainer)


if __name__ == "__main__":
    errors.run(main)
