"""Reads a request for a form: which form, rhyme, acrostic and first line a poem shall have.

    request = read_form("五言律詩", rhyme="東")

It knows forms and refuses what no poem can fulfil. It does not know models, tokens or torch.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from poet.errors import UserError
from poet.prosody.characters import (
    LEVEL,
    add_meanings,
    all_groups,
    group_name,
    is_simplified,
    level_groups,
    meanings,
    read_tones,
    read_usual_tones,
    rhyme_groups,
    simplified_only,
    tone,
    usual_tone,
    usual_writing,
)
from poet.prosody.judge import NEIGHBOURS, Verdict, couplet_patterns, regulated_faults
from poet.prosody.layout import CoupletLayout
from poet.prosody.names import (
    FORMS,
    Form,
    read_form_name,
    read_rhyme_name,
    rhyme_label,
)
from poet.prosody.script import (
    SIMPLIFIED,
    script_of,
    to_simplified,
    to_traditional,
    traditional_only,
)
from poet.text import LINE_END, line_length, poem_lines

_MARKS = "，。？！；、,.?!;"


def regulated_form(poem: str) -> str | None:
    """Returns the regulated form with the poem's number and length of lines, or None.

    The form is 五言 or 七言 with 絕句, 律詩 or 排律. The tones of the poem do not matter.
    """
    length, lines = line_length(poem), len(poem_lines(poem))
    if length is None or lines < 4 or lines == 6:
        return None
    kind = {4: "絕句", 8: "律詩"}.get(lines, "排律")
    return {5: "五言", 7: "七言"}[length] + kind


@dataclass(frozen=True)
class FormRequest:
    """A request that `read_form` has checked. Its characters are traditional, without marks."""

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
    def label(self) -> str:
        """The form with its English name: 五言絕句 (five-character quatrain)."""
        return FORMS[self.form].label

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
        """The number of tokens of a poem, with its marks, its line breaks and the end mark."""
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
    """Reads the words of a request. Chinese characters may be traditional or simplified.

    Args:
        form: A form in Chinese (五言律詩, 五律), in pinyin without tone marks (wuyan-lushi) or in
            English (five-character regulated verse). `poet.prosody.names.forms_table` lists them.
        rhyme: A rhyme group: its character (東), its place in the rhyme book (上平一東), its pinyin
            (jiang) or its numbered pinyin (1-dong). Regulated verse needs a level group.
        acrostic: The first characters of the lines or of the couplets.
        first_line: The first line of the poem. A mark after it does not matter.
        lines: The number of lines, for long regulated verse and old style.

    Raises:
        UserError: No poem can fulfil the request, or two parts of it contradict each other.
    """
    row = read_form_name(form)
    request = FormRequest(
        form=row.chinese,
        length=row.characters,
        lines=_read_lines(row, lines),
        rhyme=None if rhyme is None else read_rhyme_name(rhyme, level=not row.old_style),
        acrostic=_read_characters("acrostic", acrostic),
        first_line=_read_characters("first line", first_line),
    )
    _check_rhyme(request)
    _check_acrostic(request)
    if request.first_line:
        _check_first_line(request)
    return request


def _read_lines(form: Form, number: int | None) -> int:
    if number is None or number == form.lines:
        return form.lines
    if form.min_lines is None:
        raise UserError(
            f"{form.label} has {form.lines} lines, not {number}. "
            "Leave the number out, or choose 排律 (long regulated verse) or 古體 (old style)."
        )
    if number < form.min_lines or number % 2:
        raise UserError(
            f"{form.label} needs an even number of lines, at least {form.min_lines}, not {number}"
        )
    return number


def _read_characters(part: str, text: str | None) -> str:
    """Returns the characters of a request in traditional script, without marks and blanks."""
    if text is None:
        return ""
    text = "".join(text.split())
    pieces = text.translate(dict.fromkeys(map(ord, _MARKS), " ")).split()
    if not pieces:
        raise UserError(f"the {part} is empty. Give Chinese characters, or leave it out.")
    if part == "first line" and len(pieces) > 1:
        raise UserError(f"the first line {text} has {len(pieces)} lines. Give only the first one.")
    traditional = "".join(
        to_traditional(character) if character in simplified_only() else character
        for character in to_traditional("".join(pieces))
    )
    for character in traditional:
        if not _is_chinese(character):
            raise UserError(f"the {part} has {character}, which is not a Chinese character")
    return traditional


def _is_chinese(character: str) -> bool:
    return poem_lines(character) == (character,)


def _check_rhyme(request: FormRequest) -> None:
    if request.rhyme and request.regulated and request.rhyme not in level_groups():
        raise UserError(
            f"the rhyme {request.rhyme} ({group_name(request.rhyme)}) is oblique, but "
            f"{request.label} rhymes in level groups. Choose a level group, or "
            f"{_old_style(request)}."
        )


def _old_style(request: FormRequest) -> str:
    return f"ask for {request.form[:2]}古體 (old style)"


def _check_acrostic(request: FormRequest) -> None:
    acrostic = request.acrostic
    if acrostic and len(acrostic) not in (request.lines, request.couplets):
        raise UserError(
            f"the acrostic {acrostic} has {len(acrostic)} characters, but {request.label} has "
            f"{request.lines} lines. Give {request.lines} characters, one per line, or "
            f"{request.couplets}, one per couplet."
        )


def _check_first_line(request: FormRequest) -> None:
    """Refuses a first line that no poem of this request can have."""
    line = request.first_line
    if len(line) != request.length:
        raise UserError(
            f"the first line {line} has {len(line)} characters, but a line of {request.label} "
            f"has {request.length}. Change the line or the form."
        )
    if request.acrostic and line[0] != request.acrostic[0]:
        raise UserError(
            f"the first line begins with {line[0]}, but the acrostic begins with "
            f"{request.acrostic[0]}. Give only one of them, or let both begin with the same "
            "character."
        )
    if not request.regulated:
        return
    tones = read_tones(line)
    if not any(
        all(tone & due for tone, due in zip(tones, pattern, strict=False))
        for _, pattern in couplet_patterns(request.length, opening=True)
    ):
        reasons = " ".join(_sentence(verdict) for verdict in regulated_faults([line], len(line)))
        raise UserError(
            f"the first line {line} breaks the rules of {request.label}. {reasons} "
            f"Change the line, or {_old_style(request)}."
        )
    word = line[-1]
    if request.rhyme and tones[-1] == LEVEL and not _may_rhyme(word, request.rhyme):
        raise UserError(
            f"the first line ends in {word}, which has a level tone but does not rhyme with "
            f"{rhyme_label(request.rhyme)}. It is in {_groups_of(word)}. "
            "Change the line or the rhyme."
        )


def _groups_of(word: str) -> str:
    return " and ".join(map(rhyme_label, rhyme_groups(word))) or "no known group"


def _may_rhyme(word: str, group: str) -> bool:
    """Returns whether a first line may end in this word, in the poem's group or a neighbour."""
    together = {group}
    for neighbours in NEIGHBOURS:
        if group in neighbours:
            together.update(neighbours)
    return bool(together & set(rhyme_groups(word)))


