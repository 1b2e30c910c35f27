"""Times single pieces of training and writing next to the code that they replaced.

    python benchmarks/pieces.py --model runs/tang/sft

LOG.md has the figures. A time is the fastest of several calls, in one run. Other programs can slow
a call down but cannot speed it up.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VOCABULARY = 8_796  # of `tang`
TITLES = ["春夜喜雨", "寄友人", "山居", "秋日登樓"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="runs/tang/sft", help="a fine-tuned checkpoint (%(default)s)"
    )
    options = parser.parse_args()

    from poet.generation.load import load

    model, tokenizer = load(options.model)
    time_muon()
    time_head()
    time_scores()
    time_gelu()
    time_dropout()
    time_attention()
    time_last_layer()
    time_writing(model, tokenizer)
    time_form(model, tokenizer)
    print_likelihood(model, tokenizer)


def best(call: Callable[[], object], times: int = 10) -> float:
    """Returns the milliseconds of the fastest call after two that warm up."""
    seconds = []
    for _ in range(times + 2):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[2:])


def print_times(piece: str, calls: dict[str, Callable[[], object]], times: int = 10) -> None:
    """Prints the fastest time of each way to compute a piece."""
    ways = [f"{best(call, times):.2f} ms {name}" for name, call in calls.items()]
    print(f"{piece}: {', '.join(ways)}")


def time_muon() -> None:
    """Orthogonalizes the matrices of one step of a model with four layers of width 256."""
    import torch

    from poet.training.optimizer import orthogonalize

    for shape in ((16, 256, 256), (4, 256, 1024), (4, 1024, 256)):
        matrices = torch.randn(shape)
        calls = {
            "float32": lambda: orthogonalize(matrices, dtype=torch.float32),
            "bfloat16": lambda: orthogonalize(matrices, dtype=torch.bfloat16),
        }
        print_times(f"Muon, {shape}", calls)


def time_head() -> None:
    """Times the output layer and the loss, forward and backward, at two shapes."""
    import torch
    from torch.nn import functional as F

    from poet.speed.scoring import TOKENS_PER_TILE

    def whole(x, weight, labels):
        return F.cross_entropy(F.linear(x, weight), labels)

    def tiled(x, weight, labels):
        options = torch.nn.LinearCrossEntropyOptions(
            batch_chunk_size=TOKENS_PER_TILE, allow_retain_graph=True
        )
        return F.linear_cross_entropy(x, weight, labels, options=options)

    compiled = torch.compile(whole)
    for tokens, width in ((2048, 256), (4096, 64)):  # of `tang` and of `tutorial`
        x = torch.randn(tokens, width, requires_grad=True)
        weight = (torch.randn(VOCABULARY, width) * 0.02).requires_grad_()
        labels = torch.randint(VOCABULARY, (tokens,))
        calls = {
            "not compiled": lambda: whole(x, weight, labels).backward(),
            "compiled": lambda: compiled(x, weight, labels).backward(),
            f"in tiles of {TOKENS_PER_TILE}": lambda: tiled(x, weight, labels).backward(),
        }
        print_times(f"output layer and loss, {tokens} x {width} x {VOCABULARY}", calls)


def time_scores() -> None:
    """Times the log-probabilities of the labels in fine-tuning, forward and backward."""
    import torch
    from trl.kernels import ChunkedLogProbFunction

    from poet.speed import scoring

    tokens, outputs = 1500, ("log_probs", "entropy", "is_top1")
    scoring.patch_trl_scoring()
    hidden = torch.randn(tokens, 256, requires_grad=True)
    weight = (torch.randn(VOCABULARY, 256) * 0.02).requires_grad_()
    labels = torch.randint(VOCABULARY, (tokens,))

    def score(function, dtype: torch.dtype) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            log_probs, *_ = function.apply(
                hidden, weight, None, labels, 1.0, VOCABULARY, None, 1.0, outputs
            )
        log_probs.sum().backward()

    whole = scoring.WholeLogProb(ChunkedLogProbFunction)
    for dtype in (torch.bfloat16, torch.float32):
        calls = {
            "in trl's tiles": lambda: score(ChunkedLogProbFunction, dtype),
            "in one compiled function": lambda: score(whole, dtype),
        }
        print_times(f"scores of fine-tuning, {tokens} x 256 x {VOCABULARY}, {dtype}", calls)


def time_gelu() -> None:
    """Times the GELU of one layer, forward and backward."""
    import torch
    from transformers.activations import ACT2FN

    from poet.speed.gelu import GeluBySigmoid

    x, gradient = torch.randn(1400, 1024, requires_grad=True), torch.randn(1400, 1024)
    functions = {
        "gelu_new": ACT2FN["gelu_new"],
        "gelu_pytorch_tanh": ACT2FN["gelu_pytorch_tanh"],
        "gelu_pytorch_tanh compiled": torch.compile(ACT2FN["gelu_pytorch_tanh"]),
        "by a sigmoid, compiled": torch.compile(GeluBySigmoid()),
    }
    calls = {
        name: lambda function=function: function(x).backward(gradient)
        for name, function in functions.items()
    }
    print_times("GELU of one layer, 1400 x 1024, forward and backward", calls)


def time_dropout() -> None:
    """Times seven residual layers of width 256 over 2,048 tokens, forward and backward, compiled.

    A model with three layers has dropout in seven places.
    """
    import torch
    from torch import nn

    from poet.speed.dropout import ByteDropout

    class Layer(nn.Module):
        def __init__(self, dropout: nn.Module):
            super().__init__()
            self.norm, self.linear, self.dropout = nn.LayerNorm(256), nn.Linear(256, 256), dropout

        def forward(self, x):
            return x + self.dropout(self.linear(self.norm(x)))

    def step(layers: nn.Module) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = layers(x).square().mean()
        loss.backward()

    x = torch.randn(8, 256, 256)
    kinds = {"none": nn.Identity, "nn.Dropout": nn.Dropout, "by bytes": ByteDropout}
    calls = {}
    for name, kind in kinds.items():
        layers = nn.Sequential(*(Layer(kind(0.1)) for _ in range(7)))
        calls[name] = functools.partial(torch.compile(step), layers)
    print_times("dropout of seven layers, 8 x 256 x 256", calls, times=30)


def time_attention() -> None:
    """Times attention of one token, for 256 rows and four heads of 64."""
    import torch
    from torch.nn import functional as F

    from poet.speed.decode import compiled_attention

    compiled = compiled_attention()
    for tokens in (60, 140, 230):
        query = torch.randn(256, 4, 1, 64)
        keys, values = torch.randn(2, 256, 4, 256, 64)[..., :tokens, :]
        half_keys, half_values = keys.bfloat16(), values.bfloat16()
        calls = {
            "torch": lambda: F.scaled_dot_product_attention(query, keys, values),
            "compiled": lambda: compiled(query, keys, values, None),
            "compiled, bfloat16": lambda: compiled(query, half_keys, half_values, None),
        }
        print_times(f"attention over {tokens} tokens", calls)


def time_last_layer() -> None:
    """Times the scores of a few rows, with the last layer's weight and with its transpose."""
    import torch
    from torch.nn import functional as F

    weight = torch.randn(VOCABULARY, 256)
    transposed = weight.T.contiguous()
    for rows in (1, 2, 4, 6, 8):
        x = torch.randn(rows, 256)
        calls = {"": lambda: F.linear(x, weight), "transposed": lambda: x @ transposed}
        print_times(f"last layer, {rows} rows", calls, times=30)


