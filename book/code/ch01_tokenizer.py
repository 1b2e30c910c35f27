"""Turns texts into numbers and back: characters, bytes, a prompt, and merged pieces.

python book/code/ch01_tokenizer.py
"""

import random
import re
from collections import Counter
from collections.abc import Iterable

import lesson
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from poet import errors
from poet.data.run_data import load_stage, make_tokenizer
from poet_tokenizer import DEFAULT_INSTRUCTION, SPECIAL_TOKENS, ask

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # the names of the byte tokens
TITLE = "春雨"  # spring rain
STEPS = (1, 10, 100, 1000)  # vocabularies of so many poems
MERGED = 5000  # tokens of the vocabulary with merged pieces


def character_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Returns a tokenizer whose vocabulary is the 256 bytes and the characters of the texts."""
    names = [*BYTES, *sorted(set("".join(texts)))]
    vocabulary = {name: id for id, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def merging_tokenizer(texts: list[str], size: int) -> Tokenizer:
    """Returns a tokenizer that has learned `size` tokens: characters, and frequent pieces."""
    tokenizer = Tokenizer(models.BPE())
    rows = pre_tokenizers.Split("\n", "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([rows, pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def count_unknown(tokenizer: Tokenizer, text: str) -> int:
    """Returns how many characters of the text are outside the vocabulary."""
    return sum(tokenizer.token_to_id(character) is None for character in text)


def comes_back(tokenizer: Tokenizer, text: str) -> bool:
    """Returns whether decoding gives the text again."""
    return tokenizer.decode(tokenizer.encode(text).ids) == text


def random_texts(seed: int, count: int = 1000) -> list[str]:
    """Returns texts of random characters from all of Unicode."""
    draw = random.Random(seed)
    codes = [*range(0xD800), *range(0xE000, 0x110000)]  # the gap holds no characters
    return ["".join(map(chr, draw.choices(codes, k=20))) for _ in range(count)]


def rare_share(tokenizer: Tokenizer, texts: list[str], times: int = 10) -> float:
    """Returns the share of the vocabulary that the texts use less than `times` times."""
    counts = Counter(id for text in texts for id in tokenizer.encode(text).ids)
    return 1 - sum(count >= times for count in counts.values()) / tokenizer.get_vocab_size()


def write_figure(poems: list[str], vocabulary: Iterable[str]) -> None:
    """Writes the characters in the order of their first poem, for the chapter's figure."""
    characters = "".join(dict.fromkeys([*"".join(poems), *vocabulary]))
    counts = {count: len(set("".join(poems[:count]))) for count in STEPS}
    counts["all"] = len(characters)
    data = {"instruction": DEFAULT_INSTRUCTION, "counts": counts, "characters": characters}
    lesson.write_data(__file__, DATA=data)


def show(tokens: list[str], ids: list[int], per_row: int = 8) -> None:
    """Prints the tokens, each with its id."""
    cells = [f"{repr(token)[1:-1]} {id}" for token, id in zip(tokens, ids, strict=True)]
    for start in range(0, len(cells), per_row):
        print("  ".join(cells[start : start + per_row]))


def main() -> None:
    chosen = lesson.options(__doc__, poems=2, figure=0)
    rows = load_stage(chosen.run, "pretrain")
    poems, held_out = rows["train"][:]["text"], "".join(rows["test"][:]["text"])

    lesson.part("ids")
    small = character_tokenizer(poems[: chosen.poems])
    print(
        f"vocabulary of {chosen.poems} poems: {small.get_vocab_size() - 256} characters, 256 bytes"
    )
    line = small.encode(poems[0][:10])
    show(line.tokens, line.ids)
    print(f"decoded: {small.decode(line.ids)!r}")

    lesson.part("bytes")
    unseen = small.encode("春龘")
    show(unseen.tokens, unseen.ids)
    print(f"decoded: {small.decode(unseen.ids)}")
    print(f"decoded without the last token: {small.decode(unseen.ids[:-1])}")

    lesson.part("lossless")
    texts = random_texts(chosen.seed)
    back = sum(comes_back(small, text) for text in texts)
    print(f"{back:,} of {len(texts):,} random texts came back unchanged")

    lesson.part("growth")
    print("poems  characters  unknown of 1,000 held-out characters")
    for count in (*STEPS, len(poems)):
        tokenizer = character_tokenizer(poems[:count])
        known = tokenizer.get_vocab_size() - len(BYTES)
        unknown = 1000 * count_unknown(tokenizer, held_out) / len(held_out)
        print(f"{count:5,} {known:11,} {unknown:10.0f}")

    lesson.part("prompt")
    tokenizer = make_tokenizer(chosen.run, 128)
    ids = tokenizer.apply_chat_template(ask(TITLE))["input_ids"]
    show(tokenizer.convert_ids_to_tokens(ids), ids)

    lesson.part("tag")
    tagged = tokenizer.apply_chat_template(ask(f"{TITLE}<RES>"))["input_ids"]
    show(tokenizer.convert_ids_to_tokens(tagged), tagged)

    lesson.part("merges")
    merging, single = merging_tokenizer(poems, MERGED), character_tokenizer(poems)
    start = poems[0].partition("\n")[2][:12]  # the first couplet
    print(" ".join(merging.encode(start).tokens))
    lines = [line for line in re.split(r"[，。\n]", held_out) if len(line) == 5]
    sizes = Counter(len(merging.encode(line).ids) for line in lines)
    for size, count in sorted(sizes.items()):
        print(f"{100 * count / len(lines):3.0f} of 100 lines of five characters have {size} tokens")

    lesson.keep(
        vocabulary=len(tokenizer),
        characters=len(tokenizer) - len(SPECIAL_TOKENS) - len(BYTES),
        prompt=len(ids),
        tagged=len(tagged),
        poems=len(poems),
        unknown=unknown,
        returned=back,
        shorter=1 - len(merging.encode(held_out).ids) / len(held_out),
        rare=rare_share(merging, poems),
        rare_characters=rare_share(single, poems),
    )
    lesson.end(chosen)
    if chosen.figure:
        write_figure(poems, sorted(token for token in tokenizer.get_vocab() if len(token) == 1))


if __name__ == "__main__":
    errors.run(main)