# ---------------------------------------------------------------------- what breaks a request


class _Finding(NamedTuple):
    line: int
    place: int
    sentence: str


def explain(
    request: FormRequest,
    text: str,
    vocabulary: Collection[str] | None = None,
    finished: bool = True,
) -> list[str]:
    """Returns one sentence for each rule of a request that a poem breaks.

    The rules are those that the mask enforces. Each sentence names the line and the place, counted
    from 1. An empty list means that the poem keeps the request. Line breaks do not count.

    Args:
        text: The poem, or its beginning.
        vocabulary: The characters of a model, for example `tokenizer.get_vocab()`. They decide the
            script of the poem. Without them, the poem's own characters do.
        finished: False for a poem that lacks its last lines.
    """
    lines = poem_lines(text)
    simplified = is_simplified(text) if vocabulary is None else script_of(vocabulary) == SIMPLIFIED
    findings = list(_wrong_shape(request, lines, finished))
    same_places = not findings
    findings += _wrong_characters(request, lines, text, vocabulary, simplified)
    if same_places:
        findings += _wrong_marks(lines, text, finished)
        findings += _wrong_given(request, lines, simplified)
        findings += _wrong_rhymes(request, lines, simplified)
        if request.regulated:
            findings += _wrong_tones(request, lines, simplified)
    return [finding.sentence for finding in sorted(findings)]