def time_writing(model, tokenizer) -> None:
    """Times 256 poems and single poems, by the loop of `generate` and by this project's own."""
    ways = {"generate": {"plain": True}, "poet/speed/decode.py": {}}
    for count, repeats in ((256, 1), (1, 8)):
        for name, settings in ways.items():
            print_writing(model, tokenizer, f"{count} poems by {name}", count, repeats, settings)


def time_form(model, tokenizer) -> None:
    """Times 128 poems without a form, and 128 poems in a form."""
    for form in (None, "五言律詩"):
        settings = mask_of(tokenizer, form)
        print_writing(model, tokenizer, f"128 poems, {form or 'no form'}", 128, 3, settings)


def print_writing(model, tokenizer, name: str, count: int, repeats: int, settings: dict) -> None:
    """Prints the mean seconds for `count` poems, and the milliseconds per token."""
    from poet.generation.write import write_ids

    titles = (TITLES * count)[:count]
    seconds, tokens = 0.0, 0
    for seed in range(repeats + 1):
        start = time.perf_counter()
        poems = write_ids(model, tokenizer, titles, seed=seed, **settings)
        if seed:  # the first call warms up
            seconds += time.perf_counter() - start
            tokens += sum(map(len, poems))
    print(f"{name}: {seconds / repeats:.2f} s, {1e3 * seconds / tokens:.3f} ms per token")


def mask_of(tokenizer, form: str | None) -> dict:
    """Returns the settings that keep a form, or none."""
    from poet.prosody.mask import FormLogitsProcessor
    from poet.prosody.request import read_form

    if form is None:
        return {}
    return {"logits_processor": [FormLogitsProcessor(tokenizer, read_form(form))]}


def print_likelihood(model, tokenizer) -> None:
    """Prints the loss per token of the model's own poems, without a form and in four forms.

    The loss is that of temperature 1 with no character forbidden.
    """
    from poet.generation.write import mean_log_probabilities, write_ids

    for form in (None, "五言絕句", "五言律詩", "七言絕句", "七言律詩"):
        mask = mask_of(tokenizer, form)
        loss, tokens = 0.0, 0
        for title in TITLES:
            poems = write_ids(model, tokenizer, [title] * 64, seed=0, **mask)
            means = mean_log_probabilities(model, tokenizer, title, poems)
            loss -= sum(mean * len(ids) for mean, ids in zip(means, poems, strict=True))
            tokens += sum(map(len, poems))
        print(f"{form or 'no form'}: {loss / tokens:.3f} nats per token, 256 poems")


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
