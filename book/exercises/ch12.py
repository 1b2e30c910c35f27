"""Exercise of chapter 12: how long a text becomes if rare characters are left out.

    python book/exercises/ch12.py      # tests your function

Write `tokens_with`. Do not use the tokenizer of the project.
"""


def tokens_with(text: str, kept: int) -> int:
    """Returns the number of tokens of a text.

    The vocabulary has the `kept` most frequent characters of the text. Each of them is one token.
    Any other character becomes the bytes of its UTF-8 form, with one token per byte.
    """
    raise NotImplementedError("write this function")


def check(tokens_with) -> None:
    """Fails if `tokens_with` is wrong."""
    assert tokens_with("aaab", 2) == 4, "all characters are kept: one token per character"
    assert tokens_with("aaab", 1) == 4, "b is one byte, so nothing changes"
    assert tokens_with("ooöo", 1) == 5, "ö is two bytes"
    assert tokens_with("月月風", 1) == 5, "風 is three bytes"
    assert tokens_with("月月風", 0) == 9, "without a vocabulary, all characters are bytes"
    assert tokens_with("", 3) == 0, "an empty text"


if __name__ == "__main__":
    check(tokens_with)
    print("Your function is right.")
