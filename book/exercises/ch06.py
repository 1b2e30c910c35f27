"""Exercise of chapter 6: which rows does a step read?

    python book/exercises/ch06.py      # tests your function

Write `rows_of_step`. It must not remember anything between two calls: a run that resumes at step
700 calls it for step 700 first.
"""


def rows_of_step(step: int, rows: int, batch: int, seed: int) -> list[int]:
    """Returns the numbers of the rows that a step reads, from 0 to `rows` - 1.

    Each pass has its own random order, and reads no row twice. Rows that do not fill a batch are
    left out at the end of a pass.

    Args:
        step: The number of the step. The first one is 0.
        rows: The number of rows of the training set.
        batch: The number of rows per step.
        seed: Another seed gives another order.
    """
    raise NotImplementedError("write this function")


def check(rows_of_step) -> None:
    """Fails if `rows_of_step` is wrong."""

    def one_pass(number: int, seed: int = 0) -> list[int]:
        steps = range(5 * number, 5 * number + 5)  # 23 rows are five batches of four
        return [row for step in steps for row in rows_of_step(step, 23, 4, seed)]

    later = rows_of_step(7, 23, 4, 0)  # a resumed run begins here
    first = one_pass(0)
    assert len(first) == 20, "a step reads four rows"
    assert len(set(first)) == 20, "a pass reads a row once"
    assert set(first) <= set(range(23)), "there is no such row"
    assert first != sorted(first), "the order is random"
    assert first == one_pass(0), "the same step reads the same rows"
    assert rows_of_step(7, 23, 4, 0) == later, "a resumed run reads the same rows"
    assert first != one_pass(1), "each pass has its own order"
    assert first != one_pass(0, seed=1), "another seed gives another order"


if __name__ == "__main__":
    check(rows_of_step)
    print("Your function is right.")
