"""Layouts: how poems stand in a plain text, and how lines stand in a poem.

A text file has one layout. Its first rows decide. These layouts are tried in this order:

    # 春曉                              poems under headings with #
    春眠不覺曉，處處聞啼鳥。

    春曉:春眠不覺曉，處處聞啼鳥。       title and text in one row, separated by a tab, |, : or comma
    春曉|孟浩然|春眠不覺曉，處處聞啼鳥。

    1. 春曉                             numbered poems: also 001, 一、, 第一首, 其一, IV, Sonnet 18
    春眠不覺曉，處處聞啼鳥。

    春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。          a row per poem, without titles
    春眠不覺曉|處處聞啼鳥|夜來風雨聲|花落知多少

    春曉                                poems with a title, without blank rows (Chinese only)
    孟浩然
    春眠不覺曉，處處聞啼鳥。

    春曉                                poems separated by blank rows, with or without titles
    春眠不覺曉，處處聞啼鳥。

    登鸛雀樓
    白日依山盡，黃河入海流。

A blank row may follow a title. In any other text, each paragraph is a document without a title.

Chinese lines end in marks, and titles rarely do. Verse without marks has lines of 4 to 7
characters. A title there may be as long as a line. It is then found because the number of rows is
odd. In other languages the titles are shorter than the lines, or only the titles have capitals.

It knows rows of text. It does not know files or columns.
"""

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from poet.errors import UserError
from poet.text import HAN, LINE_END

LONGEST_POEM = 1_000_000  # characters; bounds the memory for a text without blank rows
_HEAD = 2_000  # the rows that decide
_NEARLY_ALL = 0.95
_CLOSING_QUOTES = "」』”’\"'"

Row = tuple[str, str]  # the place as an error names it, and the text
Block = list[str]  # rows that belong together
Record = dict[str, Any]
Records = Iterator[tuple[str, Record]]
IsLine = Callable[[str], bool]
_AUTHOR = re.compile(r"^(by\s|作者\s*[:：])\s*", re.IGNORECASE)


class Layout(NamedTuple):
    """A layout of a text: its name, and its reader."""

    name: str
    read: Callable[[Iterator[Row]], Records]


def read_text(rows: Iterable[Row], is_markdown: bool, found: Counter[str]) -> Records:
    """Yields (place, record) for each poem or document of a text. Counts the layout in `found`."""
    rows = ((place, row.rstrip()) for place, row in rows)
    rows = itertools.dropwhile(lambda item: not item[1], rows)
    head: list[Row] = []
    size = 0
    for place, row in rows:
        head.append((place, row))
        size += len(row)
        if len(row) > LONGEST_POEM:
            _refuse_long(place)
        if len(head) == _HEAD or size > LONGEST_POEM // 2:
            break
    if not head:
        return
    try:
        layout = detect([row for _, row in head], is_markdown)
    except UserError as error:
        raise UserError(f"{head[0][0]}: {error}") from error
    found[layout.name] += 1
    yield from layout.read(itertools.chain(head, rows))


def detect(head: list[str], is_markdown: bool = False) -> Layout:
    """Returns the layout of a text from its first rows. The first one is not blank."""
    head = [row.strip() for row in head]
    rows = [row for row in head if row]
    is_chinese = _is_chinese(rows)
    is_line = _line_test(rows) if is_chinese else _never
    has_blanks = "" in head[: len(head) - head[::-1].index(rows[-1])]
    if _MARKDOWN.match(rows[0]) or (is_markdown and any(map(_MARKDOWN.match, rows))):
        return Layout("poems under headings with #", lambda rows: _read_markdown(rows, is_line))
    if cells := _find_cells(rows, is_chinese, "\t|｜"):
        return Layout(cells.name, cells.read)
    if style := _find_numbers(rows):
        return _numbered_layout(rows, style, is_line, is_chinese)
    if cells := _find_cells(rows, is_chinese, "：:, \u3000" if is_chinese else ":"):
        return Layout(cells.name, cells.read)
    if not has_blanks:
        is_enough = len(rows) > 2 or all(row.count("|") > 1 for row in rows)
        if is_enough and _holds_poem(rows[0]) and _share(_holds_poem, rows) >= 0.8:
            return Layout("a row per poem, without titles", lambda rows: _each_row(rows, "lines"))
        if len(rows) >= 10 and statistics.mean(map(len, rows)) > (40 if is_chinese else 80):
            return Layout("a row per document", lambda rows: _each_row(rows, "text"))
        if _are_titles_between(rows, is_line):
            name = "poems with a title, without blank rows"
            return Layout(name, lambda rows: _read_titles_between(rows, is_line))
    return _chinese_layout(head, is_line) if is_chinese else _other_layout(head)


