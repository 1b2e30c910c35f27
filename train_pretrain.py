"""Pretrains a small GPT-2 on poems, from random weights. This is stage 3 of run.py.

    python train_pretrain.py --config configs/tang/pretrain.yaml
    accelerate launch train_pretrain.py --config configs/tang/pretrain.yaml --learning_rate 2e-3

The data come from `python run.py --recipe tang --stages data`. The checkpoint goes to output_dir.
Options: `PretrainOptions` (poet/training/options.py) and transformers' `TrainingArguments`.
"""

from poet import errors


def main() -> None:
    from transformers import TrainingArguments

    from poet.training.command_line import parse
    from poet.training.options import PretrainOptions

    options, args = parse(PretrainOptions, TrainingArguments)

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, default_data_collator, set_seed

    from poet.data import blocks
    from poet.data.run_data import load_stage
    from poet.training.callbacks import ShowSample
    from poet.training.sampled_steps import SampledSteps
    from poet.training.stage import Stage
    from poet.training.trainer import PoetTrainerMixin

    class Pretrainer(SampledSteps, PoetTrainerMixin, Trainer):
        """transformers.Trainer with the corrections of poet/training/trainer.py."""

    if options.minutes is not None:
        from poet.training import clock

        clock.choose_shape(options, args)
    stage = Stage("pretrain", options, args)
    length = options.n_positions

    # Tokenizer: one token per character of the corpus.
    tokenizer = stage.load_tokenizer(options.tokenizer_name_or_path, length)

    # Data: all poems as one long text, cut into blocks of `length` tokens.
    rows = load_stage(stage.run_folder, "pretrain", streaming=options.streaming)
    if options.streaming:
        train_blocks = blocks.stream_blocks(rows["train"], tokenizer, length)
        first = rows["train"].take(10_000 if options.sampled_vocabulary else 0)
        ids = blocks.encode_rows(first, tokenizer)  # for the frequencies of characters
    else:
        ids = blocks.encode_rows(rows["train"], tokenizer)
        batch = args.train_batch_size * args.world_size if args.dataloader_drop_last else 1
        train_blocks = blocks.Blocks(ids, length, args.seed, min_blocks=batch)
    test_blocks = blocks.eval_blocks(blocks.encode_rows(rows["test"], tokenizer), length)

    # Model: GPT-2 at the size of the recipe, with random weights.
    set_seed(args.seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=length,
            n_embd=options.n_embd,
            n_layer=options.n_layer,
            n_head=options.n_head,
            activation_function="gelu_pytorch_tanh",  # the same function as gelu_new, in one kernel
            resid_pdrop=options.dropout,
            embd_pdrop=options.dropout,
            attn_pdrop=0.0,  # on a CPU it takes as long as the other two together
            tie_word_embeddings=options.tie_word_embeddings,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    if options.muon_learning_rate is not None:  # blocks then start as the identity
        for block in model.transformer.h:
            torch.nn.init.zeros_(block.attn.c_proj.weight)
            torch.nn.init.zeros_(block.mlp.c_proj.weight)
    stage.prepare_model(model, tokenizer, ids)

    if not stage.begin():
        return
    trainer = Pretrainer(
        stage=stage,
        model=model,
        args=args,
        train_dataset=train_blocks,
        eval_dataset=test_blocks,
        data_collator=default_data_collator,  # all blocks have one length: no padding
        processing_class=tokenizer,
        callbacks=[ShowSample(stage, tokenizer, text=model)],
    )
    stage.train(trainer)


if __name__ == "__main__":
    errors.run(main)
