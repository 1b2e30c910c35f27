"""Exercise of chapter 5: the widest model that fits.

    python book/exercises/ch05.py      # tests your function

Write `largest_width`. Count the parameters with a formula. Do not build a model to count them.
"""


def largest_width(budget: int, vocabulary: int, layers: int, positions: int) -> int:
    """Returns the largest width of a GPT-2 with at most `budget` parameters.

    The width is a multiple of 64. The embeddings are tied.
    """
    raise NotImplementedError("write this function")


def check(largest_width) -> None:
    """Fails if `largest_width` is wrong."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    def parameters(width: int, vocabulary: int, layers: int, positions: int) -> int:
        sizes = {"vocab_size": vocabulary, "n_layer": layers, "n_positions": positions}
        ends = {"bos_token_id": 0, "eos_token_id": 0}
        with torch.device("meta"):  # shapes without numbers: it takes no memory
            model = GPT2LMHeadModel(GPT2Config(n_embd=width, n_head=1, **sizes, **ends))
        return model.num_parameters()

    assert largest_width(124_439_808, 50_257, 12, 1024) == 768, "GPT-2 small fits exactly"
    assert largest_width(124_439_807, 50_257, 12, 1024) == 704, "one parameter too few for 768"
    for shape in ((3_000, 3, 128), (9_000, 1, 512), (300, 8, 256)):
        width = largest_width(5_000_000, *shape)
        assert width % 64 == 0, "the width is a multiple of 64"
        assert parameters(width, *shape) <= 5_000_000, f"too wide: {width}"
        assert parameters(width + 64, *shape) > 5_000_000, f"a wider one fits too: {width}"


if __name__ == "__main__":
    check(largest_width)
    print("Your function is right.")
