"""Commands, small checkpoints and curves that several tests share."""

import importlib
import itertools
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from poet.generation.load import generation_defaults
from poet.prosody.characters import COMPOUNDS, rhyme_groups, simplified_only
from poet.prosody.script import to_simplified
from poet_tokenizer import build_tokenizer, save_tokenizer

ROOT = Path(__file__).resolve().parents[1]
FORM_POSITIONS = 320
TUNE = (
    "--max_steps 6 --eval_steps 3 --save_steps 2 --logging_steps 1 "
    "--per_device_train_batch_size 4 --bf16 false"
).split()


SMALL = "--n_embd 32 --n_layer 1 --n_head 2 --n_positions 96 --torch_compile false".split() + TUNE


OPTIONS = {"pretrain": SMALL, "sft": TUNE, "dpo": [*TUNE, "--sampled_titles", "4"]}


# The losses of `trained`. They change only together with a setting of `tang` that explains it.
CURVES = {
    "pretrain": [6.1501, 6.1549, 6.1359, 6.1155, 6.0735, 6.0271],
    "sft": [6.0160, 6.0000, 5.9811, 5.9785, 5.9606, 6.0001],
    "dpo": [6.6498, 6.6339, 6.6123, 6.6461, 6.6305, 6.6269],
}


def call(script: str, *options: str, **settings) -> subprocess.CompletedProcess:
    """Runs a script of the repository in a process of its own."""
    words = [sys.executable, str(ROOT / script), *options]
    settings = {"cwd": ROOT, "timeout": 300} | settings
    return subprocess.run(words, capture_output=True, text=True, **settings)


def run_in_process(script: str, *options: str) -> None:
    """Runs a script of the repository in this process, which is faster and shows its errors."""
    before = sys.argv
    sys.argv = [script, *options]
    try:
        importlib.import_module(script.removesuffix(".py")).main()
    finally:
        sys.argv = before


def repository_files(pattern: str = "*") -> list[Path]:
    """Returns the files of the repository, tracked or new, that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", pattern]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(name) for name in sorted(done.stdout.split("\0")) if (ROOT / name).is_file()]


def in_processes(count: int, function: Callable[..., Any], *args) -> list[Any]:
    """Calls a function in forked processes that train together. Returns the results by rank.

    Processes that wait for each other for five minutes are ended, and the test fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [
        context.Process(target=_as_rank, args=(rank, count, port, results, function, args))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    ended = time.monotonic() + 300
    for process in processes:
        process.join(max(0.0, ended - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * count, f"exit codes by rank: {codes}. None is a process that waits."
    return [result for _, result in sorted(results.get() for _ in processes)]


def _as_rank(rank, count, port, results, function, args):
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):  # copies of the parent's
        state._reset_state()
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)  # a fork has no copy of the parent's threads
    results.put((rank, function(*args)))
    os._exit(0)  # gloo may abort at the end of a good run (pytorch#190489)


def history(folder: Path) -> list[dict]:
    return json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in history(folder) if "loss" in row]


def command(stage: str, folder: Path) -> list[str]:
    return [
        f"train_{stage}.py",
        "--config",
        f"configs/tang/{stage}.yaml",
        *OPTIONS[stage],
        "--output_dir",
        str(folder),
    ]


def beside(trained: Path, name: str, stage: str) -> Path:
    """The folder of one more `stage`, with what the stages before it left in `trained`."""
    run = trained / name
    run.mkdir()
    for part in {"data", "pretrain", "sft"} - {stage}:
        (run / part).symlink_to(trained / part)
    return run / stage


