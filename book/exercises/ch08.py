"""Exercise of chapter 8: one row of fine-tuning, by hand.

    python book/exercises/ch08.py      # tests your function

Write `make_row`. Do not use the functions of TRL or of the chapter.
"""

IGNORED = -100  # a position with this label has no part in the loss


def make_row(
    prompt: list[int], poem: list[int], end: int, pad: int, length: int
) -> tuple[list[int], list[int]] | None:
    """Returns the ids and the labels of a row, both of `length` numbers.

    The ids are the prompt, the poem, the end mark and the padding. A row that does not fit is
    None: a row that is cut would have no end mark.

    Args:
        prompt: The ids of the prompt. They do not count in the loss.
        poem: The ids of the poem. They count, and so does the end mark.
        end: The id of the end mark.
        pad: The id of the padding. It does not count.
        length: The number of positions of the row.
    """
    raise NotImplementedError("write this function")


def check(make_row) -> None:
    """Fails if `make_row` is wrong."""
    ids, labels = make_row([2, 30, 4], [50, 51], end=1, pad=0, length=8)
    assert ids == [2, 30, 4, 50, 51, 1, 0, 0], "prompt, poem, end mark, padding"
    assert labels[:3] == [IGNORED] * 3, "the prompt does not count"
    assert labels[3:5] == [50, 51], "the poem counts"
    assert labels[5] == 1, "the end mark counts, or the poems of the model never end"
    assert labels[6:] == [IGNORED] * 2, "the padding does not count"
    full = make_row([2, 30, 4], [50, 51], end=1, pad=0, length=6)
    assert full == ([2, 30, 4, 50, 51, 1], [IGNORED] * 3 + [50, 51, 1]), "a row may be full"
    assert make_row([2, 30, 4], [50, 51], end=1, pad=0, length=5) is None, "no row is cut"


if __name__ == "__main__":
    check(make_row)
    print("Your function is right.")
