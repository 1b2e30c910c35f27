"""Makes small corpora for the examples of docs/own_data.md.

    python docs/make_texts.py couplets > couplets.jsonl     poems with titles, in rhymed couplets
    python docs/make_texts.py questions > questions.jsonl   conversations of one question
    python docs/make_texts.py pairs > pairs.jsonl           a title, a short poem and a long one
    python docs/make_texts.py check runs/couplets/sft       measures models that write couplets

All sentences come from the word lists below, so a small model can learn them.
"""

import argparse
import json
import random
from collections.abc import Iterator

from poet import errors

ADJECTIVES = (
    "tall small quiet golden silver winding hollow gentle bitter lonely merry frozen".split()
)
NOUNS = (
    "river lantern garden meadow harbor window valley willow chapel orchard hunter sailor".split()
)
VERBS = "waits sleeps sings dreams turns rests wakes calls".split()
RHYMES = [
    "light night bright sight white".split(),
    "day way gray stay play".split(),
    "sea tree free bee key".split(),
    "rain lane plain grain again".split(),
    "snow slow glow below ago".split(),
    "moon soon tune June noon".split(),
    "sky fly high dry by".split(),
    "stone alone unknown grown thrown".split(),
]
FRAMES = [
    "The {adjective} {noun} {verb} beside the {rhyme}",
    "A {adjective} {noun} {verb} and turns to {rhyme}",
    "And still the {noun} {verb}, {adjective} as {rhyme}",
    "I hear the {noun}, {adjective} as the {rhyme}",
]
ANIMALS = {
    "cow": ("grass", "a meadow", "calf"), "bee": ("nectar", "a hive", "larva"),
    "owl": ("mice", "a hollow tree", "owlet"), "frog": ("flies", "a pond", "tadpole"),
    "horse": ("hay", "a stable", "foal"), "bear": ("berries", "a cave", "cub"),
    "duck": ("weeds", "a lake", "duckling"), "sheep": ("clover", "a field", "lamb"),
    "goat": ("leaves", "a hill", "kid"), "fox": ("rabbits", "a den", "cub"),
    "swan": ("reeds", "a river", "cygnet"), "deer": ("bark", "a forest", "fawn"),
}  # fmt: skip
ASKED = ["What does {a} eat?", "Where does {a} live?", "What is a young {name} called?"]
POLITE = ["", "Tell me: ", "Please answer. ", "A question: ", "I wonder. ", "Quick: "]


def poem(rng: random.Random, couplets: int) -> str:
    """Returns a poem of two lines per couplet. The lines of a couplet rhyme."""
    lines = []
    for _ in range(couplets):
        words = rng.sample(rng.choice(RHYMES), 2)
        for mark, rhyme in zip(",.", words, strict=True):
            frame = rng.choice(FRAMES)
            adjective, noun, verb = (rng.choice(words) for words in (ADJECTIVES, NOUNS, VERBS))
            line = frame.format(adjective=adjective, noun=noun, verb=verb, rhyme=rhyme)
            lines.append(line + mark)
    return "\n".join(lines)


def title(rng: random.Random) -> str:
    return f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}".title()


def couplets(rng: random.Random) -> dict:
    return {"title": title(rng), "text": poem(rng, rng.randint(1, 3))}


def questions(rng: random.Random) -> dict:
    name, (food, home, young) = rng.choice(list(ANIMALS.items()))
    a = f"an {name}" if name[0] in "aeiou" else f"a {name}"
    number = rng.randrange(3)
    asked = rng.choice(POLITE) + ASKED[number].format(a=a, name=name)
    young = f"an {young}" if young[0] in "aeiou" else f"a {young}"
    answer = [f"{a} eats {food}.", f"{a} lives in {home}.", f"A young {name} is called {young}."]
    reply = answer[number][0].upper() + answer[number][1:]
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    }


def pairs(rng: random.Random) -> dict:
    chosen, rejected = poem(rng, 1), poem(rng, rng.randint(2, 3))
    return {"prompt": title(rng), "chosen": chosen, "rejected": rejected}


KINDS = {"couplets": couplets, "questions": questions, "pairs": pairs}


def records(kind: str, count: int, seed: int = 0) -> Iterator[dict]:
    rng = random.Random(seed)
    return (KINDS[kind](rng) for _ in range(count))


def rhymes(text: str) -> bool:
    """Returns whether each pair of lines ends in two different words that rhyme."""
    ends = [line.rstrip(",.").split(" ")[-1] for line in text.splitlines()]
    return len(ends) % 2 == 0 and all(
        first != second and any({first, second} <= set(words) for words in RHYMES)
        for first, second in zip(ends[::2], ends[1::2], strict=True)
    )


def check(model: str, count: int = 200) -> str:
    """Returns how many poems of a model have two lines, and how many rhyme."""
    import poet

    rng = random.Random(1)
    poems = poet.write(*poet.load(model), [title(rng) for _ in range(count)], seed=0)
    short = sum(poem.count("\n") == 1 for poem in poems) / count
    rhymed = sum(map(rhymes, poems)) / count
    return f"{model}: of {count} poems, {short:.0%} have two lines and {rhymed:.0%} rhyme"


def main() -> None:
    parser = errors.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=[*KINDS, "check"])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    if options.kind == "check":
        for model in options.models:
            print(check(model))
    else:
        for record in records(options.kind, options.count):
            print(json.dumps(record))


if __name__ == "__main__":
    errors.run(main)
