"""Makes the embedded corpus `poems.jsonl` with a checkpoint of the recipe `tang`.

    python -m poet.sample.make

The model is runs/tang/sft. The titles combine words of season, hour and place. The forms are as
frequent as those of the Tang poets. A mask (poet/prosody) keeps their rules. Regulated verse
follows all of them; old style keeps its line length and one rhyme. No poem repeats a line of the
Tang corpus. No poem occurs twice.
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
from poet.prosody.judge import judge
from poet.prosody.request import read_form
from poet.text import poem_lines

_TIMES = [a + b for a, b in itertools.product("春夏秋冬", ["日", "夜", "曉", "暮", "雨", "晴"])]
_PLACES = (
    "山居 江上 溪行 登樓 獨坐 送客 懷友 舟中 村居 寺中 "
    "聞鐘 望月 聽雨 對酒 閒步 早行 客舍 寄弟 池上 松下"
).split()
TITLES = [time + place for time, place in itertools.product(_TIMES, _PLACES)]
# The share of each form among the Tang poems, measured by `poet evaluate`, without irregular poems.
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
# Rhyme groups of all four tones with many characters.
_OLD_STYLE_RHYMES = "東 支 微 虞 先 陽 庚 尤 紙 語 有 月 屑 陌 職".split()
MODEL = "runs/tang/sft"
POEMS = 4200
_BATCH = 128
_SEED = 0  # the same seed gives the same poems


def main() -> None:
    """Writes poems in all forms until their number is reached, and saves them."""
    errors.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    known_lines = {line for poem in read_corpus("tang").poems for line in poem_lines(poem.text)}
    model, tokenizer = load(MODEL)
    rng = random.Random(_SEED)
    title_of: dict[str, str] = {}  # poem -> title
    for form, share in SHARES.items():
        target = len(title_of) + round(POEMS * share / sum(SHARES.values()))
        for batch in itertools.count():
            rhyme = rng.choice(_OLD_STYLE_RHYMES) if form.endswith("古體") else None
            request = read_form(form, rhyme=rhyme)
            titles = rng.choices(TITLES, k=_BATCH)
            poems = write(
                model,
                tokenizer,
                titles,
                seed=_SEED + batch,
                max_new_tokens=request.tokens,
                form=request,
            )
            for title, poem in zip(titles, poems, strict=True):
                # A poem in old style can turn out to be regulated verse with faults.
                has_form = judge(poem).form == form
                is_new = known_lines.isdisjoint(poem_lines(poem))
                if has_form and is_new and len(title_of) < target:
                    title_of.setdefault(poem, title)
            print(f"{form}: {len(title_of)} poems in total", flush=True)
            if len(title_of) >= target:
                break
    rows = [
        {"title": title, "author": "", "paragraphs": poem.split("\n")}
        for poem, title in title_of.items()
    ]
    rng.shuffle(rows)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(Path(__file__).parent / "poems.jsonl", text)


if __name__ == "__main__":
    errors.run(main)
