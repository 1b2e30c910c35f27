"""Finds out where the time of a training step goes, and races four ways to train.

    python book/code/ch07_speed.py
    python book/code/ch07_speed.py --rows 1      # a batch of one block instead of 16

All times are printed relative to another time. The speed of a machine cancels out.
"""

import itertools
import os
import time
from collections.abc import Callable

import lesson
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.activations import ACT2FN

from poet import errors
from poet.data.blocks import encode_rows
from poet.data.run_data import load_stage, make_tokenizer
from poet.training.optimizer import MuonAdamW

RECIPE = yaml.safe_load((lesson.ROOT / "configs/sample/pretrain.yaml").read_text(encoding="utf-8"))
POSITIONS, WIDTH, LAYERS = RECIPE["n_positions"], RECIPE["n_embd"], RECIPE["n_layer"]
PARTS = ("layers, forward", "loss", "gradient of the loss", "gradient of the layers", "optimizer")


def fastest_in_turn(calls: dict[str, Callable], rounds: int = 10) -> dict[str, list[float]]:
    """Returns the fastest seconds of each call. The calls take turns.

    A call returns the seconds of its parts, or nothing. Other programs can slow a call down, but
    cannot speed it up. So the fastest of several times is the one to trust.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            parts = call()
            whole = time.perf_counter() - start
            times[name].append(parts if isinstance(parts, list) else [whole])
    return {name: [min(part) for part in zip(*all[1:], strict=True)] for name, all in times.items()}


def make_model(vocabulary: int) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=vocabulary, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS,
        n_head=RECIPE["n_head"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def make_optimizer(model: GPT2LMHeadModel, muon: bool) -> torch.optim.Optimizer:
    if not muon:  # a rate of 1e-3 ends about 0.1 nats higher
        return torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    for block in model.transformer.h:  # blocks then start as the identity
        torch.nn.init.zeros_(block.attn.c_proj.weight)
        torch.nn.init.zeros_(block.mlp.c_proj.weight)
    rate = RECIPE["muon_learning_rate"]
    return MuonAdamW(model, RECIPE["learning_rate"], rate, (0.9, 0.95), RECIPE["weight_decay"])


# ------------------------------------------------------------------------- losses and a step


def plain_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Scores all tokens against the whole vocabulary at once.

    Shapes: hidden (tokens, width), weight (vocabulary, width), targets (tokens,).
    """
    logits = F.linear(hidden, weight)  # (tokens, vocabulary)
    return F.cross_entropy(logits.float(), targets)


def tiled_loss(hidden: Tensor, weight: Tensor, targets: Tensor, tile: int = 512) -> Tensor:
    """Scores `tile` tokens at a time. No more logits than these exist at once."""
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=tile)
    return F.linear_cross_entropy(hidden, weight, targets, options=options)


def sampled_loss(hidden: Tensor, weight: Tensor, targets: Tensor, size: int = 1024) -> Tensor:
    """Scores the characters of the batch and a few others.

    This takes as long as the loss in poet/speed/sampled_softmax.py. Training needs the correction
    of that file too.
    """
    own = targets.unique()  # in order
    others = torch.randint(len(weight), (max(0, size - len(own)),))
    candidates = torch.cat([own, others])
    return plain_loss(hidden, weight[candidates], torch.searchsorted(own, targets))


def step(model, optimizer, ids: Tensor, loss_of: Callable = plain_loss, bf16=False) -> list[float]:
    """Trains one step on `ids` (rows, positions), and returns the seconds of each of `PARTS`."""
    clock = [time.perf_counter()]

    def lap() -> None:
        clock.append(time.perf_counter())

    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = model.transformer(ids, use_cache=False).last_hidden_state  # (rows, positions, W)
        lap()
        last = hidden.detach().requires_grad_()  # cuts the step in two, so that each half is timed
        loss = loss_of(last[:, :-1].flatten(0, 1), model.lm_head.weight, ids[:, 1:].flatten())
        lap()
    loss.backward()  # to the last layer and to `last`
    lap()
    hidden.backward(last.grad)  # through the layers
    lap()
    optimizer.step()
    optimizer.zero_grad()
    lap()
    return [end - start for start, end in itertools.pairwise(clock)]


