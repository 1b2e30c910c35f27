"""Pretrains a small GPT-2 on verse, from random weights: stage three of the journey.

    python train_pretrain.py --config configs/tang/pretrain.yaml
    accelerate launch train_pretrain.py --config configs/tang/pretrain.yaml --learning_rate 2e-3

The data are those of `python run.py --recipe tang --stages data`; the checkpoint goes to OUTPUT_DIR. Every option is a
field of `PretrainArguments` (poet/training/options.py) or of transformers' `TrainingArguments`.
"""

from poet import errors


def main() -> None:
    from transformers import TrainingArguments

    from poet.training.options import PretrainArguments, parse

    stage_args, args = parse(PretrainArguments, TrainingArguments)

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, default_data_collator, set_seed

    from poet.data import blocks, run_data
    from poet.generation.load import generation_defaults
    from poet.generation.write import continue_text
    from poet.speed import gelu, scoring
    from poet.training import clock
    from poet.training.callbacks import ShowSample
    from poet.training.stage import Stage, begin, locate, tokenizer_for, train

    class Pretrainer(Stage, Trainer):
        """transformers.Trainer, and what poet/training/stage.py adds to every stage."""

    run = locate(args)
    clock.choose_shape(stage_args, args)
    # Tokenizer: one token a character of the corpus.
    tokenizer = tokenizer_for(stage_args, run)

    # Data: the poems as one long text, cut into blocks.
    rows = run_data.load_stage(run.folder, "pretrain", streaming=stage_args.streaming)
    if stage_args.streaming:
        train_blocks = blocks.stream_blocks(rows["train"], tokenizer, stage_args.n_positions)
    else:
        ids = blocks.encode_rows(rows["train"], tokenizer)
        a_step = args.train_batch_size * args.world_size if args.dataloader_drop_last else 1
        train_blocks = blocks.Blocks(ids, stage_args.n_positions, args.seed, min_blocks=a_step)
    test_blocks = blocks.eval_blocks(
        blocks.encode_rows(rows["test"], tokenizer), stage_args.n_positions
    )

    # Model: GPT-2's architecture at the recipe's size, with random weights.
    set_seed(args.seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=stage_args.n_positions,
            n_embd=stage_args.n_embd,
            n_layer=stage_args.n_layer,
            n_head=stage_args.n_head,
            activation_function="gelu_pytorch_tanh",  # GPT-2's own, in one kernel where nothing is compiled
            resid_pdrop=stage_args.dropout,
            embd_pdrop=stage_args.dropout,
            attn_pdrop=0.0,  # on a CPU it costs as much again as the other two
            tie_word_embeddings=stage_args.tie_word_embeddings,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    if stage_args.zero_init_projections:
        for block in model.transformer.h:
            torch.nn.init.zeros_(block.attn.c_proj.weight)
            torch.nn.init.zeros_(block.mlp.c_proj.weight)
    model.loss_type = (
        "ForCausalLM"  # else Trainer's losses are (n-1)/n of the truth (transformers#46204)
    )
    model.generation_config = generation_defaults(
        tokenizer,
        stage_args.n_positions,
        stage_args.temperature,
        stage_args.top_k,
        stage_args.top_p,
    )

    made_from = run_data.load_summary(run.folder)["made_from"]
    if not begin("pretrain", args, stage_args, {"data": made_from}):
        return

    # In bfloat16 the whole product is faster than float32 tiles.
    scoring.patch_forward_to_return_loss(model, in_tiles=not args.bf16)
    if (
        args.torch_compile and args.use_cpu
    ):  # uncompiled it would be half a dozen kernels in place of one
        gelu.patch_gelu(model)
    trainer = Pretrainer(
        model=model,
        args=args,
        train_dataset=train_blocks,
        eval_dataset=test_blocks,
        data_collator=default_data_collator,  # blocks are of one length: there is nothing to pad
        processing_class=tokenizer,
    )
    trainer.stage_args = stage_args
    title = stage_args.sample_title
    trainer.add_callback(
        ShowSample(
            title,
            lambda: {"text": continue_text(model, tokenizer, title, seed=args.seed)},
            run.samples,
        )
    )
    train(trainer, {"stage": "pretrain", "corpus": made_from["corpus"]})


if __name__ == "__main__":
    errors.run(main)
