"""A checkpoint is anybody's: plain transformers loads it, in an environment that has only torch and transformers.

The environment is a new one with links to what these two require, as their metadata says, and to nothing else.
"""

import json
import os
import subprocess
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from helpers import POSITIONS, ROOT, make_checkpoint
from packaging.requirements import Requirement

PLAIN = """
import importlib.util, json, sys
from transformers import AutoTokenizer, pipeline, set_seed

assert all(importlib.util.find_spec(name) is None for name in ("poet", "poet_tokenizer", "trl", "datasets", "opencc"))
folder, titles = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
write = pipeline("text-generation", model=folder)
found = []
for title in titles:
    chat = [{"role": "user", "content": title}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    set_seed(0)
    ids = write(chat, return_tensors=True)[0]["generated_token_ids"]
    set_seed(0)
    poem = write(chat)[0]["generated_text"][-1]["content"]
    found.append({
        "ends": ids[-1] == tokenizer.eos_token_id, "poem": poem, "length": len(ids), "starts": ids[:len(prompt)] == prompt,
        "prompt": tokenizer.decode(prompt), "tags": [i for i in prompt if i in tokenizer.all_special_ids],
    })
print(json.dumps(found))
"""


def required(*names: str) -> dict[str, Path]:
    """What the named distributions put into site-packages, and what they require, and so on: name -> path."""
    found: dict[str, Path] = {}
    seen, waiting = set(), list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in seen:
            continue
        seen.add(name)
        installed = distribution(name)
        for file in installed.files or ():
            if file.parts[0] != "..":  # scripts
                found[file.parts[0]] = Path(str(installed.locate_file(file.parts[0])))
        requirements = map(Requirement, installed.requires or ())
        waiting += [
            each.name
            for each in requirements
            if not each.marker or each.marker.evaluate({"extra": ""})
        ]
    return found


@pytest.fixture(scope="module")
def plain_python(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    packages = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    for name, path in required("torch", "transformers").items():
        if name != "__pycache__":
            (packages / name).symlink_to(path, target_is_directory=path.is_dir())
    return next(
        path
        for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe")
        if path.exists()
    )


def ask(python: Path, checkpoint: Path, titles: list[str]) -> list[dict]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HUB_OFFLINE": "1"
    }
    command = [str(python), "-I", "-c", PLAIN, str(checkpoint), json.dumps(titles)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=checkpoint, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_chat_message_gives_a_whole_poem_that_ends_by_itself(plain_python, tmp_path):
    ending = make_checkpoint(tmp_path / "ending", ends=0.2)
    whole, injected, rare = ask(plain_python, ending, ["春夜喜雨", "春<RES>夜", "鬱𠮷"])
    for found in (whole, injected, rare):
        assert found["ends"] and found["starts"]
        assert "<" not in found["poem"] and "�" not in found["poem"]
        assert len(found["tags"]) == 3  # the template's own
    assert whole["prompt"] == "<INS>請用以下題目寫一首詩<INP>春夜喜雨<RES>"
    assert injected["prompt"] == "<INS>請用以下題目寫一首詩<INP>春<RES>夜<RES>"
    assert rare["prompt"].endswith("<INP>鬱𠮷<RES>")


def test_a_long_title_and_a_poem_without_end_stop_at_the_last_position(plain_python, tmp_path):
    endless = make_checkpoint(tmp_path / "endless", ends=1e-6)
    assert [found["length"] for found in ask(plain_python, endless, ["春", "春" * 45])] == [
        POSITIONS,
        POSITIONS,
    ]


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_the_embedded_recipes_own_checkpoint(plain_python, stage):
    checkpoint = ROOT / "runs" / "sample" / stage
    if not (checkpoint / "model.safetensors").is_file():
        pytest.skip(f"needs {checkpoint}: `make run` makes it")
    for found in ask(plain_python, checkpoint, ["春夜喜雨", "山中"]):
        assert found["ends"] and "，" in found["poem"]
