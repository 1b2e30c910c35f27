"""A run resumes with the options that it began with, also after an upgrade of a library."""

import copy
import json

import pytest
from transformers import TrainingArguments
from trl import DPOConfig

from poet.training.command_line import parse
from poet.training.options import DPOOptions, PretrainOptions
from poet.training.record import explain, make_record, upgrades


def record(*words: str, kinds: tuple = (PretrainOptions, TrainingArguments)) -> dict:
    """Returns the record of a command with these options."""
    options, args = parse(*kinds, argv=["--output_dir", "x", "--use_cpu", "true", *words])
    return make_record("pretrain", options, args, {"data": {"fingerprint": "a", "corpus": "b"}})


def test_the_same_command_goes_on():
    assert explain(record("--seed", "1"), record("--seed", "1")) == ""
    assert explain(record("--adam_beta2", "0.95"), record()) == ""  # its default here
    kinds = (DPOOptions, DPOConfig)
    assert explain(record(kinds=kinds), json.loads(json.dumps(record(kinds=kinds)))) == ""


@pytest.mark.parametrize(
    ("option", "there"),
    [
        ("--seed 1", "seed was 0, is 1"),
        ("--n_layer 2", "n_layer was 4, is 2"),
        ("--learning_rate 0.5", "learning_rate was 5e-05, is 0.5"),
        ("--no_average_tokens_across_devices", "average_tokens_across_devices was True"),
    ],
)
def test_options_that_change_the_result_are_named(option, there):
    text = explain(record(), record(*option.split()))
    assert there in text and text.endswith("Pass another --output_dir, or delete that folder.")
    assert explain(record(*option.split()), record())


@pytest.mark.parametrize(
    "option",
    [
        "--run_name autumn",
        "--per_device_eval_batch_size 3",
        "--dataloader_pin_memory true",
        "--hub_private_repo true",
        "--save_total_limit 9",
        "--ddp_timeout 7",
    ],
)
def test_options_that_change_no_weight_are_free(option):
    assert explain(record(), record(*option.split())) == ""


def before(upgraded: dict, **changes) -> dict:
    """Returns a record as an older transformers wrote it."""
    earlier = copy.deepcopy(upgraded) | changes
    earlier["versions"]["transformers"] = "5.17.0"
    return earlier


def test_an_upgrade_that_only_brings_and_removes_options_goes_on():
    now = record("--seed", "1")
    earlier = before(now, an_option_of_old=True)
    del earlier["activation_checkpointing"], earlier["accelerator_config"]["even_batches"]
    earlier |= {"optim_args": "", "include_for_metrics": ["inputs"]}
    assert explain(earlier, now) == ""
    assert upgrades(earlier).startswith("transformers 5.17.0 -> ")


def test_a_default_that_an_upgrade_changed_is_named_with_a_way_to_go_on():
    now = record()
    earlier = before(now, optim="adamw_torch", lr_scheduler_type="linear")
    text = explain(earlier, now)
    assert "optim was adamw_torch, is adamw_torch_fused" in text
    assert "The default changed with transformers 5.17.0 -> " in text
    assert "add `--optim adamw_torch`" in text
    assert explain(earlier, record("--optim", "adamw_torch")) == ""


def test_an_option_that_was_given_is_no_matter_of_an_upgrade():
    earlier = before(record("--weight_decay", "0.1"))
    assert "Pass another --output_dir" in explain(earlier, record())
    earlier = before(record())
    del earlier["weight_decay"]
    assert "weight_decay was None, is 0.1" in explain(earlier, record("--weight_decay", "0.1"))


def test_a_run_of_before_a_new_option_goes_on_without_it():
    earlier = record()
    del earlier["sampled_vocabulary"]
    assert explain(earlier, record("--sampled_vocabulary", "0")) == ""
    assert explain(earlier, record("--sampled_vocabulary", "1024"))


def test_a_run_with_an_option_that_is_gone_is_refused_if_the_option_was_used():
    earlier = record() | {"streams": 0}
    earlier["given"] = ["streams"]
    assert explain(earlier, record()) == ""
    earlier["streams"] = 0.3
    assert explain(earlier, record()).startswith("(streams was 0.3, is None). Pass another")


def test_records_without_versions_still_count():
    earlier = record()
    for key in ("versions", "given", "activation_checkpointing"):
        del earlier[key]
    earlier["data"] = {"corpus": "elsewhere", "fingerprint": "a"}
    assert explain(earlier, record()) == "" and upgrades(earlier) == ""
    assert "seed was 0, is 7" in explain(earlier, record("--seed", "7"))
    earlier["data"] = {"fingerprint": "b"}
    assert "(it was made from other texts)" in explain(earlier, record())


def test_another_model_or_reward_is_named_in_words():
    there, now = ({"model": sum_, "rules:spring": sum_} for sum_ in ("8c1", "1f2"))
    assert explain(there, now).startswith(
        "(it started from another model; its reward rules:spring had other code)"
    )
