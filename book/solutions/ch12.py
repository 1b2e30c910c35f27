"""Solution of the exercise of chapter 12."""

from collections import Counter


def tokens_with(text: str, kept: int) -> int:
    """Returns the number of tokens, with bytes for all but the most frequent characters."""
    vocabulary = {character for character, _ in Counter(text).most_common(kept)}
    return sum(1 if c in vocabulary else len(c.encode()) for c in text)
