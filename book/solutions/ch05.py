"""Solution of the exercise of chapter 5."""


def largest_width(budget: int, vocabulary: int, layers: int, positions: int) -> int:
    """Tries one width after the other."""
    width = 64
    while parameters(width + 64, vocabulary, layers, positions) <= budget:
        width += 64
    return width


def parameters(width: int, vocabulary: int, layers: int, positions: int) -> int:
    """Returns the number of parameters of a GPT-2 with tied embeddings."""
    tables = (vocabulary + positions) * width
    attention = 4 * width**2 + 4 * width  # four matrices, each with a bias
    mlp = 8 * width**2 + 5 * width  # up to four times the width, and down
    norms = 2 * 2 * width  # two norms, each with weights and biases
    return tables + layers * (attention + mlp + norms) + 2 * width  # and the last norm