def _at(line: int, place: int, sentence: str) -> _Finding:
    return _Finding(line, place, f"Line {line}, place {place}: {sentence}")


def _wrong_shape(
    request: FormRequest, lines: tuple[str, ...], finished: bool
) -> Iterator[_Finding]:
    if len(lines) > request.lines or (finished and len(lines) < request.lines):
        sentence = f"{request.label} has {request.lines} lines. The poem has {len(lines)}."
        yield _Finding(0, 0, sentence)
    for number, line in enumerate(lines, 1):
        growing = number == len(lines) and not finished
        if len(line) > request.length or (len(line) < request.length and not growing):
            sentence = f"Line {number} has {len(line)} characters instead of {request.length}."
            yield _Finding(number, 0, sentence)


def _wrong_characters(
    request: FormRequest,
    lines: tuple[str, ...],
    text: str,
    vocabulary: Collection[str] | None,
    simplified: bool,
) -> Iterator[_Finding]:
    for character in dict.fromkeys(text):
        if not (character.isspace() or character in _MARKS or _is_chinese(character)):
            yield _Finding(0, 0, f"The poem has {character}, which is not a Chinese character.")
    for number, line in enumerate(lines, 1):
        for place, character in enumerate(line, 1):
            if vocabulary is not None and character not in vocabulary:
                yield _at(number, place, f"the model's vocabulary lacks {character}.")
            elif (number - 1) * request.length + place - 1 in request.given:
                continue
            elif simplified and character in traditional_only():
                other = to_simplified(character)
                yield _at(number, place, f"{character} is traditional. Write {other} instead.")
            elif not simplified and character in simplified_only():
                other = to_traditional(character)
                yield _at(number, place, f"{character} is simplified. Write {other} instead.")
            elif tone(character) is None:
                yield _at(number, place, f"the tone of {character} is unknown.")


def _wrong_marks(lines: tuple[str, ...], text: str, finished: bool) -> Iterator[_Finding]:
    marks = LINE_END.findall(text)
    for number, line in enumerate(lines, 1):
        expected = "，" if number % 2 else "。？！"
        mark = marks[number - 1] if number <= len(marks) else ""
        if mark and mark not in expected:
            sentence = f"Line {number} ends with {mark} instead of {expected[0]}."
            yield _Finding(number, len(line) + 1, sentence)
        if not mark and finished:
            yield _Finding(number, len(line) + 1, f"Line {number} lacks {expected[0]} at its end.")


def _wrong_given(
    request: FormRequest, lines: tuple[str, ...], simplified: bool
) -> Iterator[_Finding]:
    characters = "".join(lines)
    for index, due in request.given.items():
        if simplified and due in traditional_only():
            due = to_simplified(due)
        if index < len(characters) and characters[index] != due:
            line, place = divmod(index, request.length)
            sentence = f"the request asks for {due} instead of {characters[index]}."
            yield _at(line + 1, place + 1, sentence)


