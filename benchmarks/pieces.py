"""Single pieces of training and writing, each beside what it replaced: figures of LOG.md.

    python benchmarks/pieces.py --model runs/tang/sft

Times are the best of several, side by side in one run, since a machine that others use too is often slow and never fast.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VOCABULARY = 8_796  # of `tang`


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="runs/tang/sft", help="a fine-tuned checkpoint that writes (%(default)s)"
    )
    options = parser.parse_args()

    from poet.generation.load import load

    model, tokenizer = load(options.model)
    muon()
    head()
    scores()
    gelu()
    attention()
    last_layer()
    writing(model, tokenizer)
    likelihood(model, tokenizer)


def best(what: Callable[[], object], times: int = 10) -> float:
    """Milliseconds of the fastest call after the first two."""
    seconds = []
    for _ in range(times + 2):
        start = time.perf_counter()
        what()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[2:])


def muon() -> None:
    """The matrices of one step of a model with four layers of 256, orthogonalized in float32 and in bfloat16."""
    import torch

    from poet.training.optimizer import orthogonalize

    for shape in ((16, 256, 256), (4, 256, 1024), (4, 1024, 256)):
        matrices = torch.randn(shape)
        found = [
            f"{best(lambda: orthogonalize(matrices, dtype=dtype)):.1f} ms in {str(dtype).removeprefix('torch.')}"
            for dtype in (torch.float32, torch.bfloat16)
        ]
        print(f"Muon, {shape}: {', '.join(found)}")


def head() -> None:
    """Output layer and loss, forward and backward, at the recipe's and at the tutorial's shape."""
    import torch
    from torch.nn import functional as F

    def whole(x, weight, labels):
        return F.cross_entropy(F.linear(x, weight), labels)

    def tiled(x, weight, labels):
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=512, allow_retain_graph=True)
        return F.linear_cross_entropy(x, weight, labels, options=options)

    for tokens, width in ((2048, 256), (4096, 64)):
        x = torch.randn(tokens, width, requires_grad=True)
        weight = (torch.randn(VOCABULARY, width) * 0.02).requires_grad_()
        labels = torch.randint(VOCABULARY, (tokens,))
        ways = {"eager": whole, "compiled": torch.compile(whole), "in tiles of 512": tiled}
        found = [
            f"{best(lambda: way(x, weight, labels).backward()):.0f} ms {name}"
            for name, way in ways.items()
        ]
        print(f"output layer and loss, {tokens} x {width} x {VOCABULARY}: {', '.join(found)}")


def scores() -> None:
    """The scores of fine-tuning's labels, forward and backward: in trl's tiles, uncompiled, and in one compiled function."""
    import torch
    from trl.kernels import ChunkedLogProbFunction

    from poet.speed import scoring

    tokens, asked = 1500, ("log_probs", "entropy", "is_top1")
    scoring.patch_trl_scoring()
    hidden = torch.randn(tokens, 256, requires_grad=True)
    weight = (torch.randn(VOCABULARY, 256) * 0.02).requires_grad_()
    labels = torch.randint(VOCABULARY, (tokens,))

    def score(function, dtype: torch.dtype) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            found = function.apply(hidden, weight, None, labels, 1.0, VOCABULARY, None, 1.0, asked)
        found[0].sum().backward()

    ways = {
        "in tiles": ChunkedLogProbFunction,
        "in one": scoring.WholeLogProb(ChunkedLogProbFunction),
    }
    for dtype in (torch.bfloat16, torch.float32):
        found = [f"{best(lambda: score(way, dtype)):.0f} ms {name}" for name, way in ways.items()]
        print(f"scores of fine-tuning, {tokens} x 256 x {VOCABULARY}, {dtype}: {', '.join(found)}")


def gelu() -> None:
    import torch
    from transformers.activations import ACT2FN

    from poet.speed.gelu import GeluBySigmoid

    x, slope = torch.randn(1400, 1024, requires_grad=True), torch.randn(1400, 1024)
    ways = {name: ACT2FN[name] for name in ("gelu_new", "gelu_pytorch_tanh")}
    ways |= {"the latter compiled": torch.compile(ways["gelu_pytorch_tanh"])}
    ways |= {"by a sigmoid, compiled": torch.compile(GeluBySigmoid())}
    found = [f"{best(lambda: way(x).backward(slope)):.1f} ms {name}" for name, way in ways.items()]
    print(f"one layer's GELU, 1400 x 1024, forward and backward: {', '.join(found)}")


def attention() -> None:
    """One token of 256 rows over the keys and values of four heads of 64: torch's kernel, and as poet/speed/decode.py has it compiled."""
    import torch
    from torch.nn import functional as F

    from poet.speed.decode import _compiled_attention

    for tokens in (60, 140, 230):
        query, (keys, values) = (
            torch.randn(256, 4, 1, 64),
            torch.randn(2, 256, 4, 256, 64)[..., :tokens, :],
        )
        half = keys.bfloat16(), values.bfloat16()
        ways = {
            "torch's": lambda: F.scaled_dot_product_attention(query, keys, values),
            "compiled": lambda: _compiled_attention()(query, keys, values, None),
            "compiled, bfloat16": lambda: _compiled_attention()(query, *half, None),
        }
        found = [f"{best(way):.1f} ms {name}" for name, way in ways.items()]
        print(f"attention over {tokens} tokens: {', '.join(found)}")