def _share(test: Callable[[Any], Any], items: list) -> float:
    return sum(map(bool, map(test, items))) / max(1, len(items))


def _never(_row: str) -> bool:
    return False


def _is_chinese(rows: list[str]) -> bool:
    text = "".join(rows)
    return 2 * sum(map(len, HAN.findall(text))) > len(re.findall(r"[^\W\d_]", text))


# --------------------------------------------------------------------------------- lines of Chinese


def is_line_of_poem(row: str) -> bool:
    """Returns whether a row is Chinese and ends in a mark, as lines of poems do."""
    last_character = row.rstrip().rstrip(_CLOSING_QUOTES)[-1:]
    return bool(LINE_END.match(last_character) and HAN.search(row))


def _line_test(rows: list[str]) -> IsLine:
    """Returns the test for a line of verse: its mark, or its length in verse without marks."""
    if _share(is_line_of_poem, rows) > 0.1:
        return is_line_of_poem
    lengths = Counter(_unmarked_length(row) for row in rows)
    least = {4: 0.2, 5: 0.05, 6: 0.2, 7: 0.05}
    usual = {length for length in least if lengths[length] >= least[length] * len(rows)}
    if sum(lengths[length] for length in usual) < 0.5 * len(rows):
        return is_line_of_poem
    return lambda row: _unmarked_length(row) in usual


def _unmarked_length(row: str) -> int:
    """Returns the length of the lines in a row without marks, or 0 if they differ."""
    lines = row.split()
    same = len({len(line) for line in lines}) == 1 and all(map(HAN.fullmatch, lines))
    return len(lines[0]) if same else 0


def _holds_poem(row: str) -> bool:
    """Returns whether a row holds several sentences of verse, or lines with | or spaces between."""
    if is_line_of_poem(row) and len(re.findall("[。！？；.!?;]", row)) > 1:
        return True
    return row.count("|") > 1 or (4 <= _unmarked_length(row) <= 7 and len(row.split()) > 3)


def _has_title(block: Block, is_line: IsLine) -> bool:
    """Returns whether the first row of a block is not a line of the poem.

    A title may end in a mark too. It is then shorter than all other rows and has no other mark. In
    verse without marks, a title as long as a line makes the number of rows odd.
    """
    first, rest = block[0], block[1:]
    if not is_line(first):
        return True
    if not LINE_END.search(first):
        return len(block) % 2 == 1 or _names_author(block, is_line)
    return (
        bool(rest)
        and len(first) < min(map(len, rest))
        and len(LINE_END.findall(first)) == 1 < len(LINE_END.findall(rest[0]))
    )


def _names_author(block: Block, is_line: IsLine) -> bool:
    """Returns whether the second row is an author's name.

    In verse without marks, a name as long as a line makes the number of rows even.
    """
    if len(block) < 3 or not all(map(is_line, block[2:])):
        return len(block) > 2 and bool(_AUTHOR.match(block[1]))
    if not is_line(block[1]):
        return True
    return len(block) % 2 == 0 and not is_line(block[0]) and not LINE_END.search(block[1])


def _is_heading(block: Block, is_line: IsLine) -> bool:
    """Returns whether a block holds no lines. It is then a heading: title and author."""
    return len(block) <= 2 and not any(map(is_line, block))


def _titled(block: Block, is_line: IsLine) -> Record:
    """Returns the record of a poem that begins with its title, and perhaps its author."""
    rows = [row for row in block if row]
    if _names_author(rows, is_line):
        author = _AUTHOR.sub("", rows[1])
        return {"title": rows[0], "author": author, "lines": block[block.index(rows[1]) + 1 :]}
    return {"title": rows[0], "lines": block[block.index(rows[0]) + 1 :]}


# ---------------------------------------------------------------------------------- rows -> groups


