"""Solution of the exercise of chapter 6."""

import random


def rows_of_step(step: int, rows: int, batch: int, seed: int) -> list[int]:
    """Shuffles all rows with a generator that depends on seed and pass only."""
    number_of_pass, place = divmod(step, rows // batch)
    order = list(range(rows))
    random.Random(f"{seed} {number_of_pass}").shuffle(order)
    return order[place * batch : (place + 1) * batch]