def peak_memory(call: Callable) -> int:
    """Returns the most bytes that a call held at one time, above those of its start."""
    os.environ["KINETO_LOG_LEVEL"] = "6"  # torch's profiler then prints nothing
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":  # an allocation, or with a minus a release
            now += event.nbytes()
            most = max(most, now)
    return most


def operations(tokens: int, vocabulary: int) -> dict[str, int]:
    """Returns the operations of one step, forward and backward: 6 per token and parameter."""
    return {
        "layers": tokens * 6 * 12 * LAYERS * WIDTH**2,
        "attention": tokens * 6 * LAYERS * WIDTH * POSITIONS,
        "vocabulary": tokens * 6 * vocabulary * WIDTH,
    }


# ------------------------------------------------------------------------------------ the race


def train(ids: Tensor, test: Tensor, vocabulary: int, rows: int, muon: bool, tokens: int) -> list:
    """Returns the held-out loss before a training and after each eighth of its `tokens`."""
    model = make_model(vocabulary)
    optimizer = make_optimizer(model, muon)
    steps = tokens // (rows * POSITIONS)
    warmup = min(10, steps // 4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warmup, (steps - n) / (steps - warmup))
    )
    losses = [held_out_loss(model, test)]
    for number in range(1, steps + 1):
        starts = torch.randint(len(ids) - POSITIONS, (rows, 1))
        step(model, optimizer, ids[starts + torch.arange(POSITIONS)])
        schedule.step()
        if number % (steps // 8) == 0:
            losses.append(held_out_loss(model, test))
    return losses


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, test: Tensor) -> float:
    hidden = model.transformer(test[:, :-1]).last_hidden_state.flatten(0, 1)
    return plain_loss(hidden, model.lm_head.weight, test[:, 1:].flatten()).item()