def _groups(
    rows: Iterable[Row], blanks: int = 0, begins: Callable[[str], Any] = _never
) -> Iterator[tuple[str, Block]]:
    """Yields (place of the first row, rows) for each group of rows.

    A group begins after `blanks` blank rows, or at a row for which `begins` holds. Blank rows
    inside a group become one empty row.
    """
    block: Block = []
    start, gap, size = "", 0, 0
    for place, row in rows:
        row = row.strip()
        if not row:
            gap += 1
            continue
        begins_here = begins(row)
        if block and (begins_here or (blanks and gap >= blanks)):
            yield start, block
            block, size = [], 0
        start = start if block else place
        block += ([""] if block and gap else []) + [row]
        size, gap = size + len(row) + 1, 0
        if size > LONGEST_POEM:
            _refuse_long(start)
    if block:
        yield start, block


def _refuse_long(place: str) -> NoReturn:
    raise UserError(
        f"{place}: a poem of more than {LONGEST_POEM:,} characters. "
        "Separate poems by blank lines. The first line of a poem is its title."
    )


def _each_row(rows: Iterable[Row], column: str) -> Records:
    for place, (row, *_) in _groups(rows, begins=bool):
        yield place, {column: row}


# ---------------------------------------------------------------------------- headings and numbers

_MARKDOWN = re.compile(r"#{1,6}\s+(?P<title>\S.*)")
_CHINESE_NUMBER = "[〇零一二三四五六七八九十百廿卅]+"
_NUMBERS = {
    style: re.compile(pattern, re.IGNORECASE)
    for style, pattern in {
        "第一首": rf"第\s*(?P<n>\d+|{_CHINESE_NUMBER})\s*[首章篇回節节卷][\s、.:：]*(?P<title>.*)",
        "其一": rf"其\s*(?P<n>{_CHINESE_NUMBER})(?:$|[\s、.．:：]+(?P<title>.*))",
        "1.": r"[(（【\[]?(?P<n>\d{1,6})(?:[)）】\]]|[.．、](?!\d))\s*(?P<title>.*)",
        "一、": rf"[(（]?(?P<n>{_CHINESE_NUMBER})(?:[)）]|[、.．])\s*(?P<title>.*)",
        "001": r"(?P<n>\d{1,6})(?:$|\s+(?P<title>\D.*))",
        "IV": r"(?P<n>[IVXLC]{1,9})(?:$|[.)]\s*(?P<title>.*))",
        "No. 1": r"(?:poem|sonnet|song|chapter|canto|no\.?)\s*(?P<n>\d+|[IVXLC]{1,9})\b[.:)]?\s*"
        r"(?P<title>.*)",
    }.items()
}
_NAMES = ("第一首", "其一", "No. 1")  # these numbers are a title if there is no other


def _number(text: str) -> int:
    """Returns the value of 12, XII or 十二."""
    if text.isdecimal():
        return int(text)
    if text[0].upper() in "IVXLC":
        values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}[c] for c in text.upper()]
        later = [*values[1:], 0]
        return sum(-a if a < b else a for a, b in zip(values, later, strict=True))
    total = digit = 0
    for character in text:
        if unit := {"十": 10, "百": 100}.get(character):
            total, digit = total + unit * (digit or 1), 0
        elif character in "廿卅":
            total += 20 if character == "廿" else 30
        else:
            digit = 10 * digit + "〇一二三四五六七八九".index(character.replace("零", "〇"))
    return total + digit


def _find_numbers(rows: list[str]) -> str | None:
    """Returns the style of the numbers that stand before poems. They go up by one."""
    for style, pattern in _NUMBERS.items():
        if not any(map(pattern.fullmatch, rows[:4])):
            continue
        numbers = [_number(match["n"]) for row in rows if (match := pattern.fullmatch(row))]
        steps = list(itertools.pairwise(numbers))
        if steps and _share(lambda step: step[1] in (step[0] + 1, 1), steps) >= 0.8:
            return style
    return None


