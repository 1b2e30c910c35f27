"""A page of verse, one poem in each form of regulated verse, marked by the judge: book/six_forms.md.

    python book/six_forms.py --model runs/tang/sft

The forms are kept while the model writes (poet/prosody/mask.py); which poem of eight is shown is the model's own choice, by its
likelihood. Nobody chose among them.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PAGE = (
    ("五言絕句", "山中", None), ("七言絕句", "送友人歸江南", None), ("五言律詩", "春夜喜雨", "東"),
    ("七言律詩", "秋日登樓", None), ("五言排律", "題山寺", None), ("七言排律", "寄遠", None),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="runs/tang/sft")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    from poet.files import write_text
    from poet.generation.load import load
    from poet.generation.write import write
    from poet.prosody.request import read_form

    model, tokenizer = load(options.model)
    parts = [
        "# Six forms",
        "Written by the fine-tuned model of the recipe `tang` while a mask kept the form, and marked by `poet.prosody.judge`: under each\n"
        "line the tones it was read with (平 level, 仄 oblique, 中 either). Made by `python book/six_forms.py`; of eight poems\n"
        "the one that the model itself finds likeliest.",
    ]
    for form, title, rhyme in PAGE:
        request = read_form(form, rhyme=rhyme)
        poem = write(model, tokenizer, title, n=8, form=request, seed=options.seed)[0]
        parts.append(marked(title, poem))
    write_text(ROOT / "book" / "six_forms.md", "\n\n".join(parts) + "\n")


def marked(title: str, poem: str) -> str:
    """A poem with its tones between the lines, then what the judge says of it."""
    from poet.prosody.characters import group_name
    from poet.prosody.judge import judge

    judgment = judge(poem)
    rows = [f"## {title}", "```"]
    for number, line in enumerate(poem.split("\n")):
        first, second = judgment.tones[2 * number : 2 * number + 2]
        rows += [line, f"{first}　{second}"]
    rows.append("```")
    kept = "every rule kept" if judgment.regulated else "rules broken"
    rows.append(f"\n{judgment.form}, {kept}, rhyme {', '.join(map(group_name, judgment.rhyme))}.")
    rows += [f"- {verdict}" for verdict in judgment.verdicts]
    return "\n".join(rows)


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
