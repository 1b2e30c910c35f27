"""A checkpoint loads and writes in transformers 4, without this project."""

import json
import os
import subprocess
import sys

import pytest
from helpers import make_checkpoint

from poet.training.card import write_card

# The oldest version that works, and the last one before transformers 5. Each with the versions of
# two libraries that it wants.
OLDEST = "4.43.0"
VERSIONS = {OLDEST: ("0.19.1", "0.36.0"), "4.57.6": ("0.22.2", "0.36.0")}

# The sampled and the greedy poem of a title.
WRITE = """
import json, sys
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

folder = sys.argv[1]
chat = [{"role": "user", "content": "春<RES>夜"}]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer.apply_chat_template(chat, tokenize=False)
inputs = tokenizer(prompt, return_tensors="pt")
torch.manual_seed(7)
sampled = tokenizer.decode(model.generate(**inputs)[0])
greedy = pipeline("text-generation", model=folder)(chat, do_sample=False)
poem = greedy[0]["generated_text"][-1]["content"]
special = tokenizer.all_special_tokens
poems = [inputs["input_ids"].tolist(), sampled, poem, sorted(special)]
print(json.dumps([transformers.__version__, poems]))
"""


def run(folder, **environment) -> list:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(folder)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_card_names_the_oldest_version_that_is_tested(tmp_path):
    write_card(tmp_path, [], {"stage": "sft"})
    wanted = f"transformers {OLDEST.removesuffix('.0')} or newer"
    assert wanted in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_version_writes_the_same_poems(version, tmp_path):
    if version == OLDEST and sys.version_info >= (3, 13):
        pytest.skip(f"transformers {version} has no tokenizers for this Python")
    tokenizers, hub = VERSIONS[version]
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    words += ["--target", str(tmp_path / "old"), f"transformers=={version}"]
    words += [f"tokenizers=={tokenizers}", f"huggingface_hub=={hub}"]
    done = subprocess.run(words, capture_output=True, text=True)
    if "connection" in done.stderr.lower():
        pytest.skip("pip has no network")
    assert done.returncode == 0, done.stderr

    folder = make_checkpoint(tmp_path / "checkpoint", temperature=0.8)
    used, poems = run(folder, PYTHONPATH=str(tmp_path / "old"))
    assert used == version
    assert poems == run(folder)[1]
