"""Tests that plain transformers can load a checkpoint and write poems with it.

The environment of these tests holds torch, transformers and the packages that these two require.
"""

import json
import os
import subprocess
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from helpers import POSITIONS, make_checkpoint
from packaging.requirements import Requirement

PROGRAM = """
import importlib.util, json, sys
from transformers import AutoTokenizer, pipeline, set_seed

for name in ("poet", "poet_tokenizer", "trl", "datasets", "opencc"):
    assert importlib.util.find_spec(name) is None, name
folder, titles = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
write = pipeline("text-generation", model=folder)
answers = []
for title in titles:
    chat = [{"role": "user", "content": title}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    set_seed(0)
    ids = write(chat, return_tensors=True)[0]["generated_token_ids"]
    set_seed(0)
    answers.append({
        "poem": write(chat)[0]["generated_text"][-1]["content"],
        "prompt": tokenizer.decode(prompt),
        "tags": sum(id in tokenizer.all_special_ids for id in prompt),
        "length": len(ids),
        "starts_with_prompt": ids[:len(prompt)] == prompt,
        "has_end_mark": ids[-1] == tokenizer.eos_token_id,
    })
print(json.dumps(answers))
"""


def installed_files(*names: str) -> dict[str, Path]:
    """Returns name -> path in site-packages, for distributions and all that they require."""
    paths: dict[str, Path] = {}
    seen, waiting = set(), list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in seen:
            continue
        seen.add(name)
        package = distribution(name)
        for file in package.files or ():
            if file.parts[0] != "..":  # scripts
                paths[file.parts[0]] = Path(str(package.locate_file(file.parts[0])))
        for requirement in map(Requirement, package.requires or ()):
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return paths


@pytest.fixture(scope="module")
def plain_python(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    packages = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    for name, path in installed_files("torch", "transformers").items():
        if name != "__pycache__":
            (packages / name).symlink_to(path, target_is_directory=path.is_dir())
    programs = (folder / "bin" / "python", folder / "Scripts" / "python.exe")
    return next(path for path in programs if path.exists())


def write_plainly(python: Path, checkpoint: Path, titles: list[str]) -> list[dict]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), "-I", "-c", PROGRAM, str(checkpoint), json.dumps(titles)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        cwd=checkpoint,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_chat_message_gives_a_whole_poem(plain_python, tmp_path):
    checkpoint = make_checkpoint(tmp_path, ends=0.2)
    answers = write_plainly(plain_python, checkpoint, ["春夜喜雨", "春<RES>夜", "鬱𠮷"])
    for answer in answers:
        assert answer["has_end_mark"] and answer["starts_with_prompt"]
        assert "<" not in answer["poem"] and "�" not in answer["poem"]
        assert answer["tags"] == 3  # a tag inside a title is plain text
    usual, with_tag, rare = (answer["prompt"] for answer in answers)
    assert usual == "<INS>請用以下題目寫一首詩<INP>春夜喜雨<RES>"
    assert with_tag == "<INS>請用以下題目寫一首詩<INP>春<RES>夜<RES>"
    assert rare.endswith("<INP>鬱𠮷<RES>")


def test_long_titles_and_poems_without_end_stop_at_the_last_position(plain_python, tmp_path):
    endless = make_checkpoint(tmp_path, ends=1e-6)
    answers = write_plainly(plain_python, endless, ["春", "春" * 45])
    assert [answer["length"] for answer in answers] == [POSITIONS, POSITIONS]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_trained_checkpoints_write_too(plain_python, trained, stage):
    (answer,) = write_plainly(plain_python, trained / stage, ["春夜喜雨"])
    assert answer["starts_with_prompt"] and answer["tags"] == 3 and answer["poem"]