def _numbered_layout(rows: list[str], style: str, is_line: IsLine, is_chinese: bool) -> Layout:
    if style == "其一":
        return Layout("numbered poems", lambda rows: _read_group(rows, is_line))
    poems = [block[1:] for _, block in _groups((("", row) for row in rows), 0, _next_number(style))]
    has_titles = not is_chinese and _have_titles(poems)

    def has_title(block: Block) -> bool:
        return _has_title(block, is_line) if is_chinese else has_titles

    return Layout("numbered poems", lambda rows: _read_numbered(rows, style, is_line, has_title))


def _read_markdown(rows: Iterable[Row], is_line: IsLine) -> Records:
    for place, block in _groups(rows, begins=_MARKDOWN.match):
        if not (match := _MARKDOWN.match(block[0])):  # a text before the first heading
            yield place, {"lines": block}
        elif any(block[1:]):
            yield place, _titled([match["title"], *block[1:]], is_line)


def _read_numbered(
    rows: Iterable[Row], style: str, is_line: IsLine, has_title: Callable[[Block], bool]
) -> Records:
    """Reads poems below numbers."""
    for place, block in _groups(rows, begins=_next_number(style)):
        match = _NUMBERS[style].fullmatch(block[0])
        if not match:
            if any(map(is_line, block)):  # poems before the first number
                yield place, {"lines": block}
            continue
        title, body = (match["title"] or "").strip(), block[1:]
        if title and (is_line(title) or not body):
            title, body = "", [title, *body]
        if title or style in _NAMES:
            yield place, _titled([title or block[0], *body], is_line)
        elif len(full := [row for row in body if row]) > 1 and has_title(full):
            yield place, _titled(body, is_line)
        else:
            yield place, {"lines": body}


def _read_group(rows: Iterable[Row], is_line: IsLine) -> Records:
    """Reads poems below 其一, 其二 (one, two). The title of their group stands before 其一."""
    style = "其一"
    title = author = ""
    for place, block in _groups(rows, begins=_next_number(style)):
        is_numbered = _NUMBERS[style].fullmatch(block[0])
        poem_title, poem_author = f"{title} {block[0]}".strip(), author
        if "" in block:
            start = len(block) - block[::-1].index("")
        else:
            start = len(block) if is_numbered else 0
        if block[start:] and _is_heading(block[start:], is_line):
            title, author = [*block[start:], ""][:2]
            block = block[:start]
        if is_numbered:
            yield place, {"title": poem_title, "author": poem_author, "lines": block[1:]}
        elif any(map(is_line, block)):
            yield place, {"lines": block}


def _next_number(style: str) -> Callable[[str], bool]:
    """Returns the test for a row with the next number, or with 1."""
    last = 0

    def begins(row: str) -> bool:
        nonlocal last
        match = _NUMBERS[style].fullmatch(row)
        number = _number(match["n"]) if match else 0
        if number != 1 and number <= last:
            return False
        last = number
        return True

    return begins


# -------------------------------------------------------------------------- title and text in a row


class _Cells(NamedTuple):
    """The layout of rows with `lead` short cells, such as the title, before the text."""

    separator: str
    lead: int
    is_author_first: bool
    has_number: bool

    @property
    def name(self) -> str:
        names = ["title"] if self.lead - self.has_number else []
        if self.lead - self.has_number == 2:
            names = ["author", "title"] if self.is_author_first else ["title", "author"]
        names = ["number"] * self.has_number + names + ["text"]
        separators = {"\t": "tabs", " ": "spaces", "\u3000": "spaces", ",": "commas"}
        separator = separators.get(self.separator, self.separator)
        return f"a row per poem: {', '.join(names)}, separated by {separator}"

    def read(self, rows: Iterable[Row]) -> Records:
        for place, (row, *_) in _groups(rows, begins=bool):
            *cells, text = row.split(self.separator, self.lead)
            if len(cells) < self.lead:
                yield place, {"lines": row}
                continue
            cells = cells[self.has_number :]
            title, author = [*(cells[::-1] if self.is_author_first else cells), "", ""][:2]
            yield place, {"title": title, "author": author, "lines": text}


