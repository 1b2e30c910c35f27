"""Writes a checkpoint as a JavaScript file, for the interactive figures of the book.

    python book/code/export_weights.py runs/sample/dpo book/figures/weights.js

A page that was opened from the disk may load a script, but no other file. The weights are
half-precision numbers (float16) in base64. Beside them are the sizes, the vocabulary and the ids
of a prompt. The model in book/figures/gpt.js reads the file.
"""

import argparse
import base64
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from poet import errors  # noqa: E402
from poet.errors import UserError  # noqa: E402
from poet_tokenizer import ask  # noqa: E402

SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "layer_norm_epsilon")


def export(checkpoint: Path, file: Path) -> int:
    """Writes the file. Returns its size in bytes.

    Raises:
        UserError: There is no checkpoint, or its output weights are separate.
    """
    if not (checkpoint / "config.json").is_file():
        raise UserError(f"there is no checkpoint in {checkpoint}. Type `make run` first.")

    def read(name: str) -> dict:
        return json.loads((checkpoint / name).read_text(encoding="utf-8"))

    config = read("config.json")
    if not config.get("tie_word_embeddings", True):
        raise UserError(
            f"{checkpoint} has separate output weights, which gpt.js does not know. "
            "Export a model with tie_word_embeddings."
        )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    prompt = tokenizer.apply_chat_template(ask("\n"), add_generation_prompt=True)["input_ids"]
    title = prompt.index(tokenizer.convert_tokens_to_ids("\n"))

    tensors, numbers, offset = {}, [], 0
    for name, weight in sorted(load_file(checkpoint / "model.safetensors").items()):
        tensors[name.removeprefix("transformer.")] = [offset, weight.numel()]
        numbers.append(weight.flatten().to(torch.float16))
        offset += weight.numel()
    content = {
        "source": "/".join(checkpoint.parts[-2:]),
        "config": {name: config[name] for name in SIZES},
        "vocabulary": tokenizer.convert_ids_to_tokens(range(len(tokenizer))),
        "end": tokenizer.eos_token_id,
        "suppressed": read("generation_config.json").get("suppress_tokens") or [],
        "prompt": [prompt[:title], prompt[title + 1 :]],
        "tensors": tensors,
        "data": base64.b64encode(torch.cat(numbers).numpy().tobytes()).decode(),
    }
    script = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    script = (
        f"var WEIGHTS = {script};\nif (typeof module !== 'undefined') module.exports = WEIGHTS;\n"
    )
    file.write_text(script, encoding="utf-8")
    return len(script.encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="a stage of a run, such as runs/sample/dpo")
    parser.add_argument("file", type=Path, help="the file to write, such as weights.js")
    options = parser.parse_args()
    size = export(options.checkpoint, options.file)
    print(f"{options.file}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    errors.run(main)
