"""Solution of the exercise of chapter 8."""

IGNORED = -100


def make_row(
    prompt: list[int], poem: list[int], end: int, pad: int, length: int
) -> tuple[list[int], list[int]] | None:
    """Returns the ids and the labels of a row, or None if the row does not fit."""
    answer = [*poem, end]
    ids, labels = prompt + answer, [IGNORED] * len(prompt) + answer
    missing = length - len(ids)
    if missing < 0:
        return None
    return ids + [pad] * missing, labels + [IGNORED] * missing
