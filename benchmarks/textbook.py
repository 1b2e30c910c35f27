"""Implements the textbook loop that other speeds are compared with.

It does what the original tutorial (TutorialLLM by jingedawang) does: plain PyTorch in float32, not
compiled, one module per attention head, and AdamW at 1e-3. A step reads 16 x 256 characters at
random positions. The model has width 64 and four layers of four heads. To write a character, the
model reads the whole context again.

    python benchmarks/textbook.py       # the median of 40 steps, on random ids

It knows tensors of ids. It does not know this project.
"""

import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONTEXT, BATCH, WIDTH, LAYERS, HEADS, RATE, STEPS = 256, 16, 64, 4, 4, 1e-3, 10_000
POEMS = 4  # written to time one poem
VOCABULARY = 8_548  # the Tang corpus's characters and an end mark


class Head(nn.Module):
    """Computes one head of causal self-attention, (B, T, width) -> (B, T, width / heads)."""

    def __init__(self):
        super().__init__()
        self.key, self.query, self.value = (
            nn.Linear(WIDTH, WIDTH // HEADS, bias=False) for _ in range(3)
        )
        self.register_buffer("mask", torch.tril(torch.ones(CONTEXT, CONTEXT)))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        scores = (
            self.query(x) @ self.key(x).transpose(-2, -1) * (WIDTH // HEADS) ** -0.5
        )  # (B, T, T)
        scores = scores.masked_fill(self.mask[:length, :length] == 0, float("-inf"))
        return scores.softmax(-1) @ self.value(x)


class Block(nn.Module):
    """Applies attention, then two layers to each position, (B, T, width) -> (B, T, width)."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(Head() for _ in range(HEADS))
        self.project = nn.Linear(WIDTH, WIDTH)
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.attention_norm(x)
        x = x + self.project(torch.cat([head(normed) for head in self.heads], dim=-1))
        return x + self.feed_forward(self.feed_forward_norm(x))


class Textbook(nn.Module):
    """Computes the logits of ids, (B, T) -> (B, T, vocabulary)."""

    def __init__(self):
        super().__init__()
        self.characters, self.positions = (
            nn.Embedding(VOCABULARY, WIDTH),
            nn.Embedding(CONTEXT, WIDTH),
        )
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.characters(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))

    @torch.no_grad()
    def write(self, ids: Tensor, count: int) -> Tensor:
        """Samples one character after the other, (1, T) -> (1, T + count).

        The model reads the last CONTEXT ids each time.
        """
        for _ in range(count):
            logits = self(ids[:, -CONTEXT:])[:, -1]
            ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=1)
        return ids


def step_seconds(steps: int) -> list[float]:
    """Trains on random ids, and returns the seconds of each step."""
    torch.manual_seed(0)
    ids = torch.randint(VOCABULARY, (100_000,))
    model = Textbook()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        starts = torch.randint(len(ids) - CONTEXT, (BATCH,)).tolist()
        x = torch.stack([ids[i : i + CONTEXT] for i in starts])
        y = torch.stack([ids[i + 1 : i + CONTEXT + 1] for i in starts])
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def writing_seconds(count: int) -> float:
    """Returns the mean seconds per poem of `count` characters after a prompt of 24."""
    model = Textbook().eval()
    start = time.perf_counter()
    for _ in range(POEMS):
        model.write(torch.zeros(1, 24, dtype=torch.long), count)
    return (time.perf_counter() - start) / POEMS


if __name__ == "__main__":
    step = statistics.median(step_seconds(40))
    print(f"{step:.3f} s per step, {STEPS * step:.0f} s for {STEPS:,} steps")