def last_layer() -> None:
    """A few rows scored against the vocabulary, by its weight as it is and turned round."""
    import torch
    from torch.nn import functional as F

    weight = torch.randn(VOCABULARY, 256)
    turned = weight.T.contiguous()
    for rows in (1, 2, 4, 6, 8):
        x = torch.randn(rows, 256)
        found = best(lambda: F.linear(x, weight), 30), best(lambda: x @ turned, 30)
        print(f"last layer, {rows} rows: {found[0]:.2f} ms, {found[1]:.2f} ms turned round")


def writing(model, tokenizer) -> None:
    """256 poems and one alone, by `generate` itself and by poet/speed/decode.py; a form beside free verse."""
    from poet.generation import write
    from poet.prosody.forms import FormLogitsProcessor, read_form

    titles = ["春夜喜雨", "寄友人", "山居", "秋日登樓"] * 64

    def timed(count: int, **settings) -> tuple[float, int]:
        start = time.perf_counter()
        poems = write.write_ids(model, tokenizer, titles[:count], **settings)
        return time.perf_counter() - start, sum(map(len, poems))

    ways = {"generate": {"plain": True}, "poet/speed/decode.py": {}}
    for count, seeds in ((256, 1), (1, 8)):
        for name, way in ways.items():
            runs = [timed(count, seed=seed, **way) for seed in range(seeds + 1)][
                1:
            ]  # the first warms up
            seconds, tokens = map(sum, zip(*runs, strict=True))
            print(
                f"{count} poems by {name}: {seconds / len(runs):.2f} s, {1e3 * seconds / tokens:.3f} ms a token"
            )
    form = {"logits_processor": [FormLogitsProcessor(tokenizer, read_form("五言律詩"))]}
    for name, way in {"free": {}, "五言律詩": form}.items():
        runs = [timed(128, seed=seed, **way) for seed in range(4)][1:]
        seconds, tokens = map(sum, zip(*runs, strict=True))
        print(f"128 poems, {name}: {seconds / 3:.2f} s, {1e3 * seconds / tokens:.3f} ms a token")


def likelihood(model, tokenizer) -> None:
    """What the model's verse to a form costs it beside free verse: mean loss a token, of temperature 1 and with nothing forbidden."""
    from poet.generation import write
    from poet.prosody.forms import FormLogitsProcessor, read_form

    titles = ["春夜喜雨", "寄友人", "山居", "秋日登樓"]
    for form in (None, "五言絕句", "五言律詩", "七言絕句", "七言律詩"):
        mask = (
            {}
            if form is None
            else {"logits_processor": [FormLogitsProcessor(tokenizer, read_form(form))]}
        )
        nats = tokens = 0.0
        for title in titles:
            poems = write.write_ids(model, tokenizer, [title] * 64, seed=0, **mask)
            means = write.mean_log_probabilities(model, tokenizer, title, poems)
            nats -= sum(mean * len(ids) for mean, ids in zip(means, poems, strict=True))
            tokens += sum(map(len, poems))
        print(f"{form or 'free verse'}: {nats / tokens:.3f} nats a token of 256 poems")


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