def main() -> None:
    chosen = lesson.options(__doc__, rows=16, tokens=98_304, figure=0)
    torch.manual_seed(chosen.seed)
    rows = load_stage(chosen.run, "pretrain")
    tokenizer = make_tokenizer(chosen.run, POSITIONS)
    ids = torch.tensor(encode_rows(rows["train"], tokenizer))
    test = torch.tensor(encode_rows(rows["test"], tokenizer))[: 32 * POSITIONS].view(32, POSITIONS)
    vocabulary = len(tokenizer)

    a, b, c = torch.randn(3, 2048, 2048)
    a16, b16, one = a.bfloat16(), b.bfloat16(), torch.ones(1)
    calls = {
        "add two numbers": lambda: one + one,
        "add two matrices": lambda: torch.add(a, b, out=c),
        "multiply them": lambda: torch.mm(a, b, out=c),
        "multiply in bfloat16": lambda: a16 @ b16,
    }
    machine = {name: times[0] for name, times in fastest_in_turn(calls).items()}
    unit = machine["add two matrices"]
    lesson.part("machine")
    print("2,048 x 2,048 matrices       operations     time, adding them = 1")
    for name, count in zip(calls, (1, 2048**2, 2 * 2048**3, 2 * 2048**3), strict=True):
        print(f"{name:20} {count:18,}  {machine[name] / unit:24.4f}")

    batch = ids[: chosen.rows * POSITIONS].view(chosen.rows, POSITIONS)
    tokens, kinds = batch.numel(), len(batch.unique())
    lesson.part("operations")
    work = operations(tokens, vocabulary)
    for name, count in work.items():
        print(
            f"{name:11} {count / 1e9:6.1f} billion, {count / sum(work.values()):4.0%} of the step"
        )
    print(f"The batch has {tokens:,} tokens, {kinds:,} different ones out of {vocabulary:,}.")

    model, gelu_model, muon_model = (make_model(vocabulary) for _ in range(3))
    for block in gelu_model.transformer.h:
        block.mlp.act = ACT2FN["gelu_pytorch_tanh"]
    adamw, adamw_of_gelu = (make_optimizer(m, muon=False) for m in (model, gelu_model))
    muon = make_optimizer(muon_model, muon=True)
    ways = {
        "plain": lambda: step(model, adamw, batch),
        "GELU in one kernel": lambda: step(gelu_model, adamw_of_gelu, batch),
        "loss in tiles": lambda: step(model, adamw, batch, tiled_loss),
        "loss over a sample": lambda: step(model, adamw, batch, sampled_loss),
        "bfloat16": lambda: step(model, adamw, batch, bf16=True),
        "Muon": lambda: step(muon_model, muon, batch),
    }
    parts = fastest_in_turn(ways)
    plain = sum(parts["plain"])
    share = dict(zip(PARTS, (seconds / plain for seconds in parts["plain"]), strict=True))
    lesson.part("step")
    for name, part in share.items():
        print(f"{name:24} {part:4.0%}  {'#' * round(50 * part)}")
    matmul = sum(work.values()) / plain / (2 * 2048**3 / machine["multiply them"])
    print(f"The step reaches {matmul:.0%} of the machine's speed of matrix products in float32.")
    lesson.part("levers")
    print("a step with           time, plain = 1")
    for name, seconds in parts.items():
        print(f"{name:20} {sum(seconds) / plain:16.2f}")

    hidden = torch.randn(tokens, WIDTH, requires_grad=True)
    weight, targets = model.lm_head.weight, batch.flatten()
    losses = {
        "plain": lambda: plain_loss(hidden, weight, targets).backward(),
        "in tiles": lambda: tiled_loss(hidden, weight, targets).backward(),
        "over a sample": lambda: sampled_loss(hidden, weight, targets).backward(),
    }
    seconds = {name: times[0] for name, times in fastest_in_turn(losses).items()}
    memory = {name: peak_memory(call) for name, call in losses.items()}
    lesson.part("loss")
    print("loss             time   memory, plain = 1")
    for name in losses:
        print(
            f"{name:14} {seconds[name] / seconds['plain']:6.2f}"
            f"   {memory[name] / memory['plain']:6.2f}"
        )

    race = {
        f"{way}, {rows} blocks": train(ids, test, vocabulary, rows, way == "Muon", chosen.tokens)
        for way in ("AdamW", "Muon")
        for rows in (16, 8)
    }
    lesson.part("race")
    print("held-out loss after   " + "".join(f"{n}/8    " for n in (1, 2, 4, 8)) + "of the tokens")
    for name, curve in race.items():
        print(f"{name:18}" + "".join(f"{curve[n]:7.2f}" for n in (1, 2, 4, 8)))

    slowest, fastest = race["AdamW, 16 blocks"][-1], race["Muon, 8 blocks"]
    lesson.keep(
        product=machine["multiply them"] / unit,
        bf16=machine["multiply them"] / machine["multiply in bfloat16"],
        vocabulary_share=work["vocabulary"] / sum(work.values()),
        kinds=kinds,
        matmul=matmul,
        layers=share["layers, forward"] + share["gradient of the layers"],
        loss=share["loss"] + share["gradient of the loss"],
        adamw_16=slowest,
        muon_8=fastest[-1],
        eighths=next(n for n, loss in enumerate(fastest) if loss <= slowest or n == 8),
        tiles_memory=memory["in tiles"] / memory["plain"],
        sample=sum(parts["loss over a sample"]) / plain,
        muon_step=sum(parts["Muon"]) / plain,
    )
    if chosen.figure:
        relative = {n: [round(s / plain, 4) for s in times] for n, times in parts.items()}
        curves = {name: [round(loss, 3) for loss in curve] for name, curve in race.items()}
        data = {"parts": relative, "race": curves, "steps": chosen.tokens // tokens}
        lesson.write_data(__file__, SPEED=data)
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
