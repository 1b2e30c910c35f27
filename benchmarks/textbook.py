"""The textbook loop, the yardstick of every speed here: what the tutorial does, written as a textbook would.

Plain PyTorch in float32, nothing compiled, one module an attention head, AdamW at 1e-3, 16 x 256 characters a step drawn
at random, width 64, four layers of four heads; writing reads the whole context again for each character.

    python benchmarks/textbook.py       # the median of 40 steps, on random ids

Knows tensors of ids; knows nothing of this project.
"""

import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONTEXT, BATCH, WIDTH, LAYERS, HEADS, RATE, STEPS = 256, 16, 64, 4, 4, 1e-3, 10_000
POEMS = 4  # that its writing is timed over
VOCABULARY = 8_548  # the Tang corpus's characters and an end mark


class Head(nn.Module):
    """One head of causal self-attention, (B, T, width) -> (B, T, width / heads)."""

    def __init__(self):
        super().__init__()
        self.key, self.query, self.value = (
            nn.Linear(WIDTH, WIDTH // HEADS, bias=False) for _ in range(3)
        )
        self.register_buffer("past", torch.tril(torch.ones(CONTEXT, CONTEXT)))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        scores = (
            self.query(x) @ self.key(x).transpose(-2, -1) * (WIDTH // HEADS) ** -0.5
        )  # (B, T, T)
        scores = scores.masked_fill(self.past[:length, :length] == 0, float("-inf"))
        return scores.softmax(-1) @ self.value(x)


class Block(nn.Module):
    """Attention, then two layers that see one position at a time, (B, T, width) -> (B, T, width)."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(Head() for _ in range(HEADS))
        self.project = nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.before_heads, self.before_thought = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.before_heads(x)
        x = x + self.project(torch.cat([head(seen) for head in self.heads], dim=-1))
        return x + self.think(self.before_thought(x))


class Textbook(nn.Module):
    """(B, T) ids -> (B, T, vocabulary) logits."""

    def __init__(self):
        super().__init__()
        self.characters, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.characters(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))

    @torch.no_grad()
    def write(self, ids: Tensor, count: int) -> Tensor:
        """(1, T) -> (1, T + count), one character after the other, each from the last CONTEXT of them."""
        for _ in range(count):
            logits = self(ids[:, -CONTEXT:])[:, -1]
            ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=1)
        return ids


def step_seconds(steps: int) -> list[float]:
    """Seconds of each of `steps` training steps, on a text of random ids."""
    torch.manual_seed(0)
    ids = torch.randint(VOCABULARY, (100_000,))
    model = Textbook()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        places = torch.randint(len(ids) - CONTEXT, (BATCH,)).tolist()
        x = torch.stack([ids[i : i + CONTEXT] for i in places])
        y = torch.stack([ids[i + 1 : i + CONTEXT + 1] for i in places])
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def writing_seconds(count: int) -> float:
    """Seconds that a poem of `count` characters behind a prompt of 24 takes: the mean of `POEMS`, one after the other."""
    model = Textbook().eval()
    start = time.perf_counter()
    for _ in range(POEMS):
        model.write(torch.zeros(1, 24, dtype=torch.long), count)
    return (time.perf_counter() - start) / POEMS


if __name__ == "__main__":
    step = statistics.median(step_seconds(40))
    print(f"{step:.3f} s a step, {STEPS * step:.0f} s for {STEPS:,} steps")