def _wrong_rhymes(
    request: FormRequest, lines: tuple[str, ...], simplified: bool
) -> Iterator[_Finding]:
    """Finds last characters that do not rhyme as requested, or that are used twice."""
    words = [line[-1] for line in lines if len(line) == request.length]
    if not words:
        return
    place, first_word, used = request.length, words[0], {usual_writing(words[0]): 1}
    first_groups = _usable_groups(first_word, simplified)
    first_rhymes = request.regulated and _ends_level(request, lines[0], simplified)
    shared = {request.rhyme} if request.rhyme else set(all_groups())
    for number in range(2, len(words) + 1, 2):
        word = words[number - 1]
        groups = _usable_groups(word, simplified)
        earlier = used.get(usual_writing(word))
        if earlier:
            written = words[earlier - 1]
            other_writing = "" if written == word else f", written {written}"
            yield _at(number, place, f"{word} already ends line {earlier}{other_writing}.")
        if request.rhyme and request.rhyme not in groups:
            yield _at(number, place, _not_in_group(word, request.rhyme))
        elif first_rhymes and request.first_line and not request.rhyme:
            if not groups & first_groups:
                yield _at(number, place, f"{word} does not rhyme with {first_word} in line 1.")
        elif not request.regulated and shared and not shared & groups:
            yield _at(number, place, f"{word} does not rhyme with the even lines before.")
        used[usual_writing(word)] = number
        shared &= groups
    if first_rhymes and not request.first_line and not shared & first_groups:
        reason = "The line must rhyme, because it ends level."
        if request.rhyme:
            yield _at(1, place, f"{_not_in_group(first_word, request.rhyme)} {reason}")
        else:
            yield _at(1, place, f"{first_word} does not rhyme with the even lines. {reason}")


def _usable_groups(word: str, simplified: bool) -> set[str]:
    """Returns the rhyme groups of a word, without level ones if poems read the word oblique.

    A simplified word of several meanings has the groups that all of them share.
    """
    words = meanings(word) if simplified else (word,)
    oblique = all(usual_tone(meaning) == "仄" for meaning in words)
    groups = set.intersection(*(set(rhyme_groups(meaning)) for meaning in words))
    return {group for group in groups if not (oblique and group in level_groups())}


def _ends_level(request: FormRequest, line: str, simplified: bool) -> bool:
    """Returns whether the first line can only be read with a level end."""
    return _tones_in_mask(request, line, 1, simplified)[-1] == LEVEL


def _not_in_group(word: str, rhyme: str) -> str:
    return f"{word} is in {_groups_of(word)}, but the request asks for {rhyme_label(rhyme)}."


def _wrong_tones(
    request: FormRequest, lines: tuple[str, ...], simplified: bool
) -> Iterator[_Finding]:
    """Finds the broken rules of tone and rhyme, among those of `judge`.

    A poem may have no fault by the rhyme book, and one by the usual tones of its characters. That
    fault counts too, because the mask writes usual tones only.
    """
    note = ""
    verdicts = regulated_faults(lines, request.length)
    if not verdicts:
        tones = [
            _tones_in_mask(request, line, number, simplified)
            for number, line in enumerate(lines, 1)
        ]
        verdicts = regulated_faults(lines, request.length, tones)
        note = " The judge accepts an unusual tone here, but the mask does not."
    for verdict in verdicts:
        reported = verdict.rule == "重韻" or (verdict.rule == "出韻" and request.rhyme)
        if not reported:
            yield _Finding(verdict.line, verdict.place, _sentence(verdict) + note)


def _tones_in_mask(request: FormRequest, line: str, number: int, simplified: bool) -> list[int]:
    """Returns the tones of a line as the mask reads them.

    A requested character has all tones of the rhyme book, any other one its usual tones.
    """
    traditional = to_traditional(line) if simplified else line
    book, usual = read_tones(traditional), read_usual_tones(traditional)
    if simplified:
        usual = add_meanings(usual, line)
    start = (number - 1) * request.length
    return [
        book[place] if start + place in request.given else usual[place]
        for place in range(len(line))
    ]


def _sentence(verdict: Verdict) -> str:
    text = str(verdict)
    return f"{text[0].upper()}{text[1:]}."
