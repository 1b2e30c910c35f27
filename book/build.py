"""Writes the code, outputs and numbers of the book into its pages.

    python book/build.py            # writes what has changed; then builds the site
    python book/build.py --check    # changes nothing, and lists what is wrong

The pages name each source in an HTML comment (book/marks.py). The exit code is 1 if a source is
missing, if a number in the prose has no source, or if a part was out of date. After a number has
changed, read the sentences around that number. The numbers with their sources are listed in
book/numbers.md.
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import marks
from marks import BOOK, FENCE, NUMBER, ROOT, Stale

# Digits that are names, and not measurements.
NAMES = re.compile(
    r"""
    ^\#+\s+\d+\.                                # the number of a chapter in its heading
    | ^\s*\d+\.\s                               # a list
    | [Cc]hapters?\s\d+(\s(and|to)\s\d+)?       # a reference to a chapter
    | 第\s?\d+(\s?[和、到至]\s?\d+)*\s?章
    | [Qq]uestion\s\d | 问题\s?\d
    | [A-Za-z][\w-]*\d[\w.-]*                   # GPT-2, bfloat16, U+FDD0
    | arXiv:\d+\.\d+
    """,
    re.VERBOSE | re.MULTILINE,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only list what is wrong")
    options = parser.parse_args()
    problems: list[str] = []
    rows: list[tuple[str, str, str, str]] = []
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = rewrite(page, before, problems, rows)
        if after != before and not options.check:
            page.write_text(after, encoding="utf-8")
        problems += unbound(page, after)
    listing = BOOK / "numbers.md"
    text = format_sources(rows)
    if not listing.is_file() or listing.read_text(encoding="utf-8") != text:
        problems.append("book/numbers.md: was out of date")
        if not options.check:
            listing.write_text(text, encoding="utf-8")
    print("\n".join(problems), file=sys.stderr)
    print(f"{len(rows)} numbers in {len(pages())} pages, {len(problems)} problems")
    if problems and options.check:
        print("Nothing was written. `make book` writes the parts that are out of date.")
    return 1 if problems else 0


def pages() -> list[Path]:
    """Returns the pages that people wrote. numbers.md and six_forms.md are made by commands."""
    made = {"numbers.md", "six_forms.md"}
    found = [*BOOK.glob("*.md"), *BOOK.glob("zh/*.md")]
    return sorted(path for path in found if path.name not in made)


def rewrite(page: Path, text: str, problems: list[str], rows: list) -> str:
    """Returns the page with current code, outputs and numbers. Adds what changed to `problems`."""
    name = page.relative_to(ROOT).as_posix()

    def line(match: re.Match) -> int:
        return text.count("\n", 0, match.start()) + 1

    def fence(match: re.Match) -> str:
        try:
            current = marks.fence_text(match["kind"], match["source"])
        except Stale as problem:
            problems.append(f"{name}:{line(match)}: {problem}")
            return match.group()
        if current == match["text"]:
            return match.group()
        problems.append(f"{name}:{line(match)}: {match['source']} was out of date")
        return match.group()[: match.start("text") - match.start()] + current + match["close"]

    def number(match: re.Match) -> str:
        try:
            current, source = marks.value(match["key"], match["number"])
        except Stale as problem:
            problems.append(f"{name}:{line(match)}: {problem}")
            return match.group()
        shown = marks.written_like(current, match["number"])
        if shown != match["number"]:
            problems.append(
                f"{name}:{line(match)}: {match['key']} was {match['number']}, is {shown}"
            )
        rows.append((name, shown, match["key"], source))
        return f"{shown}<!--={match['key']}-->"

    return NUMBER.sub(number, FENCE.sub(fence, text))


def unbound(page: Path, text: str) -> list[str]:
    """Returns a line for each number that names no source and is not allowed."""
    name = page.relative_to(ROOT).as_posix()
    known = allowed_in(page.name[:2])
    advice = "Add a mark (book/marks.py), or allow it in book/allowed/."
    found = []
    for number, line in enumerate(prose(text).splitlines(), 1):
        for digits in re.findall(r"\d(?:[\d,.]*\d)?", line):
            if digits not in known:
                found.append(f"{name}:{number}: {digits} names no source. {advice}")
    return found


def allowed_in(chapter: str) -> set[str]:
    """Returns the numbers that book/allowed/NN.yaml allows without a source."""
    path = BOOK / "allowed" / f"{chapter}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line.partition(":")[0] for line in lines if not line.startswith("#")}


def prose(text: str) -> str:
    """Returns a page without code, addresses, names and numbers with a source.

    Line numbers stay.
    """

    def blank(match: re.Match) -> str:
        return "\n" * match.group().count("\n")

    text = re.sub(r"(?ms)^<!-- (?:code|output): .*?^```\w*\n.*?^```", blank, text)
    text = re.sub(r"(?ms)^```[a-z]+\n.*?^```", blank, text)  # a fence without a language is prose
    text = re.sub(r"(?m)^ {4}\S.*$", "", text)  # commands
    text = NUMBER.sub("", text)
    text = re.sub(r"(?s)<!--.*?-->|\$\$.*?\$\$", blank, text)
    text = re.sub(r"\$[^$\n]+\$", "", text)
    text = re.sub(r"`[^`\n]*[A-Za-z\u4e00-\u9fff][^`\n]*`", "", text)
    text = re.sub(r"\]\([^)\n]*\)|<[^>\n]*>|https?://\S+", "]", text)
    return NAMES.sub("", text)


def format_sources(rows: list[tuple[str, str, str, str]]) -> str:
    """Returns the page book/numbers.md: each number of the English edition with its source."""
    lines = [
        "# Where the numbers come from",
        "",
        "Each number in the prose of this book is read from a result. This table is made by",
        "`make book`. The key `04.loss` means `loss` in `book/results/04.json`. It is the mean of",
        "three seeds, unless the key ends with `min` or `max`.",
        "",
        "| page | number | key | source |",
        "|---|---|---|---|",
    ]
    english = dict.fromkeys(row for row in rows if "/zh/" not in row[0])
    lines += [
        f"| [{Path(page).stem}]({Path(page).name}) | {shown} | `{key}` | {source} |"
        for page, shown, key, source in english
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
