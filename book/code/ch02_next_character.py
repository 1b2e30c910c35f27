"""Guesses the next character of a poem: at random, by counting, and with a small network.

python book/code/ch02_next_character.py
"""

import math

import lesson
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poet import errors


def uniform_loss(vocabulary: int) -> float:
    """Returns the loss of a guess that gives each token the same probability."""
    return math.log(vocabulary)


def count_pairs(ids: Tensor, vocabulary: int) -> Tensor:
    """Returns how often each token follows each token: shape (vocabulary, vocabulary)."""
    pairs = ids[:-1] * vocabulary + ids[1:]  # (tokens - 1,): one number for each pair
    return torch.bincount(pairs, minlength=vocabulary**2).view(vocabulary, vocabulary)


def pair_loss(counts: Tensor, ids: Tensor, weight: float = 10.0) -> float:
    """Returns the mean loss of `ids`, in nats per token, if the counts give the probabilities.

    A pair that was never counted would have probability 0 and an infinite loss. So each row is
    mixed with the frequencies of all tokens, as if `weight` more pairs had been counted.
    """
    frequency = (counts.sum(0) + 1) / (counts.sum() + len(counts))  # (vocabulary,)
    row = counts[ids[:-1]].float()  # (tokens - 1, vocabulary)
    probability = (row + weight * frequency) / (row.sum(1, keepdim=True) + weight)
    chosen = probability.gather(1, ids[1:, None])  # (tokens - 1, 1): of the token that came
    return -chosen.log().mean().item()


class PairNetwork(nn.Module):
    """Guesses the next token from the current one, through a vector of `width` numbers."""

    def __init__(self, vocabulary: int, width: int = 64):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.output = nn.Linear(width, vocabulary)

    def forward(self, ids: Tensor) -> Tensor:
        """Returns the scores of all tokens: (n,) becomes (n, vocabulary)."""
        return self.output(self.embedding(ids))


def train_network(network: nn.Module, ids: Tensor, steps: int, batch: int = 1024) -> None:
    """Lowers the loss of the network on random pairs of neighbors."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(steps):
        place = torch.randint(len(ids) - 1, (batch,))
        scores = network(ids[place])  # (batch, vocabulary)
        loss = F.cross_entropy(scores, ids[place + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def network_loss(network: nn.Module, ids: Tensor) -> float:
    """Returns the mean loss of `ids` in nats per token."""
    return F.cross_entropy(network(ids[:-1]), ids[1:]).item()


def main() -> None:
    chosen = lesson.options(__doc__, steps=300)
    torch.manual_seed(chosen.seed)
    tokenizer, train, test = lesson.token_ids(chosen.run)
    test, vocabulary = test[:20_000], len(tokenizer)

    lesson.part("text")
    print(f"{len(train):,} tokens to learn from, {len(test):,} tokens to be tested on")
    print(f"{vocabulary:,} different tokens")

    counts = count_pairs(train, vocabulary)
    lesson.part("after 春")
    after = counts[tokenizer.convert_tokens_to_ids("春")]
    for count, id in zip(*after.topk(5), strict=True):
        print(f"春{tokenizer.decode(id)}  {count:4d} times, probability {count / after.sum():.3f}")

    network = PairNetwork(vocabulary)
    train_network(network, train, chosen.steps)
    losses = {
        "no idea": uniform_loss(vocabulary),
        "frequencies": pair_loss(torch.zeros_like(counts) + counts.sum(0), test),
        "counted pairs": pair_loss(counts, test),
        "network": network_loss(network, test),
    }
    lesson.part("losses")
    print("guess            loss   perplexity")
    for name, loss in losses.items():
        print(f"{name:15} {loss:5.2f} {math.exp(loss):12,.0f}")
    lesson.keep(
        vocabulary=vocabulary,
        top=after.max() / after.sum(),
        uniform=losses["no idea"],
        uniform_perplexity=math.exp(losses["no idea"]),
        frequencies=losses["frequencies"],
        pairs=losses["counted pairs"],
        pairs_perplexity=math.exp(losses["counted pairs"]),
        network=losses["network"],
        parameters=sum(p.numel() for p in network.parameters()),
        table=vocabulary**2,
    )
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
