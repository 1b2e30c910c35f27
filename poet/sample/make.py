"""Makes the embedded corpus anew: poems that a checkpoint of the recipe `tang` writes for titles put together here.

    python -m poet.sample.make --model runs/tang/sft --corpus PATH_OF_THE_TANG_POEMS --poems 4200

Their forms are as frequent as the poets'. Each keeps its form's rules, written under a mask (poet/prosody/forms.py): regulated verse
all of them, old style its lengths and one rhyme. No line of any of them stands in the Tang corpus, and no text comes twice.
"""

import argparse
import itertools
import json
import random
from pathlib import Path

from poet import errors
from poet.data.poems import read_corpus
from poet.files import write_text
from poet.generation.load import load
from poet.generation.write import write
from poet.prosody.forms import read_form
from poet.prosody.judge import judge
from poet.text import poem_lines

_TIMES = [a + b for a, b in itertools.product("春夏秋冬", ["日", "夜", "曉", "暮", "雨", "晴"])]
_PLACES = "山居 江上 溪行 登樓 獨坐 送客 懷友 舟中 村居 寺中 聞鐘 望月 聽雨 對酒 閒步 早行 客舍 寄弟 池上 松下".split()
# Of the poets, by `poet evaluate`; what is irregular is left out.
SHARES = {
    "五言律詩": 0.272,
    "七言絕句": 0.196,
    "五言古體": 0.156,
    "七言律詩": 0.150,
    "五言排律": 0.074,
    "七言古體": 0.064,
    "五言絕句": 0.054,
    "七言排律": 0.004,
}
_RHYMES_OF_OLD_STYLE = (
    "東 支 微 虞 先 陽 庚 尤 紙 語 有 月 屑 陌 職".split()
)  # wide groups of all four tones
_BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="runs/tang/sft")
    parser.add_argument("--corpus", default="tang", help="the poems of which no line may come back")
    parser.add_argument("--poems", type=int, default=4200)
    parser.add_argument("--seed", type=int, default=0)
    parser.error = errors.refuse  # type: ignore[method-assign]
    options = parser.parse_args()
    tang = read_corpus(options.corpus, min_couplets=1, equal_couplets=False, forbidden="").poems
    known = {line for poem in tang for line in poem_lines(poem.text)}
    model, tokenizer = load(options.model)
    draw = random.Random(options.seed)
    titles = [a + b for a, b in itertools.product(_TIMES, _PLACES)]
    found: dict[str, str] = {}
    for form, share in SHARES.items():
        wanted = len(found) + round(options.poems * share / sum(SHARES.values()))
        for batch in itertools.count():
            rhyme = draw.choice(_RHYMES_OF_OLD_STYLE) if form.endswith("古體") else None
            request = read_form(form, rhyme=rhyme)
            chosen = draw.choices(titles, k=_BATCH)
            settings = {
                "seed": options.seed + batch,
                "max_new_tokens": request.tokens,
                "form": request,
            }
            for title, poem in zip(chosen, write(model, tokenizer, chosen, **settings)):
                # What was meant as old style may come out as regulated verse with faults.
                if (
                    known.isdisjoint(poem_lines(poem))
                    and judge(poem).form == form
                    and len(found) < wanted
                ):
                    found.setdefault(poem, title)
            print(f"{form}: {len(found)} poems in all", flush=True)
            if len(found) >= wanted:
                break
    rows = [
        {"title": title, "author": "", "paragraphs": poem.split("\n")}
        for poem, title in found.items()
    ]
    draw.shuffle(rows)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(Path(__file__).parent / "poems.jsonl", text)


if __name__ == "__main__":
    errors.run(main)