def _find_cells(rows: list[str], is_chinese: bool, separators: str) -> _Cells | None:
    """Returns the separator and the columns of rows with a title and a text, or None."""
    for separator in separators:
        least = 1 if separator == "\t" or (is_chinese and separator in "|｜：:") else 3 - is_chinese
        if len(rows) < least:
            continue
        between_lines = sum(_is_verse(row, separator) for row in rows)
        if is_chinese and between_lines >= _NEARLY_ALL * len(rows):
            continue
        for lead in range(1, 4 if is_chinese or separator in "\t|｜" else 2):
            split = [row.split(separator, lead) for row in rows]
            fits = [_fits(cells, separator, lead, is_chinese) for cells in split]
            if sum(fits) < _NEARLY_ALL * len(rows):
                continue
            split = [cells for cells, fit in zip(split, fits, strict=True) if fit]
            has_number = _share(lambda c: re.fullmatch(r"[\d_.-]+", c[0].strip()), split) == 1
            names = [cells[has_number:-1] for cells in split]
            is_author_first = len(names[0]) == 2 and _is_author_first(names)
            return _Cells(separator, lead, is_author_first, has_number)
    return None


def _is_author_first(pairs: list[list[str]]) -> bool:
    """Returns whether the first of two columns holds names: they repeat more, or are short."""
    first, second = zip(*pairs, strict=True)
    if len(set(first)) != len(set(second)):
        return len(set(first)) < len(set(second))
    longest = max(map(len, first))
    return longest <= 4 and statistics.mean(map(len, second)) > 2 * longest


def _fits(cells: list[str], separator: str, lead: int, is_chinese: bool) -> bool:
    """Returns whether a row has short cells without marks, and then a longer text."""
    *short, text = cells
    if len(short) < lead or len(text) <= max(map(len, short)) or max(map(len, short)) > 60:
        return False
    if separator not in "\t|｜" and any(map(LINE_END.search, short)):
        return False
    if not is_chinese:
        return separator not in text or separator == ":"
    if separator in ", \u3000" and "，" not in text:
        return False
    return _is_verse(text, separator)


def _is_verse(text: str, separator: str) -> bool:
    """Returns whether all parts of a text end in marks, or are Chinese lines of one length."""
    parts = [part.strip() for part in text.split(separator)]
    if all(map(is_line_of_poem, parts)):
        return True
    return len(" ".join(parts).split()) > 1 and 4 <= _unmarked_length(" ".join(parts)) <= 7


# ------------------------------------------------------------------------------- titles and blanks


def _are_titles_between(rows: list[str], is_line: IsLine) -> bool:
    """Returns whether titles stand between the lines: twice or more, one or two rows each.

    Raises:
        UserError: Lines without marks are odd in number, so some titles look like lines.
    """
    runs = [(is_verse, len(list(run))) for is_verse, run in itertools.groupby(rows, is_line)]
    headings = [length for is_verse, length in runs if not is_verse]
    poems = [length for is_verse, length in runs if is_verse]
    if len(headings) < 2 or max(headings) > 2 or not poems:
        return False
    begins_and_ends_well = not runs[0][0] and runs[-1][0]
    if is_line is is_line_of_poem or min(poems) < 4:
        return begins_and_ends_well
    if not begins_and_ends_well or any(length % 2 for length in poems):
        raise UserError(
            "titles and lines look alike, because the lines have no marks (， or 。). "
            "Put a blank line before each title."
        )
    return True


def _read_titles_between(rows: Iterable[Row], is_line: IsLine) -> Records:
    was_line = False

    def begins(row: str) -> bool:
        nonlocal was_line
        before, was_line = was_line, is_line(row)
        return before and not was_line

    for place, block in _groups(rows, begins=begins):
        yield place, _titled(block, is_line)


def _blocks_of(head: list[str], blanks: int = 1) -> list[Block]:
    return [block for _, block in _groups((("", row) for row in head), blanks)]


def _chinese_layout(head: list[str], is_line: IsLine) -> Layout:
    blocks = _blocks_of(head)
    if not _has_title(blocks[0], is_line):
        lone = _share(lambda block: len(block) == 1, blocks) > 0.5
        if lone and statistics.mean(len(row) for block in blocks for row in block) > 40:
            return Layout("documents, separated by blank rows", _read_documents)
        return Layout(
            "poems without titles, separated by blank rows",
            lambda rows: ((place, {"lines": block}) for place, block in _groups(rows, 1)),
        )
    headings = sum(_is_heading(block, is_line) for block in blocks)
    if len(blocks) > 1 and _is_heading(blocks[0], is_line) and not _has_title(blocks[1], is_line):
        stanzas = len(blocks) <= 5 * headings  # else the first heading is that of a book
        name = "poems below a title and a blank row"
        return Layout(name, lambda rows: _read_below_headings(rows, is_line, stanzas))
    return Layout(
        "poems that begin with a title, separated by blank rows",
        lambda rows: _read_chinese_blocks(rows, is_line),
    )


