"""A small GPT-2 with random weights, which several files of the book read."""

from pathlib import Path

import pytest
import torch
from helpers import random_model

from poet.generation.load import generation_defaults
from poet_tokenizer import build_tokenizer, save_tokenizer


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    tokenizer = build_tokenizer("春夜喜雨山中白，。\n", 64)
    sizes = {"n_embd": 48, "n_layer": 3, "n_head": 4, "tie_word_embeddings": True}
    model = random_model(tokenizer, 64, activation_function="gelu_pytorch_tanh", **sizes)
    for weight in model.parameters():  # at the usual scale, errors in attention would not show
        torch.nn.init.normal_(weight, std=0.3)
    model.generation_config = generation_defaults(tokenizer, 64)
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder
