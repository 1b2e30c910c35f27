"""Tests of reading checkpoint folders."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from helpers import make_checkpoint, remove_chat_template
from transformers import AutoConfig, AutoModelForCausalLM

from poet.errors import UserError
from poet.generation.load import checkpoint_kind, load
from poet.training.card import write_card


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def copy(checkpoint, tmp_path):
    """(name) -> a copy of the checkpoint in a folder of this name."""
    return lambda name: shutil.copytree(checkpoint, tmp_path / name)


def test_a_folder_that_is_no_checkpoint_is_refused(checkpoint, copy, tmp_path):
    other = make_checkpoint(tmp_path / "other", characters="春夜")
    mixed, swapped, broken, without = map(copy, ("mixed", "swapped", "broken", "without"))
    shutil.copy(other / "tokenizer.json", mixed)
    shutil.copy(other / "model.safetensors", swapped)
    weights = (checkpoint / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:500])
    (without / "model.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    sizes = [len(load(folder)[1]) for folder in (other, checkpoint)]
    for folder, sentence in {
        tmp_path / "nowhere": "there is no checkpoint folder",
        checkpoint / "config.json": "is a file",
        tmp_path / "empty": "no config.json and no tokenizer.json",
        broken: "not a whole checkpoint",
        without: "not a whole checkpoint",
        swapped: "do not have the shapes that its config.json gives",
        mixed: f"has {sizes[0]} tokens and the model {sizes[1]}",
    }.items():
        with pytest.raises(UserError, match=sentence) as raised:
            load(folder)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_allows_no_sampling_is_refused(temperature, tmp_path):
    with pytest.raises(UserError, match="temperature must be a number above 0"):
        make_checkpoint(tmp_path, temperature=temperature)


@pytest.mark.parametrize(
    ("stage", "kind"), [("pretrain", "continues text"), ("sft", "answers titles")]
)
def test_the_kind_of_a_checkpoint_is_read_from_its_files_and_not_from_its_name(copy, stage, kind):
    recorded, published = copy("sft"), copy("pretrain")
    (recorded / "_arguments.json").write_text(json.dumps({"stage": stage}), encoding="utf-8")
    shutil.copytree(published, recorded / "checkpoint-7")
    write_card(published, [], {"stage": stage})
    for folder in (recorded, recorded / "checkpoint-7", published):
        assert checkpoint_kind(folder) == kind


def test_without_record_and_card_the_chat_template_decides(copy):
    folder = copy("unknown")
    assert checkpoint_kind(folder) == "answers titles"
    remove_chat_template(folder)
    assert checkpoint_kind(folder) == "continues text"


@pytest.mark.parametrize(
    ("kind", "loads"),
    [
        ({"target_modules": ["c_attn"]}, True),
        ({"target_modules": ["c_attn"], "modules_to_save": ["wte"]}, True),
        ({"target_modules": ["c_attn"], "modules_to_save": ["lm_head"]}, True),
        ({"target_modules": ["c_attn", "wte"]}, False),
        ({"target_modules": ["c_attn", "lm_head"]}, False),
    ],
)
def test_a_merged_adapter_is_the_trained_model_or_refused(copy, tmp_path, kind, loads):
    base = copy("tied")
    config = AutoConfig.from_pretrained(base)
    config.tie_word_embeddings = True
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    model, tokenizer = load(base)
    trained = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", fan_in_fan_out=True, **kind)
    ).eval()
    for weight in trained.parameters():
        if weight.requires_grad:
            weight.data += 0.3 * torch.randn_like(weight)
    for part in (trained, tokenizer, model.generation_config):
        part.save_pretrained(tmp_path / "adapter")
    if not loads:
        with pytest.raises(UserError, match="the adapter .* changes the embeddings"):
            load(tmp_path / "adapter")
        return
    merged, _ = load(tmp_path / "adapter")
    merged.save_pretrained(tmp_path / "merged")
    ids = torch.arange(20, 30)[None]
    for found in (merged, AutoModelForCausalLM.from_pretrained(tmp_path / "merged")):
        torch.testing.assert_close(found(ids).logits, trained(ids).logits)
