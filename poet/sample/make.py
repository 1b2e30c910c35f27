"""Makes the embedded corpus anew: poems that a checkpoint of the recipe `tang` writes for titles put together here.

    python -m poet.sample.make --model runs/tang/sft --corpus PATH_OF_THE_TANG_POEMS --poems 4200

Kept are well-formed poems no line of which stands in the Tang corpus, each text once.
"""

import argparse
import itertools
import json
import random
import re
from pathlib import Path

from poet import errors, write
from poet.checkpoints import write_text
from poet.corpus import read_corpus
from poet.prosody import line_length

_TIMES = [a + b for a, b in itertools.product("春夏秋冬", ["日", "夜", "曉", "暮", "雨", "晴"])]
_PLACES = "山居 江上 溪行 登樓 獨坐 送客 懷友 舟中 村居 寺中 聞鐘 望月 聽雨 對酒 閒步 早行 客舍 寄弟 池上 松下".split()
_LONGEST = 69  # tokens: eight verses of seven characters and the end mark
_BATCH = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/tang/sft")
    parser.add_argument("--corpus", default="tang", help="the poems of which no line may come back")
    parser.add_argument("--poems", type=int, default=4200)
    parser.add_argument("--seed", type=int, default=0)
    parser.error = errors.refuse  # type: ignore[method-assign]
    options = parser.parse_args()
    tang = read_corpus(options.corpus, min_lines=1, equal_lines=False, forbidden="").poems
    known = {verse for poem in tang for line in poem.lines for verse in _verses(line)}
    model, tokenizer = write.load(options.model)
    draw = random.Random(options.seed)
    titles = [a + b for a, b in itertools.product(_TIMES, _PLACES)]
    found: dict[str, str] = {}
    for batch in itertools.count():
        chosen = draw.choices(titles, k=_BATCH)
        settings = {"seed": options.seed + batch, "batch_size": _BATCH, "max_new_tokens": _LONGEST}
        for title, poem in zip(chosen, write.write_poems(model, tokenizer, chosen, **settings)):
            if line_length(poem) and known.isdisjoint(_verses(poem)):
                found.setdefault(poem, title)
        print(f"{len(found)} poems", flush=True)
        if len(found) >= options.poems:
            break
    rows = [{"title": title, "author": "", "paragraphs": poem.split("\n")} for poem, title in found.items()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[: options.poems])
    write_text(Path(__file__).parent / "poems.jsonl", text)


def _verses(text: str) -> list[str]:
    """The verses of a text, which end at punctuation or with the line."""
    return [verse for verse in re.split(r"[，。？！；、\n]", text) if verse]


if __name__ == "__main__":
    errors.run(main)
