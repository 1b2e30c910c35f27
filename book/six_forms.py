"""Writes book/six_forms.md: one poem in each form of regulated verse, marked by the judge.

    python book/six_forms.py --model runs/tang/sft

A mask keeps the form while the model writes (poet/prosody/mask.py). Of eight poems, the page shows
the likeliest one. Nobody chose among them.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ENGLISH = ROOT / "book" / "six_forms.yaml"  # a new line needs English there: the page shows a "?"

# form, title, what the title means, rhyme group
POEMS = (
    ("五言絕句", "山中", "In the Hills", None),
    ("七言絕句", "送友人歸江南", "Seeing Off a Friend Who Returns to the South", None),
    ("五言律詩", "春夜喜雨", "Joyful Rain on a Spring Night", "東"),
    ("七言律詩", "秋日登樓", "Climbing a Tower on an Autumn Day", None),
    ("五言排律", "題山寺", "On a Mountain Temple", None),
    ("七言排律", "寄遠", "To One Far Away", None),
)
OPENING = """\
# Six forms

The fine-tuned model of the recipe `tang` wrote these poems while a mask kept the form. Of eight
poems per title, the page shows the one that the model finds likeliest. [Forms, tones and
rhyme](../docs/verse.md) explains the terms.

Below each couplet stand the tones, marked by the judge (`poet/prosody/judge.py`): 平 is level, 仄
is oblique, 中 is either. A translation of both lines follows. It stays close to the words. Where a
line has no sense in Chinese, the translation has none.

Notes name the places where an exception to a rule was used. The Chinese name of the exception is in
brackets: 小拗 means *slight irregularity*, and 本句救 *mended within the line*. In a line of seven
characters, a note gives the last five tones.

Made by `python book/six_forms.py`."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="runs/tang/sft", help="folder of a fine-tuned model")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    options = parser.parse_args()

    from poet.files import write_text
    from poet.generation.load import load
    from poet.generation.write import write
    from poet.prosody.request import read_form

    model, tokenizer = load(options.model)
    parts = [OPENING]
    for form, title, meaning, rhyme in POEMS:
        request = read_form(form, rhyme=rhyme)
        poem = write(model, tokenizer, title, n=8, form=request, seed=options.seed)[0]
        parts.append(marked(title, meaning, poem))
    write_text(ROOT / "book" / "six_forms.md", "\n\n".join(parts) + "\n")


def marked(title: str, meaning: str, poem: str) -> str:
    """Returns a section: the poem with tones and English, then the verdicts of the judge."""
    import yaml

    from poet.prosody.judge import judge
    from poet.prosody.names import FORMS, rhyme_label
    from poet.text import poem_lines

    english = yaml.safe_load(ENGLISH.read_text(encoding="utf-8"))
    judgment = judge(poem)
    rows = [f'## {title} ("{meaning}")', "", "```"]
    for number, couplet in enumerate(poem.split("\n")):
        first, second = judgment.tones[2 * number : 2 * number + 2]
        rows += [couplet, f"{first}　{second}"]
        rows += [f"    {english.get(line, '?')}" for line in poem_lines(couplet)]
    rows += ["```", ""]
    rules = "keeps every rule" if judgment.regulated else "breaks a rule"
    rhyme = " or ".join(map(rhyme_label, judgment.rhyme))
    rows.append(f"{FORMS[judgment.form].label}. It {rules} and rhymes in {rhyme}.")
    if judgment.verdicts:
        rows += ["", *(f"- {verdict}" for verdict in judgment.verdicts)]
    return "\n".join(rows)


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
