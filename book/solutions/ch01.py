"""Solution of the exercise of chapter 1."""


def encode(text: str, vocabulary: set[str]) -> list[str]:
    """Returns characters of the vocabulary, and the bytes of others."""
    tokens = []
    for character in text:
        if character in vocabulary:
            tokens.append(character)
        else:
            tokens += [f"<0x{byte:02X}>" for byte in character.encode("utf-8")]
    return tokens
