"""Takes a GPT-2 apart: its parameters, its operations, and the path of a few tokens.

python book/code/ch05_model.py
"""

from collections import Counter

import lesson
import model as one_file
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel

from poet import errors
from poet.training import progress, size
from poet.training.command_line import read_yaml
from poet.training.options import PretrainOptions
from poet_tokenizer import encode_text

PARTS = {
    "wte": "token embeddings",
    "wpe": "position embeddings",
    ".attn.": "attention",
    ".mlp.": "feed-forward layers",
    "ln_": "norms",
}


def count_parameters(model: GPT2LMHeadModel) -> Counter:
    """Returns the parameters of each part, by looking at all tensors of the model."""
    counts = Counter()
    for name, weight in model.named_parameters():
        part = next(part for mark, part in PARTS.items() if mark in name)
        counts[part] += weight.numel()
    return counts


def operations(options: PretrainOptions, vocabulary: int) -> dict[str, int]:
    """Returns the operations of a forward pass per token, by formula."""
    width, layers, context = options.n_embd, options.n_layer, options.n_positions
    return {
        "attention matrices": layers * 2 * 4 * width**2,
        "looking back": layers * 2 * 2 * context * width,
        "feed-forward layers": layers * 2 * 8 * width**2,
        "output": 2 * vocabulary * width,
    }


def count_operations(model: GPT2LMHeadModel, context: int) -> dict[str, int]:
    """Returns the operations per token of a forward pass over `context` tokens, as torch counts."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, context, dtype=torch.long))  # (1, T)

    def per_token(*ends: str) -> int:
        modules = counter.get_flop_counts().items()
        return sum(sum(n.values()) for name, n in modules if name.endswith(ends)) // context

    matrices = per_token(".attn.c_attn", ".attn.c_proj")
    return {
        "attention matrices": matrices,
        "looking back": per_token(".attn") - matrices,
        "feed-forward layers": per_token(".mlp"),
        "output": per_token("lm_head"),
    }


def show_counts(name: str, by_formula: dict[str, int], counted: dict[str, int]) -> None:
    """Prints two ways to count the same, and the share of each part."""
    lesson.part(name)
    total = sum(by_formula.values())
    print(f"{'part':24} {'formula':>10} {'counted':>10}   share")
    for part, number in by_formula.items():
        print(f"{part:24} {number:10,} {counted[part]:10,} {number / total:7.1%}")
    print(f"{'all':24} {total:10,} {sum(counted.values()):10,}")
    lesson.keep(**{name: total})
    for part, number in by_formula.items():
        key = f"{name}_{part.replace(' ', '_')}"
        lesson.keep(**{key: number, f"{key}_share": number / total})


@torch.no_grad()
def stream(gpt: one_file.GPT, ids: Tensor) -> dict[str, Tensor]:
    """Returns the vectors of all tokens before the first block and after each: (B, T, C)."""
    x = gpt.wte(ids) + gpt.wpe(torch.arange(ids.shape[1]))  # (B, T, C)
    states = {"embeddings": x}
    for number, block in enumerate(gpt.h, 1):
        x = block(x)  # (B, T, C)
        states[f"after block {number}"] = x
    return states


@torch.no_grad()
def show_path(gpt: one_file.GPT, ids: Tensor) -> None:
    """Prints the shapes on the way from ids to probabilities."""
    logits = gpt(ids)  # (B, T, V)
    last = logits[:, -1].softmax(-1)  # (B, V)
    steps = {"ids": ids, **stream(gpt, ids), "logits": logits, "probabilities, last": last}
    for name, tensor in steps.items():
        print(f"{name:20} {tuple(tensor.shape)}")


@torch.no_grad()
def show_guesses(gpt: one_file.GPT, ids: Tensor) -> None:
    """Prints how the model would guess if it ended after each block."""
    print(f"{'':14}   loss   guesses the same character again")
    for number, (name, x) in enumerate(stream(gpt, ids).items()):
        logits = gpt.ln_f(x) @ gpt.wte.weight.T  # (B, T, V)
        loss = one_file.loss(logits, ids)
        again = (logits.argmax(-1) == ids).float().mean()
        print(f"{name:14} {loss:6.2f}   {again:.2f}")
        lesson.keep(**{f"loss_{number}": loss, f"again_{number}": again})


def write_presets(vocabulary: int) -> None:
    """Writes the sizes of the recipes for the figure."""
    tang = 8796  # characters of the Tang poems: benchmarks/LOG.md, 2026-11-30
    presets = []
    for recipe in ("sample", "tutorial", "tang", "tang-gpu"):
        numbers = read_yaml(lesson.ROOT / "configs" / recipe / "pretrain.yaml")
        preset = {"name": recipe, "vocabulary": vocabulary if recipe == "sample" else tang}
        preset |= {"width": numbers["n_embd"], "layers": numbers["n_layer"]}
        preset |= {"context": numbers["n_positions"]}
        presets.append({**preset, "tied": numbers.get("tie_word_embeddings", True)})
    preset = {"name": "GPT-2 small", "vocabulary": 50257, "width": 768, "layers": 12}
    presets.append({**preset, "context": 1024, "tied": True})
    lesson.write_data(__file__, PRESETS=presets)


def main() -> None:
    chosen = lesson.options(__doc__, width=128, layers=3, context=128, figure=0)
    progress.silence_libraries()
    torch.manual_seed(chosen.seed)
    tokenizer, _, test = lesson.token_ids(chosen.run)
    vocabulary = len(tokenizer)
    sizes = {"n_embd": chosen.width, "n_layer": chosen.layers, "n_positions": chosen.context}
    options = PretrainOptions(**sizes)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_head=4,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        attn_implementation="eager",  # plain products, which torch can count
        **sizes,
    )
    model = GPT2LMHeadModel(config).eval()
    show_counts("parameters", size.parameters(options, vocabulary), count_parameters(model))
    forward = operations(options, vocabulary)
    show_counts("operations", forward, count_operations(model, chosen.context))
    # The backward pass takes twice the operations of the forward pass.
    assert size.operations_per_token(options, vocabulary) == 3 * sum(forward.values())

    folder = chosen.run / "pretrain"
    gpt = one_file.load(folder)
    lesson.part("path")
    show_path(gpt, torch.tensor([encode_text(tokenizer, "春風吹")]))  # (1, T)

    ids = test[: 64 * 128].view(64, 128)  # (B, T)
    lesson.part("guesses")
    show_guesses(gpt, ids)

    trained = GPT2LMHeadModel.from_pretrained(folder).eval()
    trained.loss_type = "ForCausalLM"  # chapter 6 says why
    with torch.no_grad():
        theirs = trained(ids, labels=ids)
        logits = gpt(ids)  # (B, T, V)
    difference = (theirs.logits - logits).abs().max().item()
    lesson.part("same")
    print(f"loss of GPT2LMHeadModel  {theirs.loss:.4f}")
    print(f"loss of model.py         {one_file.loss(logits, ids):.4f}")
    print(f"all {logits.numel():,} logits differ by less than 0.0001: {difference < 1e-4}")
    lesson.keep(vocabulary=vocabulary, difference=difference)
    if chosen.figure:
        write_presets(vocabulary)
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
