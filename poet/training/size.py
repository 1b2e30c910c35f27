"""Computes the size of a GPT-2 and the cost of its training, before the model is built."""

from poet.training.options import WHOLE_SHARE, PretrainOptions

_SHARE_OF_MATMUL_SPEED = 0.5  # measured by benchmarks/bench.py for the recipe `tang`
_SECONDS_PER_STEP = 0.04  # of a step that has almost no products, as in the recipe `sample`


def parameters(options: PretrainOptions, vocabulary: int) -> dict[str, int]:
    """Returns the number of parameters of each part of the model."""
    width, layers = options.n_embd, options.n_layer
    counts = {
        "token embeddings": vocabulary * width,
        "position embeddings": options.n_positions * width,
        "attention": layers * (4 * width**2 + 4 * width),  # query, key, value and output
        "feed-forward layers": layers * (8 * width**2 + 5 * width),  # four times as wide inside
        "norms": layers * 4 * width + 2 * width,
    }
    if not options.tie_word_embeddings:
        counts["output layer"] = vocabulary * width
    return counts


def operations_per_token(options: PretrainOptions, scored: float) -> float:
    """Returns the operations per token of a forward and a backward pass.

    The last layer scores `scored` characters per token.

    A matrix of n parameters takes 6 n operations (Kaplan et al., arXiv:2001.08361). Attention
    multiplies each token with all others of its block, twice.
    """
    width, layers = options.n_embd, options.n_layer
    matrices = layers * 12 * width**2 + scored * width
    attention = 2 * layers * options.n_positions * width
    return 6 * (matrices + attention)


def training_seconds(
    options: PretrainOptions, vocabulary: int, steps: int, batch: int, matmul_gflops: float
) -> float:
    """Returns an estimate of the time of a training, from the speed of matrix products."""
    tokens = steps * batch * options.n_positions
    scored, sample = float(vocabulary), options.sampled_vocabulary
    if sample and not options.plain:
        from poet.speed.sampled_softmax import LEAST_GAIN

        if vocabulary >= LEAST_GAIN * sample:
            scored = (1 - WHOLE_SHARE) * sample + WHOLE_SHARE * vocabulary
    operations = operations_per_token(options, scored) * tokens
    products = operations / (matmul_gflops * 1e9 * _SHARE_OF_MATMUL_SPEED)
    return products + steps * _SECONDS_PER_STEP