def kill_when(path: Path, words: list[str]) -> None:
    """Starts a command and kills it as soon as `path` is there."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not path.exists() and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()


def kill_in_a_save(folder: Path, step: int, words: list[str]) -> None:
    """Leaves the folder of a stage as a kill in the middle of saving `checkpoint-STEP` does."""
    saving = folder / "unfinished" / f"checkpoint-{step}"
    for _ in range(3):  # should a kill come too late, again: the folder is then whole
        shutil.rmtree(folder, ignore_errors=True)
        kill_when(saving, words)
        if saving.exists():
            break
    assert saving.exists() and not (folder / f"checkpoint-{step}").exists()


POSITIONS = 64


def random_model(tokenizer, positions: int, **sizes) -> GPT2LMHeadModel:
    """One layer of sixteen numbers, or of other `sizes`, the same each time."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=positions,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{"n_embd": 16, "n_layer": 1, "n_head": 2, "tie_word_embeddings": False, **sizes},
    )
    return GPT2LMHeadModel(config)


def make_checkpoint(
    folder: Path,
    ends: float = 0.05,
    characters: str = "春夜喜雨山中白，。\n",
    temperature: float = 1.0,
) -> Path:
    """Saves a random model that ends a poem with probability `ends` at each step."""
    tokenizer = build_tokenizer(characters, POSITIONS)
    model = random_model(tokenizer, POSITIONS)
    with (
        torch.no_grad()
    ):  # the first of the sixteen numbers is 1 for every input; only the end mark listens to it
        model.transformer.ln_f.weight[0], model.transformer.ln_f.bias[0] = 0.0, 1.0
        model.lm_head.weight[:, 0] = 0.0
        others = len(tokenizer) - 5 - 256  # tokens that verse may have
        model.lm_head.weight[tokenizer.eos_token_id, 0] = (
            torch.logit(torch.tensor(ends)) + torch.tensor(others).log()
        )
    model.generation_config = generation_defaults(tokenizer, POSITIONS, temperature)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def remove_chat_template(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["chat_template"]
    path.write_text(json.dumps(config), encoding="utf-8")


def rhyme_words(groups, count: int) -> str:
    """Returns characters of each rhyme group, and those whose tone a compound decides.

    They are traditional, except for 书东发, which stand for the stray ones of a corpus.
    """
    everything = [chr(code) for code in range(0x4E00, 0x9FA5)]
    everything = [character for character in everything if character not in simplified_only()]
    words = [
        character
        for group in groups
        for character in itertools.islice(
            (c for c in everything if group in rhyme_groups(c)), count
        )
    ]
    return "".join(
        dict.fromkeys(
            [*words, *"".join(pair for pair, _ in COMPOUNDS), *"山水風雨望聞不石徑幽泉細春化书东发"]
        )
    )


@cache
def simplified_sample() -> list[str]:
    """Returns the poems of the built-in sample in simplified characters."""
    path = ROOT / "poet" / "sample" / "poems.jsonl"
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [to_simplified("\n".join(row["paragraphs"])) for row in rows]


def make_model(folder, characters: str):
    """A random model of one layer; its head is scaled up, so that it has strong likings."""
    tokenizer = build_tokenizer(characters + "，。？！\n□○", FORM_POSITIONS)
    model = random_model(tokenizer, FORM_POSITIONS)
    model.lm_head.weight.data.mul_(20)
    model.generation_config = generation_defaults(tokenizer, FORM_POSITIONS)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def title_is_odd(poem) -> bool:
    return ord(poem.title[-1]) % 2 == 1


def invented_history(stage: str, steps: int = 40, end: float = 4.4) -> list[dict]:
    """Returns a log history with an evaluation every ten steps."""
    logs: list[dict] = []
    for step in range(0, steps + 1, 10):
        if step:
            logs.append(
                {"loss": end + 1 / step, "learning_rate": 1e-3 * (1 - step / steps), "step": step}
            )
        logs.append({"eval_loss": end + 2 / (step + 1), "eval_runtime": 0.5, "step": step})
        if stage == "dpo":
            logs[-1] |= {
                "eval_rewards/margins": step / steps,
                "eval_rewards/accuracies": 0.5 + step / steps / 4,
            }
    return [*logs, {"train_runtime": 754.2, "seconds": 754.2, "train_loss": 5.0, "step": steps}]
