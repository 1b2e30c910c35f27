"""Judges the form, the rhyme and the tones of a classical Chinese poem.

It knows the rules of regulated verse. It does not know models or files of poems.

A *place* is the number of a character in its line. Lines and places are counted from 1, as in the
rule books. A line of seven characters is a line of five with two more in front, so the rules speak
of the last five. Places 2 and 4 of a line are *strict*, and place 6 of a line of seven. Within a
line, the tones at strict places alternate. The two lines of a couplet have opposite tones at each
strict place. The next couplet begins with the tone of the line before, at place 2.
So the tone at place 2 of the first line determines all others.

The rules follow Wang Li 王力, 詩詞格律 (see `RULES`). Programs that judge poems disagree in some
points. There, this module follows the practice of the Tang poems.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import NamedTuple

from poet.prosody.characters import (
    EITHER,
    LEVEL,
    OBLIQUE,
    TONE_NAMES,
    add_meanings,
    group_name,
    is_simplified,
    level_groups,
    opposite,
    read_tones,
    rhyme_groups,
    tone_bits,
    usual_writing,
)
from poet.prosody.script import to_traditional
from poet.text import poem_lines

NEIGHBOURS = ("東冬", "支微", "魚虞", "佳灰", "真文元寒刪先", "蕭肴豪", "庚青蒸", "覃鹽咸")
"""Level groups that sound alike. Only the first line of a poem may rhyme with a neighbouring group
(首句用鄰韻: Wang Li, 詩詞格律, 2.2)."""

_WANG_LI = "Wang Li, 詩詞格律, "
RULES = {
    "出韻": ("an even line is outside the rhyme group of the poem", _WANG_LI + "2.2 律詩的韻"),
    "重韻": ("a rhyme word is used twice", _WANG_LI + "2.2 律詩的韻"),
    "借韻": (
        "the first line rhymes with a neighbouring group, which is accepted",
        _WANG_LI + "2.2 律詩的韻",
    ),
    "首句": (
        "the first line ends level and does not rhyme, which is no fault",
        _WANG_LI + "2.2 律詩的韻",
    ),
    "仄收": ("an odd line after the first ends level", _WANG_LI + "2.3 律詩的平仄"),
    "失替": (
        "the tones at the even places of the line do not alternate",
        _WANG_LI + "2.3 律詩的平仄",
    ),
    "失對": ("the two lines of a couplet do not oppose each other", _WANG_LI + "2.3(3) 粘對"),
    "失黏": (
        "the tone at place 2 differs from that of the line before",
        _WANG_LI + "2.3(3) 粘對",
    ),
    "孤平": (
        "the line ends level with the tones 仄平仄仄平, so one level tone is left alone",
        _WANG_LI + "2.3(4) 孤平的避忌",
    ),
    "特拗": (
        "平平仄平仄 is accepted instead of 平平平仄仄",
        _WANG_LI + "2.3(5) 特定的一種平仄格式",
    ),
    "本句救": (
        "仄平平仄平 is accepted, because its third tone is level",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "對句救": (
        "the oblique tone is accepted, because the next line is level at the third place from "
        "its end",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "拗不救": (
        "the oblique tone is a fault, because the next line is not level at the third place from "
        "its end",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "小拗": (
        "仄仄仄平仄 is accepted instead of 仄仄平平仄",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "三平尾": ("the line ends in three level tones, as in old style", _WANG_LI + "2.6 古體詩"),
    "三仄尾": (
        "the line ends in three oblique tones, which is no fault",
        _WANG_LI + "2.3(7) 一三五不論",
    ),
    "古體": (
        "regulated verse has another tone here, which is no fault in old style",
        _WANG_LI + "2.6 古體詩",
    ),
}
"""Name of a rule -> (its meaning, its source)."""


def _tones_of(signs: str) -> tuple[int, ...]:
    return tuple(LEVEL if sign == "平" else OBLIQUE for sign in signs)


# The tones of the last five places of a regular line. The key has two of them: the second and the
# last.
_REGULAR_LINES = {
    (OBLIQUE, OBLIQUE): _tones_of("仄仄平平仄"),
    (LEVEL, LEVEL): _tones_of("平平仄仄平"),
    (LEVEL, OBLIQUE): _tones_of("平平平仄仄"),
    (OBLIQUE, LEVEL): _tones_of("仄仄仄平平"),
}


@cache
def couplet_patterns(length: int, opening: bool) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Returns all tone patterns of a couplet in which `judge` finds no fault.

    A pattern is (tone at place 2 of the first line, tones of both lines). Each of the 2 * length
    tones is LEVEL or OBLIQUE, and the last one is LEVEL. From one couplet of a poem to the next,
    the tone at place 2 of the first line changes.

    Args:
        length: Characters per line, 5 or 7.
        opening: True for the first couplet. Its first line may also end level.
    """
    patterns = []
    if length == 7:
        # Two places stand in front of a line of five. The first is free. The second has the tone
        # that is opposite to place 2 of the line of five.
        for second, tones in couplet_patterns(5, opening):
            for free, free_in_next_line in product((LEVEL, OBLIQUE), repeat=2):
                first_line = (free, opposite(second), *tones[:5])
                second_line = (free_in_next_line, second, *tones[5:])
                patterns.append((opposite(second), first_line + second_line))
        return tuple(patterns)
    lines_before: list[list[int]] = [] if opening else [[], []]
    for start in (LEVEL, OBLIQUE):
        for tones in product((LEVEL, OBLIQUE), repeat=10):
            lines = [*lines_before, list(tones[:5]), list(tones[5:])]
            _, verdicts = _judge_couplet(lines, len(lines_before), start)
            if tones[-1] == LEVEL and not _count_faults(verdicts):
                patterns.append((start, tones))
    return tuple(patterns)


