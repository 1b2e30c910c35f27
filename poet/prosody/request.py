"""Reads a request for a form: which form, rhyme, acrostic and first line a poem shall have.

    request = read_form("五言律詩", rhyme="東")

It knows forms and refuses what no poem can fulfil. It does not know models, tokens or torch.
"""

import difflib
from dataclasses import dataclass

from poet.errors import UserError
from poet.prosody.characters import (
    LEVEL,
    all_groups,
    group_name,
    level_groups,
    read_tones,
    rhyme_groups,
    simplified_only,
)
from poet.prosody.judge import NEIGHBOURS, couplet_patterns, judge
from poet.prosody.layout import CoupletLayout
from poet.prosody.script import to_traditional
from poet.text import line_length, poem_lines

FORMS = {
    meter + kind: (length, lines)
    for meter, length in (("五言", 5), ("七言", 7))
    for kind, lines in (("絕句", 4), ("律詩", 8), ("排律", 12), ("古體", 8))
}
"""Name of a form -> (characters per line, lines). 排律 and 古體 may have other numbers of lines."""
_SHORT = {name[0] + name[2]: name for name in FORMS}  # 五律, 七絕
_MARKS = "，。？！；、,.?!;"


def regulated_form(poem: str) -> str | None:
    """Returns the regulated form with the poem's number and length of lines, or None.

    The form is 五言 or 七言 with 絕句, 律詩 or 排律. The tones of the poem do not matter.
    """
    length, lines = line_length(poem), len(poem_lines(poem))
    kind = {4: "絕句", 8: "律詩"}.get(lines, "排律")
    return {5: "五言", 7: "七言"}[length] + kind if length and lines >= 4 and lines != 6 else None


@dataclass(frozen=True)
class FormRequest:
    """A request that `read_form` has checked: traditional characters, no marks, no contradiction."""

    form: str
    length: int
    """Characters per line, 5 or 7."""
    lines: int
    rhyme: str | None
    """One of the 106 rhyme groups, by its one-character name."""
    acrostic: str
    """One character per line, or one per couplet."""
    first_line: str

    @property
    def regulated(self) -> bool:
        return not self.form.endswith("古體")

    @property
    def layout(self) -> CoupletLayout:
        return CoupletLayout(self.length)

    @property
    def couplets(self) -> int:
        return self.lines // 2

    @property
    def tokens(self) -> int:
        """The tokens of a poem with its marks, its line breaks and the end mark."""
        return self.couplets * self.layout.width

    @property
    def rhyme_places(self) -> list[int]:
        """The tokens of the poem, from 0, at which an even line ends."""
        return [couplet * self.layout.width + self.layout.rhyme for couplet in range(self.couplets)]

    @property
    def mark_places(self) -> list[int]:
        """The tokens of the poem, from 0, that are marks: one per line."""
        return [
            couplet * self.layout.width + column
            for couplet in range(self.couplets)
            for column in (self.layout.comma, self.layout.stop)
        ]

    @property
    def given(self) -> dict[int, str]:
        """Index of a character of the poem, from 0 -> the character that must stand there."""
        lines_per_head = self.lines // len(self.acrostic) if self.acrostic else 0
        heads = {
            number * lines_per_head * self.length: head for number, head in enumerate(self.acrostic)
        }
        return heads | dict(enumerate(self.first_line))


