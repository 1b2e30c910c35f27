"""Solution of the exercise of chapter 0."""


def draw(candidates: dict[str, float], number: float) -> str:
    """Returns the candidate whose part of the line from 0 to 1 contains the number."""
    for character, probability in candidates.items():
        number -= probability
        if number < 0:
            return character
    return character