def _read_chinese_blocks(rows: Iterable[Row], is_line: IsLine) -> Records:
    for place, block in _groups(rows, 1):
        yield place, _titled(block, is_line) if _has_title(block, is_line) else {"lines": block}


def _read_below_headings(rows: Iterable[Row], is_line: IsLine, stanzas: bool) -> Records:
    """Reads poems whose title is a block of its own. The blocks after it are the stanzas."""
    poem: tuple[str, Record] | None = None
    for place, block in _groups(rows, 1):
        if _is_heading(block, is_line):
            title, author = [*block, ""][:2]
            record: Record = {"title": title, "author": author, "lines": []}
        elif _has_title(block, is_line):
            record = _titled(block, is_line)
        elif poem and (stanzas or not poem[1]["lines"]):
            poem[1]["lines"] += ["", *block] if poem[1]["lines"] else block
            continue
        else:
            record = {"lines": block}
        if poem:
            yield poem
        poem = (place, record)
    if poem:
        yield poem


def _read_documents(rows: Iterable[Row]) -> Records:
    for place, block in _groups(rows, 1):
        yield place, {"text": "\n".join(block)}


# --------------------------------------------------------------------------------- other languages


def _other_layout(head: list[str]) -> Layout:
    """Returns the layout of a text in blocks that is not Chinese."""
    blocks = _blocks_of(head)
    verse = [block for block in blocks if len(block) > 1]
    if not verse or _is_wrapped(verse):
        return Layout("documents, separated by blank rows", _read_documents)
    lone = [block for block in blocks if len(block) == 1]
    if len(blocks[0]) == 1 and _looks_like_title(blocks[0][0]) and len(lone) <= 2 * len(verse):
        name = "poems below a title and a blank row"
        return Layout(name, lambda rows: _read_below_titles(rows))
    if len(lone) > len(verse):
        return Layout("documents, separated by blank rows", _read_documents)
    gaps = [len(list(run)) for is_blank, run in itertools.groupby(head, lambda row: not row)
            if is_blank][: len(blocks) - 1]  # fmt: skip
    blanks, between = 1, "blank rows"
    if gaps and min(gaps) < max(gaps):
        blanks, between = 2, "two blank rows"
        verse = [[row for row in block if row] for block in _blocks_of(head, 2)]
    if not _have_titles(verse):
        return Layout(
            f"poems without titles, separated by {between}",
            lambda rows: ((place, {"lines": block}) for place, block in _groups(rows, blanks)),
        )
    return Layout(
        f"poems that begin with a title, separated by {between}",
        lambda rows: (
            (place, _titled(block, _never) if len(block) > 1 else {"lines": block})
            for place, block in _groups(rows, blanks)
        ),
    )


def _is_wrapped(blocks: list[Block]) -> bool:
    """Returns whether the blocks are paragraphs: their rows are full and go on in small letters."""
    later = [row for block in blocks for row in block[1:]]
    full = [len(row) for block in blocks for row in block[:-1]]
    width = max(full)
    return (
        width >= 50
        and _share(lambda length: length > 0.8 * width, full) > 0.8
        and (_share(lambda row: row[0].islower(), later) > 0.2 or not re.search("[a-z]", later[0]))
    )


def _looks_like_title(row: str) -> bool:
    return len(row) <= 80 and not re.search(r"[.,;:—-]$", row)


def _have_titles(blocks: list[Block]) -> bool:
    """Returns whether blocks begin with titles: shorter, in capitals, or without the usual mark."""
    blocks = [block for block in blocks if len(block) > 1]
    firsts = [block[0] for block in blocks]
    others = [row for block in blocks for row in block[1:]]

    def is_short(block: Block) -> bool:
        return len(block[0]) < 0.75 * statistics.mean(map(len, block[1:]))

    if _share(is_short, blocks) >= 0.75:
        return True
    if _share(_in_capitals, firsts) >= 0.75 and _share(_in_capitals, others) <= 0.25:
        return True
    first_marks, marks = (_share(re.compile(r"[^\w\s]$").search, rows) for rows in (firsts, others))
    if first_marks <= 0.1 and marks >= 0.85:
        return _share(lambda block: len(block) > 2, blocks) >= 0.75
    return marks <= 0.1 and _share(lambda block: len(block) % 2 == 1, blocks) >= 0.9


