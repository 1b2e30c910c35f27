"""Makes a small corpus of German couplets, trains on it, and loads the result with `pipeline`.

python book/code/ch12_where_to_go.py
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import lesson
import yaml
from transformers import pipeline, set_seed

from poet import errors
from poet.training.progress import silence_libraries

NOUNS = {  # each German noun has one of three articles: der, die, das
    "Der": {"Fluss": "river", "Wald": "forest", "Mond": "moon", "König": "king", "Vogel": "bird"},
    "Die": {"Blume": "flower", "Straße": "street", "Brücke": "bridge", "Wolke": "cloud"},
    "Das": {"Haus": "house", "Feld": "field", "Meer": "sea", "Mädchen": "girl", "Dorf": "village"},
}
VERBS = {"schläft": "sleeps", "wartet": "waits", "träumt": "dreams", "singt": "sings"}
ENDINGS = [  # each row rhymes
    {"im Schnee": "in the snow", "am See": "by the lake", "im Klee": "in the clover"},
    {"im Wind": "in the wind", "geschwind": "quickly", "wie ein Kind": "like a child"},
    {"bei Nacht": "at night", "ganz sacht": "gently", "mit Macht": "with might"},
    {"im Raum": "in the room", "am Baum": "by the tree", "im Traum": "in a dream"},
]
NAMES = {noun: english for nouns in NOUNS.values() for noun, english in nouns.items()}


def line(rng: random.Random, ending: str) -> str:
    article = rng.choice(list(NOUNS))
    return f"{article} {rng.choice(list(NOUNS[article]))} {rng.choice(list(VERBS))} {ending}"


def couplet(rng: random.Random) -> dict[str, str]:
    """Returns a poem of two lines that rhyme. Its title is the subject of the first line."""
    first, second = (line(rng, ending) for ending in rng.sample(list(rng.choice(ENDINGS)), 2))
    return {"title": " ".join(first.split()[:2]), "text": f"{first},\n{second}."}


def in_english(verse: str) -> str:
    """Returns a line word by word. A word that is not in the lists becomes a question mark."""
    words = verse.rstrip(",.").split(" ", 3)
    if len(words) < 4:
        return "?"
    ending = next((row[words[3]] for row in ENDINGS if words[3] in row), "?")
    return f"the {NAMES.get(words[1], '?')} {VERBS.get(words[2], '?')} {ending}"


def show(title: str, poem: str) -> None:
    """Prints a poem with its title, and the meaning of each line."""
    print(title)
    for verse in poem.splitlines():
        print(f"    {verse:32} {in_english(verse)}")


def has_right_article(verse: str) -> bool:
    words = verse.split()
    return len(words) > 1 and words[1] in NOUNS.get(words[0], {})


def rhymes(poem: str) -> bool:
    """Returns whether a poem is two lines that end in different words of one row in `ENDINGS`."""
    ends = [verse.rstrip(",.").split(" ", 3)[-1] for verse in poem.splitlines()]
    return len(set(ends)) == len(ends) == 2 and any(set(ends) <= row.keys() for row in ENDINGS)


def train(corpus: Path, run: Path) -> str:
    """Runs the command that a reader would type, and returns what it printed."""
    command = [sys.executable, "run.py", "--recipe", "own", "--corpus", str(corpus)]
    command += ["--output_dir", str(run), "--stages", "data,pretrain,sft"]
    print("training, without output, for less than a minute …", file=sys.stderr)
    done = subprocess.run(command, cwd=lesson.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def ask(model: Path, titles: list[str], seed: int) -> list[str]:
    """Returns one poem per title. This function uses transformers only."""
    poet = pipeline("text-generation", model=str(model), device="cpu")
    set_seed(seed)
    chats = [[{"role": "user", "content": title}] for title in titles]
    return [answer[0]["generated_text"][-1]["content"] for answer in poet(chats, batch_size=50)]


def write_figure(poems: list[dict[str, str]]) -> None:
    """Writes the data of book/figures/12-where-to-go.html: rules and two texts."""
    rules = yaml.safe_load((lesson.ROOT / "configs/own/choices.yaml").read_text(encoding="utf-8"))
    sample = (lesson.ROOT / "poet/sample/poems.jsonl").read_text(encoding="utf-8").splitlines()
    chinese = ["\n".join(json.loads(row)["paragraphs"]) for row in sample[:40]]
    german = [poem["text"] for poem in poems[:40]]
    examples = [
        {"english": "German couplets", "chinese": "德语两行诗", "text": "\n\n".join(german)},
        {"english": "Chinese poems", "chinese": "中文诗", "text": "\n\n".join(chinese)},
    ]
    lesson.write_data(__file__, RULES=rules, EXAMPLES=examples)


def main() -> None:
    chosen = lesson.options(__doc__, poems=1000, figure=0)
    silence_libraries()
    rng = random.Random(chosen.seed)
    poems = [couplet(rng) for _ in range(chosen.poems)]
    if chosen.figure:
        return write_figure(poems)
    lesson.part("corpus")
    show(poems[0]["title"], poems[0]["text"])

    with tempfile.TemporaryDirectory() as folder:
        corpus, run = Path(folder) / "couplets.jsonl", Path(folder) / "run"
        rows = [json.dumps(poem, ensure_ascii=False) for poem in poems]
        corpus.write_text("\n".join(rows), encoding="utf-8")
        printed = train(corpus, run).replace(folder, "FOLDER")
        lesson.part("chosen")
        print(printed[printed.index("Rows: half") :].partition("\n\n")[0])
        titles = [f"{article} {noun}" for article in NOUNS for noun in NOUNS[article]] * 10
        written = ask(run / "sft", titles, chosen.seed)

    lesson.part("poems")
    for title, poem in list(zip(titles, written, strict=True))[:3]:
        show(title, poem)
    lines = [verse for poem in written for verse in poem.splitlines()]
    percent = {
        "lines with the right article": 100 * sum(map(has_right_article, lines)) / len(lines),
        "couplets that rhyme": 100 * sum(map(rhymes, written)) / len(written),
        "couplets about their title": 100
        * sum(map(str.startswith, written, titles))
        / len(written),
    }
    lesson.part("shares")
    for name, share in percent.items():
        print(f"{name:28} {share:3.0f}%")
    lesson.keep(poems=len(poems), **{name.split()[-1]: share for name, share in percent.items()})
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
