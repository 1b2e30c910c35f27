"""A small GPT-2 with random weights, which several files of the book read."""

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from poet.generation.load import generation_defaults
from poet_tokenizer import build_tokenizer, save_tokenizer


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    tokenizer = build_tokenizer("春夜喜雨山中白，。\n", 64)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=48,
        n_layer=3,
        n_head=4,
        activation_function="gelu_pytorch_tanh",
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    for weight in model.parameters():  # at the usual scale, errors in attention would not show
        torch.nn.init.normal_(weight, std=0.3)
    model.generation_config = generation_defaults(tokenizer, 64)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder
