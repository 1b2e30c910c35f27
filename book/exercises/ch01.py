"""Exercise of chapter 1: a tokenizer without a library.

    python book/exercises/ch01.py      # tests your function

Write `encode`. The function `decode` is given. The tokens are names here, without ids.
"""


def encode(text: str, vocabulary: set[str]) -> list[str]:
    """Returns the tokens of a text.

    A character of the vocabulary is one token. Any other character becomes one token for each byte
    of its UTF-8 form, named as in "<0xE9>": two digits in base 16, in capital letters.
    """
    raise NotImplementedError("write this function")


def decode(tokens: list[str]) -> str:
    """Returns the text of some tokens. Only a byte token is longer than one character."""
    pieces = [
        bytes([int(token[3:5], 16)]) if len(token) > 1 else token.encode("utf-8")
        for token in tokens
    ]
    return b"".join(pieces).decode("utf-8")


def check(encode) -> None:
    """Fails if `encode` is wrong."""
    vocabulary = set("春夜雨0x<>E9")
    assert encode("春雨", vocabulary) == ["春", "雨"], "known characters are tokens"
    assert encode("春龘", vocabulary) == ["春", "<0xE9>", "<0xBE>", "<0x98>"], "龘 has three bytes"
    assert encode("\n", vocabulary) == ["<0x0A>"], "two digits, also for a small byte"
    for text in ("", "春夜", "龘", "雨a春龘\n夜", "a night of rain"):
        assert decode(encode(text, vocabulary)) == text, f"{text!r} comes back"
    # A text may look like a byte token. It is still six characters.
    assert len(encode("<0xE9>", vocabulary)) == 6
    assert decode(encode("<0xE9>", vocabulary)) == "<0xE9>"


if __name__ == "__main__":
    check(encode)
    print("Your function is right.")