def _in_capitals(row: str) -> bool:
    words = [word for word in re.findall(r"[^\W\d_]+", row) if len(word) > 3]
    return len(words) > 1 and all(word[0].isupper() for word in words)


def _read_below_titles(rows: Iterable[Row]) -> Records:
    """Reads poems whose title stands between blank rows. Blocks of several rows are stanzas."""
    poem: tuple[str, Record] | None = None
    for place, block in _groups(rows, 1):
        is_title = len(block) == 1 and _looks_like_title(block[0])
        if poem and is_title and not poem[1]["lines"] and not poem[1].get("author"):
            poem[1]["author"] = _AUTHOR.sub("", block[0])
        elif poem and not is_title:
            poem[1]["lines"] += ["", *block] if poem[1]["lines"] else block
        else:
            if poem:
                yield poem
            poem = (place, {"title": block[0], "lines": []})
    if poem:
        yield poem


# ------------------------------------------------------------------------------- poem -> couplets

_HAN = HAN.pattern.removesuffix("+")
_WIDE = str.maketrans(",.;!?:．｡", "，。；！？：。。")
_NARROW_MARK = re.compile(
    rf"(?<=[{_HAN[1:-1]}」』”’])[,.;!?:．｡](?=$|\s|[{_HAN[1:-1]}「『“‘」』”’\"'])"
)
_SENTENCE_END = re.compile("(?<=[。！？；])(?![」』”’])|(?<=[。！？；][」』”’])")
_ONE_LINE = re.compile("[^，。！？；、]+[，。！？；、]?[」』”’]?")


def couplets(value: str | list[str]) -> tuple[str, ...]:
    """Returns the rows of a poem. Chinese verse has one couplet per row, with full-width marks.

    Lines may stand in rows of their own, or have | or spaces between them. A text in one row is
    split where a sentence ends. Rows of other languages stay as they are.
    """
    rows = plain_rows(value)
    if all("|" in row for row in rows):
        rows = plain_rows([row.replace("|", "\n") for row in rows])
    if all(4 <= _unmarked_length(row) <= 7 for row in rows):
        rows = [line for row in rows for line in row.split()]
    rows = [_with_wide_marks(row) if HAN.search(row) else row for row in rows]
    if len(rows) == 1:
        rows = plain_rows(_SENTENCE_END.sub("\n", rows[0]))
    return tuple(_joined(rows))


def plain_rows(value: str | list[str]) -> list[str]:
    """Returns the rows of a text that are not blank."""
    text = value if isinstance(value, str) else "\n".join(value)
    return [row.strip() for row in text.splitlines() if row.strip()]


def _with_wide_marks(row: str) -> str:
    row = _NARROW_MARK.sub(lambda mark: mark[0].translate(_WIDE), row)
    return re.sub(rf"(?<=[，。；！？：、])\s+(?={_HAN})", "", row)


def _joined(rows: list[str]) -> list[str]:
    """Joins single lines of Chinese verse to couplets. Adds the marks that are missing."""
    if not rows or not all(HAN.search(row) and _ONE_LINE.fullmatch(row) for row in rows):
        return rows
    bare = [row.rstrip("，。！？；、") for row in rows]
    ends = [row[len(line) :] for row, line in zip(rows, bare, strict=True)]
    same = len(set(map(len, bare))) == 1 and all(map(HAN.fullmatch, bare))
    if same and 4 <= len(bare[0]) <= 7 and len(rows) % 2 == 0 and "。" not in ends[::2]:
        ends = [end or "，。"[number % 2] for number, end in enumerate(ends)]
        lines = [line + end for line, end in zip(bare, ends, strict=True)]
        return [first + second for first, second in zip(lines[::2], lines[1::2], strict=True)]
    joined = "\n".join(rows)
    return re.sub("(?<=[，、])\n", "", joined).split("\n")
