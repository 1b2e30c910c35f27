"""Makes small corpora for the examples of docs/own_data.md.

    python docs/make_texts.py couplets > couplets.jsonl     poems with titles, in rhymed couplets
    python docs/make_texts.py questions > questions.jsonl   conversations of one question
    python docs/make_texts.py pairs > pairs.jsonl           a prompt, a chosen and a rejected answer

All sentences come from the word lists below, so a small model can learn them.
"""

import argparse
import json
import random
from collections.abc import Iterator

ADJECTIVES = (
    "old small quiet golden silver winding hollow gentle bitter lonely merry frozen".split()
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


def poem(rng: random.Random, couplets: int, rhymed: bool = True) -> list[str]:
    """Returns the lines of a poem. Each pair of lines ends in a rhyme, or in two unlike words."""
    lines = []
    for _ in range(couplets):
        first, second = rng.sample(RHYMES, 2)
        words = rng.sample(first, 2) if rhymed else [rng.choice(first), rng.choice(second)]
        for mark, rhyme in zip(",.", words, strict=True):
            frame = rng.choice(FRAMES)
            adjective, noun, verb = (rng.choice(words) for words in (ADJECTIVES, NOUNS, VERBS))
            line = frame.format(adjective=adjective, noun=noun, verb=verb, rhyme=rhyme)
            lines.append(line + mark)
    return lines


def title(rng: random.Random) -> str:
    return f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}".title()


def couplets(rng: random.Random) -> dict:
    return {"title": title(rng), "text": "\n".join(poem(rng, rng.randint(1, 3)))}


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
    chosen, rejected = poem(rng, 1), poem(rng, 1, rhymed=False)
    prompt = f"Write two lines about {title(rng).lower()}."
    return {"prompt": prompt, "chosen": "\n".join(chosen), "rejected": "\n".join(rejected)}


KINDS = {"couplets": couplets, "questions": questions, "pairs": pairs}


def records(kind: str, count: int, seed: int = 0) -> Iterator[dict]:
    rng = random.Random(seed)
    return (KINDS[kind](rng) for _ in range(count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    for record in records(options.kind, options.count):
        print(json.dumps(record))