def read_form(
    form: str,
    rhyme: str | None = None,
    acrostic: str | None = None,
    first_line: str | None = None,
    lines: int | None = None,
) -> FormRequest:
    """Reads the words of a request, in traditional or simplified characters.

    Args:
        form: A key of `FORMS`, or its short name (五律, 七絕).
        rhyme: A group of the 平水韻, as 東 or 上平聲一東. Regulated verse needs a level group.
        acrostic: The first characters of the lines, or of the couplets if there are half as many.
        first_line: The first line of the poem, with or without a mark after it.
        lines: The number of lines, for 排律 and 古體.

    Raises:
        UserError: No poem can fulfil the request, or two parts of it contradict each other.
    """
    name = to_traditional(form.strip())
    name = _SHORT.get(name, name)
    if name not in FORMS:
        near = difflib.get_close_matches(name, FORMS, n=1, cutoff=0.5)
        raise UserError(
            f"there is no form {form}; {'the nearest is' if near else 'there are'} {', '.join(near or FORMS)}"
        )
    length, usual = FORMS[name]
    request = FormRequest(
        form=name,
        length=length,
        lines=_read_lines(name, usual, lines),
        rhyme=_read_rhyme(rhyme),
        acrostic=_read_characters("acrostic", acrostic),
        first_line=_read_characters("first line", first_line),
    )
    if request.rhyme and request.regulated and request.rhyme not in level_groups():
        its = group_name(request.rhyme)
        raise UserError(
            f"the rhyme {rhyme} ({its}) is oblique and {name} rhymes in level groups: ask for 古體 or another rhyme"
        )
    if request.acrostic and len(request.acrostic) not in (request.lines, request.couplets):
        raise UserError(
            f"the acrostic {request.acrostic} has {len(request.acrostic)} characters and {name} {request.lines} lines: "
            f"give {request.lines}, one a line, or {request.couplets}, one a couplet"
        )
    if request.first_line and len(request.first_line) != length:
        raise UserError(
            f"the first line {request.first_line} has {len(request.first_line)} characters and a line of {name} has {length}"
        )
    if request.first_line and request.acrostic and request.first_line[0] != request.acrostic[0]:
        raise UserError(
            f"the first line begins with {request.first_line[0]} and the acrostic with {request.acrostic[0]}: "
            "give one of them, or two that begin alike"
        )
    if request.first_line and request.regulated:
        _check_first_line(request)
    return request


def _read_lines(form: str, usual: int, number: int | None) -> int:
    if number is None or number == usual:
        return usual
    least = {"排律": 10, "古體": 4}.get(form[2:])
    if least is None:
        raise UserError(
            f"{form} has {usual} lines and {number} are asked for: leave the number out, or ask for 排律 or 古體"
        )
    if number < least or number % 2:
        raise UserError(
            f"{number} lines are asked for and {form} has an even number of them, at least {least}"
        )
    return number


def _read_rhyme(rhyme: str | None) -> str | None:
    if rhyme is None:
        return None
    for name in (rhyme.strip(), to_traditional(rhyme.strip())):
        group = name[-1:]
        if group in all_groups() and group_name(group).endswith(name):
            return group
    its = rhyme_groups(name)
    hint = f"the character is of {' and '.join(map(group_name, its))}" if its else "name it like 東"
    raise UserError(f"there is no rhyme group {rhyme} in 平水韻; {hint}")


def _read_characters(what: str, text: str | None) -> str:
    """Returns the characters of a request in traditional script, without marks and blanks."""
    if text is None:
        return ""
    text = "".join(text.split())
    parts = [part for part in text.translate(dict.fromkeys(map(ord, _MARKS), " ")).split() if part]
    if not parts:
        raise UserError(f"the {what} is empty: give it characters, or leave it out")
    if what == "first line" and len(parts) > 1:
        raise UserError(f"the first line {text} is {len(parts)} lines: give the first one alone")
    traditional = "".join(
        to_traditional(character) if character in simplified_only() else character
        for character in to_traditional("".join(parts))
    )
    other = next(
        (character for character in traditional if poem_lines(character) != (character,)), None
    )
    if other:
        raise UserError(f"the {what} has {other}, and verse has Chinese characters alone")
    return traditional


def _check_first_line(request: FormRequest) -> None:
    """Refuses a first line that no regulated poem, or none with the requested rhyme, can have."""
    tones, word = read_tones(request.first_line), request.first_line[-1]
    if not any(
        all(tone & due for tone, due in zip(tones, pattern, strict=False))
        for _, pattern in couplet_patterns(request.length, opening=True)
    ):
        signs = judge(request.first_line).tones[0]
        raise UserError(
            f"the first line {request.first_line} has the tones {signs}, which {request.form} does not allow: "
            "change the line, or ask for 古體"
        )
    if request.rhyme and tones[-1] == LEVEL and not _may_rhyme(word, request.rhyme):
        raise UserError(
            f"the first line ends in {word} ({'、'.join(map(group_name, rhyme_groups(word)))}), a level tone "
            f"that does not rhyme with the rhyme {request.rhyme} asked for: change one of the two"
        )


def _may_rhyme(word: str, group: str) -> bool:
    """Returns whether a first line may end in this word, in the poem's group or a neighbour."""
    together = {group}
    for neighbours in NEIGHBOURS:
        if group in neighbours:
            together.update(neighbours)
    return bool(together & set(rhyme_groups(word)))