# ------------------------------------------------------------------------------ the judgment


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one rule at one place."""

    rule: str
    """A key of `RULES`."""
    kind: str
    """fault, accepted (an exception that the rule books allow) or remark."""
    line: int
    place: int
    """The character to mark, counted from 1."""
    lines: tuple[int, ...]
    """All lines that the rule compares, for example the two lines of one couplet."""
    detail: str = ""
    """The characters and groups of this poem that the verdict is about."""

    def __str__(self) -> str:
        lines = "–".join(map(str, self.lines))
        where = f"line{'s' if len(self.lines) > 1 else ''} {lines}, place {self.place}"
        text = f"{where}: {RULES[self.rule][0]} ({self.rule})"
        return f"{text}; {self.detail}" if self.detail else text


@dataclass(frozen=True, slots=True)
class Judgment:
    """The result of `judge`."""

    form: str
    """五言 or 七言 with 絕句, 律詩, 排律 or 古體, or "irregular"."""
    reason: str | None
    """The reason why the form is irregular."""
    rhymed: bool
    regulated: bool
    lines: tuple[str, ...]
    """The Chinese characters of each line, as in the text."""
    tones: tuple[str, ...]
    """The tone that each character was read with: 平, 仄, 中 (either tone fits) or ？ (unknown).
    A character with two tones gets the tone that the pattern of its line has there."""
    due: tuple[str, ...] = ()
    """The tone that regulated verse has at each place, 中 where it is free. Empty for old style."""
    rhyme: tuple[str, ...] = ()
    """The groups that all even lines share. If they share none, the group of most even lines."""
    first_line: str = ""
    """rhymes, borrows (from a neighbouring group) or free."""
    verdicts: tuple[Verdict, ...] = ()
    tone_violations: int = 0
    """The number of broken tone rules, also in old style, which has no such rules."""
    unknown: int = 0
    """The number of characters without a known tone. They fit every place."""

    @property
    def old_style(self) -> bool:
        return self.form.endswith("古體")

    @property
    def free(self) -> bool:
        """True for old style and for irregular lines, which have no tone rules to keep."""
        return self.old_style or self.form == "irregular"

    @property
    def faults(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.kind == "fault")


def judge(text: str) -> Judgment:
    """Judges one poem in traditional or simplified characters.

    These are the definitions of `rhymed` and `regulated` that this project measures with:

    - rhymed: The poem has an even number of lines, at least four, all of five or all of seven
      characters. The last characters of the even lines share one level group. No rhyme word occurs
      twice, in any writing (峰 and 峯).
    - regulated: The poem is rhymed. Lines 3, 5, 7 and so on end oblique. In each line, the
      tones at strict places alternate. The lines of a couplet have opposite tones there, and a new
      couplet begins with the tone of the line before, at place 2. There is no 孤平 (a level tone
      that is left alone) and no 三平尾 (three level tones at the end). Two exceptions are accepted:
      特拗 and 對句救. `RULES` explains both.

    A character with several tones fits either one, unless a compound decides (相思 is 平, 鄉思 is
    仄). So there is a fault only if no reading fits.
    """
    lines = poem_lines(text)
    readable, tones = _read(lines)
    unknown = sum(not tone_bits(character) for line in readable for character in line)
    reason = _why_irregular(lines)
    if reason:
        signs = tuple(map(_signs, readable, tones, tones))
        return Judgment("irregular", reason, False, False, lines, signs, unknown=unknown)

    tones[0] = _read_first_line(readable, tones)
    rhyme = _judge_rhyme(readable, [line[-1] for line in tones])
    reading = _judge_tones(tones)
    rhymed = not _count_faults(rhyme.verdicts)
    # Old style is not failed regulated verse. It rhymes in oblique groups, or breaks the tone rules
    # more often than once in four lines. The Tang poems show a gap there: most poems of twelve
    # lines break no rule, few break one to three, and the others about seven.
    level_ends = sum(bool(line[-1] & LEVEL) for line in tones[1::2])
    old_style = reading.faults > len(lines) // 4 or 4 * level_ends < len(lines)

    meter = {5: "五言", 7: "七言"}[len(lines[0])]
    if old_style:
        shared = _shared_groups([line[-1] for line in readable[1::2]])
        return Judgment(
            form=meter + "古體",
            reason=None,
            rhymed=rhymed,
            regulated=False,
            lines=lines,
            tones=tuple(map(_signs, readable, tones, tones)),
            rhyme=shared,
            first_line="rhymes" if set(shared) & set(rhyme_groups(readable[0][-1])) else "free",
            verdicts=tuple(_as_old_style(reading.verdicts)),
            tone_violations=reading.faults,
            unknown=unknown,
        )
    verdicts = rhyme.verdicts + reading.verdicts
    return Judgment(
        # The 滄浪詩話 (a book on poetry) counts a poem of six lines as 律詩.
        form=meter + {4: "絕句", 6: "律詩", 8: "律詩"}.get(len(lines), "排律"),
        reason=None,
        rhymed=rhymed,
        regulated=rhymed and not reading.faults,
        lines=lines,
        tones=tuple(map(_signs, readable, tones, reading.patterns)),
        due=tuple(map(_due_signs, reading.patterns)),
        rhyme=rhyme.groups,
        first_line=rhyme.first_line,
        verdicts=tuple(sorted(verdicts, key=lambda verdict: (verdict.line, verdict.place))),
        tone_violations=reading.faults,
        unknown=unknown,
    )


def applies(texts: Iterable[str]) -> bool:
    """Returns whether most of these texts are poems that `judge` has rules for.

    Such a text has an even number of lines, at least four, all of five or all of seven Chinese
    characters. So texts in English or Japanese, prose, and 詞 (lyrics with lines of unequal length)
    do not count.
    """
    answers = [_is_verse(text) for text in texts]
    return sum(answers) * 2 > len(answers)


def _is_verse(text: str) -> bool:
    lines = poem_lines(text)
    letters = sum(map(str.isalpha, text))
    # Notes and parts of rare characters are tolerated. Japanese has kana between the characters.
    return _why_irregular(lines) is None and letters <= 1.1 * sum(map(len, lines))


def regulated_faults(
    lines: Sequence[str], length: int, tones: Iterable[list[int]] | None = None
) -> tuple[Verdict, ...]:
    """Returns the broken rules of regulated verse, even if `judge` calls the poem old style.

    The poem may be unfinished: what is missing fits every rule.

    Args:
        lines: Lines of `length` characters. The last one may be shorter.
        tones: The tone bits of the characters of each line, instead of those of `read_tones`.
    """
    if not lines:
        return ()
    readable, read = _read(tuple(lines))
    tones = read if tones is None else list(tones)
    tones = [line + [EITHER] * (length - len(line)) for line in tones]
    if len(tones) % 2:
        tones.append([EITHER] * length)
    finished = tuple(line for line in readable if len(line) == length)
    if len(finished) > 1:
        tones[0] = _read_first_line(finished, tones)
        rhyme_verdicts = _judge_rhyme(finished, [line[-1] for line in tones]).verdicts
    else:
        tones[0] = _read_end(tones)
        rhyme_verdicts = []
    verdicts = rhyme_verdicts + _judge_tones(tones).verdicts
    faults = [verdict for verdict in verdicts if verdict.kind == "fault"]
    return tuple(sorted(faults, key=lambda verdict: (verdict.line, verdict.place)))


def _why_irregular(lines: tuple[str, ...]) -> str | None:
    """Returns the reason why these lines have none of the forms, or None."""
    lengths = sorted(set(map(len, lines)))
    if len(lines) < 4:
        return f"{len(lines)} lines, but the forms have at least four"
    if len(lengths) > 1:
        return f"lines of {', '.join(map(str, lengths[:-1]))} and {lengths[-1]} characters"
    if lengths[0] not in (5, 7):
        return f"lines of {lengths[0]} characters, but the forms have five or seven"
    return f"an odd number of lines, {len(lines)}" if len(lines) % 2 else None


# --------------------------------------------------------------------- reading the characters


def _read(lines: tuple[str, ...]) -> tuple[tuple[str, ...], list[list[int]]]:
    """Returns the lines in traditional characters, which the rhyme book needs, and their tones.

    A simplified character that may stand for several words has the tones of all of them.
    """
    converted = _in_traditional(lines)
    tones = list(map(read_tones, converted))
    if converted != lines:
        tones = list(map(add_meanings, tones, lines))
    return converted, tones


def _in_traditional(lines: tuple[str, ...]) -> tuple[str, ...]:
    if not is_simplified("".join(lines)):
        return lines
    converted = tuple(to_traditional("\n".join(lines)).split("\n"))
    return converted if list(map(len, converted)) == list(map(len, lines)) else lines


def _read_first_line(lines: tuple[str, ...], tones: list[list[int]]) -> list[int]:
    """Returns the tones of the first line. If it may rhyme, its end gets one tone."""
    ends = [line[-1] for line in tones]
    if _judge_rhyme(lines, ends).first_line == "free":
        return tones[0]
    return _read_end(tones)


def _read_end(tones: list[list[int]]) -> list[int]:
    """Returns the tones of the first line, with one tone for an end that may have both.

    The end is level, unless an oblique end breaks fewer rules.
    """
    first_line = tones[0]
    if first_line[-1] != EITHER:
        return first_line
    ending_level = [*first_line[:-1], LEVEL]
    ending_oblique = [*first_line[:-1], OBLIQUE]
    level_faults = _judge_tones([ending_level, *tones[1:]]).faults
    oblique_faults = _judge_tones([ending_oblique, *tones[1:]]).faults
    return ending_oblique if oblique_faults < level_faults else ending_level


def _signs(line: str, tones: list[int], pattern: list[int]) -> str:
    """Returns the tone that each character is read with.

    A character with both tones is read as the pattern has it.
    """
    names = {LEVEL: "平", OBLIQUE: "仄", EITHER: "中"}
    signs = []
    for character, tone, due in zip(line, tones, pattern, strict=True):
        fitting = tone & due
        signs.append(names[fitting or tone] if tone_bits(character) else "？")
    return "".join(signs)


def _due_signs(pattern: list[int]) -> str:
    """Returns a pattern in signs: the tone of strict places and of the end, 中 for free places."""
    last = len(pattern) - 1
    fixed = {*range(1, last, 2), last}
    return "".join(
        TONE_NAMES[tone] if place in fixed else "中" for place, tone in enumerate(pattern)
    )


# --------------------------------------------------------------------------------------- rhyme


class _Rhyme(NamedTuple):
    groups: tuple[str, ...]
    """The level groups that the poem rhymes in."""
    first_line: str
    """rhymes, borrows or free."""
    verdicts: list[Verdict]


def _judge_rhyme(lines: tuple[str, ...], end_tones: list[int]) -> _Rhyme:
    """Judges the last characters of the lines.

    Args:
        end_tones: The tone bits of the last character of each line.
    """
    place = len(lines[0])
    words = [line[-1] for line in lines[1::2]]
    writings = list(map(usual_writing, words))
    groups_of_words = list(map(_level_groups_of, words, end_tones[1::2]))
    counts = Counter(group for groups in groups_of_words for group in groups)
    most = max(counts.values(), default=0)
    rhyme = tuple(group for group, count in counts.items() if count == most)
    known_words = [word for word in words if rhyme_groups(word)]
    if most < len(known_words):
        # The even lines share no group. The poem then rhymes in the group that most lines have. Of
        # groups with equally many lines, the earliest one counts.
        rhyme = rhyme[:1]

    verdicts = []
    for couplet, (word, groups) in enumerate(zip(words, groups_of_words, strict=True)):
        line = 2 * couplet + 2
        if rhyme_groups(word) and not set(groups) & set(rhyme):
            word_groups = "、".join(map(group_name, rhyme_groups(word)))
            poem_groups = "、".join(map(group_name, rhyme)) or "no level group"
            detail = f"{word} is in {word_groups}, the poem rhymes in {poem_groups}"
            verdicts.append(Verdict("出韻", "fault", line, place, (line,), detail))
        if writings[couplet] in writings[:couplet]:
            earlier = writings.index(writings[couplet])
            detail = word if word == words[earlier] else f"{words[earlier]} and {word} are one word"
            verdicts.append(Verdict("重韻", "fault", line, place, (2 * earlier + 2, line), detail))

    first_word = lines[0][-1]
    first_groups = _level_groups_of(first_word, end_tones[0])
    if set(first_groups) & set(rhyme):
        return _Rhyme(rhyme, "rhymes", verdicts)
    for group in first_groups:
        if any(group in neighbours and set(neighbours) & set(rhyme) for neighbours in NEIGHBOURS):
            detail = f"{first_word} is in {group_name(group)}"
            verdicts.append(Verdict("借韻", "accepted", 1, place, (1,), detail))
            return _Rhyme(rhyme, "borrows", verdicts)
    if end_tones[0] == LEVEL:
        verdicts.append(Verdict("首句", "remark", 1, place, (1,), first_word))
    return _Rhyme(rhyme, "free", verdicts)


def _shared_groups(words: list[str]) -> tuple[str, ...]:
    """Returns the groups that all these characters share. Unknown characters have all groups."""
    groups_of_words = [rhyme_groups(word) for word in words if rhyme_groups(word)]
    if not groups_of_words:
        return ()
    first_groups = groups_of_words[0]
    return tuple(
        group for group in first_groups if all(group in groups for groups in groups_of_words)
    )


def _level_groups_of(word: str, tone: int) -> list[str]:
    """Returns the level groups of a rhyme word, none if the word is read oblique."""
    if not tone & LEVEL:
        return []
    return [group for group in rhyme_groups(word) if group in level_groups()]


# --------------------------------------------------------------------------------------- tones
# Tones of a line are a list of bits. k counts lines from 0.


class _Reading(NamedTuple):
    """One way to give each line a pattern."""

    faults: int
    patterns: list[list[int]]
    verdicts: list[Verdict]


def _count_faults(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.kind == "fault" for verdict in verdicts)


def _judge_tones(tones: list[list[int]]) -> _Reading:
    """Returns the reading of the poem that breaks the fewest rules.

    Each couplet may follow one of two patterns, by the tone at place 2 of its first line. The
    best sequence of patterns is chosen. So a wrong line counts as one fault only, and its
    neighbours as none.
    """
    best: dict[int, _Reading] = {}  # tone at place 2 of the last couplet -> the best reading
    for k in range(0, len(tones), 2):
        extended = {}
        for start in (LEVEL, OBLIQUE):
            patterns, verdicts = _judge_couplet(tones, k, start)
            couplet = _Reading(_count_faults(verdicts), patterns, verdicts)
            ways = [
                _join(reading, couplet, k, carries_over=previous_start != start)
                for previous_start, reading in best.items()
            ]
            extended[start] = min(ways, key=lambda way: way.faults) if ways else couplet
        best = extended
    return min(best.values(), key=lambda reading: reading.faults)


def _join(before: _Reading, couplet: _Reading, k: int, carries_over: bool) -> _Reading:
    """Returns the reading of the lines before k, extended by the couplet that starts at line k."""
    joint = [] if carries_over else [Verdict("失黏", "fault", k + 1, 2, (k, k + 1))]
    return _Reading(
        before.faults + len(joint) + couplet.faults,
        before.patterns + couplet.patterns,
        before.verdicts + joint + couplet.verdicts,
    )


def _judge_couplet(
    tones: list[list[int]], k: int, start: int
) -> tuple[list[list[int]], list[Verdict]]:
    """Returns the patterns and verdicts of lines k and k + 1.

    Args:
        start: The tone at place 2 of line k.
    """
    first_pattern, first_verdicts = _judge_line(tones, k, start)
    second_pattern, second_verdicts = _judge_line(tones, k + 1, opposite(start))
    for verdict in first_verdicts:
        if verdict.rule in ("對句救", "小拗") and len(verdict.lines) == 2:
            second_pattern[-3] = LEVEL  # the place that rescues the first line
    return [first_pattern, second_pattern], first_verdicts + second_verdicts


class _Line(NamedTuple):
    """A line with the facts that its rules depend on."""

    number: int
    """From 1."""
    tones: list[int]
    second_due: int
    """The tone due at the second of the last five places."""
    ends_level: bool
    next_third: int
    """The third of the last five places of the next line, 0 for an even line."""

    @property
    def odd(self) -> bool:
        return self.number % 2 == 1

    def verdict(
        self, rule: str, kind: str, place_of_five: int, lines: tuple[int, ...] = ()
    ) -> Verdict:
        place = len(self.tones) - 5 + place_of_five
        return Verdict(rule, kind, self.number, place, lines or (self.number,))


def _judge_line(tones: list[list[int]], k: int, due: int) -> tuple[list[int], list[Verdict]]:
    """Returns the pattern that line k follows, and the verdicts on it.

    Args:
        due: The tone at place 2.
    """
    length, odd = len(tones[k]), k % 2 == 0
    line = _Line(
        number=k + 1,
        tones=tones[k],
        second_due=due if length == 5 else opposite(due),
        ends_level=not odd or (k == 0 and tones[k][-1] == LEVEL),
        next_third=tones[k + 1][-3] if odd else 0,
    )
    front = [due, due] if length == 7 else []
    pattern = [*front, *_REGULAR_LINES[line.second_due, LEVEL if line.ends_level else OBLIQUE]]
    broken = [place for place in range(1, length - 1, 2) if not line.tones[place] & pattern[place]]
    if broken:
        verdicts, last_five = _judge_strict_places(line, broken)
    else:
        verdicts, last_five = _judge_free_places(line)
    if last_five:
        pattern[-5:] = _tones_of(last_five)
    if odd and k > 0 and not line.tones[-1] & OBLIQUE:
        verdicts.append(line.verdict("仄收", "fault", 5))
    return pattern, verdicts


def _judge_strict_places(line: _Line, broken: list[int]) -> tuple[list[Verdict], str]:
    """Judges a line with a wrong tone at a strict place.

    Args:
        broken: Indices of the wrong places, from 0.

    Returns:
        The verdicts. If an exception is accepted: the tones that it allows at the last five
        places, else an empty text.
    """
    first, _, third, _, _ = line.tones[-5:]
    length, number = len(line.tones), line.number
    only_fourth = broken == [length - 2] and line.odd and not line.ends_level
    if only_fourth and line.second_due == LEVEL and first & LEVEL and third & OBLIQUE:
        return [line.verdict("特拗", "accepted", 3)], "平平仄平仄"
    if only_fourth and line.second_due == OBLIQUE:
        if line.next_third & LEVEL:
            rescue = line.verdict("對句救", "accepted", 4, (number, number + 1))
            return [rescue], "仄仄平仄仄"
        return [line.verdict("拗不救", "fault", 4)], ""
    may_be_opposed = all(
        place in broken or line.tones[place] == EITHER for place in range(1, length - 1, 2)
    )
    if may_be_opposed:
        couplet = (number, number + 1) if line.odd else (number - 1, number)
        return [Verdict("失對", "fault", number, 2, couplet)], ""
    return [Verdict("失替", "fault", number, place + 1, (number,)) for place in broken], ""


def _judge_free_places(line: _Line) -> tuple[list[Verdict], str]:
    """Judges the other places of a line whose strict places are right.

    Returns:
        The verdicts. If an exception is accepted: the tones that it allows at the last five
        places, else an empty text.
    """
    first, _, third, fourth, last = line.tones[-5:]
    if line.ends_level and line.second_due == LEVEL and first == OBLIQUE:
        if third & LEVEL:
            return [line.verdict("本句救", "accepted", 3)], "仄平平仄平"
        return [line.verdict("孤平", "fault", 1)], ""
    last_three_level = third == LEVEL and fourth & LEVEL and last & LEVEL
    if line.ends_level and line.second_due == OBLIQUE and last_three_level:
        return [line.verdict("三平尾", "fault", 3)], ""
    if not line.ends_level and line.second_due == OBLIQUE and third == OBLIQUE:
        rescued = line.next_third == LEVEL
        lines = (line.number, line.number + 1) if rescued else (line.number,)
        return [line.verdict("小拗", "accepted", 3, lines)], ""
    if not line.ends_level and line.second_due == LEVEL and third == OBLIQUE and last == OBLIQUE:
        return [line.verdict("三仄尾", "remark", 3)], ""
    return [], ""


def _as_old_style(verdicts: list[Verdict]) -> list[Verdict]:
    """Turns the faults of regulated verse into remarks on old style.

    Leaves out 三平尾, 仄收 and 孤平 (see `RULES`), because they are ordinary in old style.
    """
    return [
        replace(verdict, rule="古體", kind="remark", lines=(verdict.line,), detail="")
        for verdict in verdicts
        if verdict.kind == "fault" and verdict.rule not in ("三平尾", "仄收", "孤平")
    ]
