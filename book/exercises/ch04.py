"""Exercise of chapter 4: what one token reads.

    python book/exercises/ch04.py      # tests your function

Write `attend` with plain Python lists. Do not use torch.
"""

Vector = list[float]


def attend(query: Vector, keys: list[Vector], values: list[Vector]) -> Vector:
    """Returns the vector that a token reads from itself and the tokens before it.

    Args:
        query: The query of the token.
        keys: The keys of all tokens up to this one.
        values: The values of the same tokens.
    """
    raise NotImplementedError("write this function")


def check(attend) -> None:
    """Fails if `attend` is wrong."""
    import torch
    from torch.nn import functional as F

    only = attend([3.0, 1.0], [[0.5, 2.0]], [[7.0, -1.0]])
    assert only == [7.0, -1.0], "a single token can only read itself"
    even = attend([0.0, 0.0], [[1.0, 5.0], [9.0, 2.0]], [[2.0, 0.0], [4.0, 8.0]])
    assert even == [3.0, 4.0], "a query of zeros reads the mean of all values"
    torch.manual_seed(1)
    for tokens, width in ((3, 2), (6, 4), (40, 16)):
        query, keys = torch.randn(1, width), torch.randn(tokens, width)
        values = torch.randn(tokens, width)
        true = F.scaled_dot_product_attention(query[None], keys[None], values[None])[0, 0]
        mine = torch.tensor(attend(query[0].tolist(), keys.tolist(), values.tolist()))
        assert mine.shape == (width,), "the result is as wide as a value"
        assert torch.allclose(mine, true, atol=1e-4), f"{tokens} tokens of width {width}"


if __name__ == "__main__":
    check(attend)
    print("Your function is right.")
