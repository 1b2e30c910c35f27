"""Solution of the exercise of chapter 0."""


def draw(candidates: dict[str, float], number: float) -> str:
    """Returns the candidate in whose part of the line from 0 to 1 the number lies."""
    for character, probability in candidates.items():
        number -= probability
        if number < 0:
            return character
    return character
