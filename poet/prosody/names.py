"""Names forms and rhyme groups in Chinese, pinyin and English, and reads the names people type.

It knows which names exist. It does not know the rules of a form.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from poet.errors import UserError, nearest
from poet.prosody.characters import all_groups, group_name, level_groups, rhyme_groups
from poet.prosody.script import to_traditional
from poet.text import HAN


class Form(NamedTuple):
    """A row of the table of forms."""

    chinese: str
    pinyin: str
    english: str
    lines: int
    """The number of lines, unless a request asks for another."""
    characters: int
    """Characters per line."""
    min_lines: int | None
    """The smallest number of lines, or None if the number is fixed."""

    @property
    def label(self) -> str:
        return f"{self.chinese} ({self.english})"

    @property
    def old_style(self) -> bool:
        return self.chinese.endswith("古體")


# The first name of each language is the one that the table shows.
_METERS = {
    5: (("五言", "五"), ("wuyan", "wu"), ("five-character", "5-character", "five-syllable")),
    7: (("七言", "七"), ("qiyan", "qi"), ("seven-character", "7-character", "seven-syllable")),
}
_KINDS = (
    (("絕句", "絕"), ("jueju", "jue"), ("quatrain",), 4, None),
    (("律詩", "律"), ("lüshi", "lü"), ("regulated verse", "regulated poem"), 8, None),
    (
        ("排律", "排"),
        ("pailü", "pai"),
        ("long regulated verse", "long regulated poem", "extended regulated verse"),
        12,
        10,
    ),
    (
        ("古體", "古", "古詩", "古體詩"),
        ("guti", "gu", "gushi", "gutishi"),
        ("old style", "old-style verse", "old-style poem", "ancient style"),
        8,
        4,
    ),
)


def forms_table() -> list[Form]:
    """Returns the eight forms, one row per form."""
    return [
        Form(
            chinese=meter[0][0] + chinese[0],
            pinyin=f"{meter[1][0]}-{pinyin[0]}",
            english=f"{meter[2][0]} {english[0]}",
            lines=lines,
            characters=characters,
            min_lines=min_lines,
        )
        for characters, meter in _METERS.items()
        for chinese, pinyin, english, lines, min_lines in _KINDS
    ]


FORMS = {form.chinese: form for form in forms_table()}
"""Chinese name -> form."""


def read_form_name(name: str) -> Form:
    """Returns the form with this name, in Chinese characters, pinyin or English.

    Case, tone marks, blanks and hyphens do not matter. The letter u may stand for ü.

    Raises:
        UserError: No form has this name. The message gives the nearest one in the same language.
    """
    key = _key(name)
    chinese = _form_keys().get(key)
    if chinese:
        return FORMS[chinese]
    names = [name for form in FORMS.values() for name in (form.chinese, form.pinyin, form.english)]
    spellings = {_key(name): name for name in names}
    if near := nearest(key, spellings):
        raise UserError(f"there is no form {name}. Did you mean {spellings[near]}?")
    listed = [form.chinese if HAN.search(name) else form.english for form in FORMS.values()]
    raise UserError(f"there is no form {name}. The forms are: {', '.join(listed)}.")


@cache
def _form_keys() -> dict[str, str]:
    """Returns the key of each name that a form may have -> its Chinese name."""
    keys = {}
    for chinese_meters, pinyin_meters, english_meters in _METERS.values():
        for chinese_kinds, pinyin_kinds, english_kinds, _, _ in _KINDS:
            names = [
                *((meter, kind) for meter in chinese_meters for kind in chinese_kinds),
                *((meter, kind) for meter in pinyin_meters for kind in pinyin_kinds),
                *((meter, kind) for meter in english_meters for kind in english_kinds),
                *((meter, kind) for meter in english_meters for kind in pinyin_kinds),
            ]
            for meter, kind in names:
                keys[_key(meter + kind)] = chinese_meters[0] + chinese_kinds[0]
    return keys


def _key(name: str) -> str:
    """Returns a name without case, accents, blanks and hyphens, and in traditional characters."""
    letters = unicodedata.normalize("NFKD", to_traditional(name.strip()).casefold())
    key = "".join(letter for letter in letters if letter.isalnum())
    # Keyboards without ü write lüshi as lvshi, passports as lyushi.
    return key.replace("lyu", "lu").replace("lv", "lu")


# -------------------------------------------------------------------------------- rhyme groups

# Pinyin of the groups in the order of the rhyme book: upper and lower level, rising, departing and
# entering tone.
_GROUP_PINYIN = (
    "dong dong jiang zhi wei yu yu qi jia hui zhen wen yuan han shan "
    "xian xiao yao hao ge ma yang geng qing zheng you qin tan yan xian "
    "dong zhong jiang zhi wei yu yu ji xie hui zhen wen ruan han shan xian xiao qiao hao ge ma "
    "yang geng jiong you qin gan yan xian "
    "song song jiang zhi wei yu yu ji tai gua dui zhen wen yuan han jian xian xiao xiao hao ge ma "
    "yang jing jing you qin kan yan xian "
    "wu wo jue zhi wu yue he xia xie yao mo xi zhi ji he ye qia"
)
_NAME_A_GROUP = "Name a group, such as 東 or 1-dong."
_TONE_PREFIXES = {"上平": "", "下平": "", "上": "shang-", "去": "qu-", "入": "ru-"}


class RhymeGroup(NamedTuple):
    """A row of the table of rhyme groups."""

    chinese: str
    """The one-character name."""
    pinyin: str
    numbered: str
    """An unambiguous name: 1-dong for 上平聲一東, shang-1-dong for 上聲一董."""


@cache
def _rhyme_groups() -> dict[str, RhymeGroup]:
    """Returns one-character name -> row, for the 106 groups."""
    rows = {}
    number, tone_before = 0, ""
    for group, pinyin in zip(all_groups(), _GROUP_PINYIN.split(), strict=True):
        tone = group_name(group).split("聲")[0]
        number = number + 1 if tone == tone_before else 1
        rows[group] = RhymeGroup(group, pinyin, f"{_TONE_PREFIXES[tone]}{number}-{pinyin}")
        tone_before = tone
    return rows


def rhymes_table() -> list[RhymeGroup]:
    """Returns the thirty level rhyme groups, which regulated verse uses."""
    return [_rhyme_groups()[group] for group in level_groups()]


def rhyme_label(group: str) -> str:
    """Returns a group's name with its pinyin: 東 (1-dong)."""
    return f"{group} ({_rhyme_groups()[group].numbered})"


def read_rhyme_name(name: str, level: bool) -> str:
    """Returns the rhyme group with this name, by its one-character name.

    A name is the character (東), its place in the book (上平一東), pinyin (jiang), or numbered
    pinyin (1-dong).

    Args:
        level: True to read pinyin as a level group if one has this pinyin.

    Raises:
        UserError: No group has this name, or several have it.
    """
    name = name.strip()
    if not name:
        raise UserError(f"the rhyme is empty. {_NAME_A_GROUP}")
    return _read_chinese_rhyme(name) if HAN.search(name) else _read_pinyin_rhyme(name, level)


def _read_chinese_rhyme(name: str) -> str:
    for spelling in (name, to_traditional(name)):
        group = spelling[-1]
        if group in all_groups():
            tone, ordinal = group_name(group).split("聲")
            if spelling.replace("聲", "") in (group, ordinal, tone + ordinal):
                return group
    groups = rhyme_groups(spelling)
    hint = f"The character {name} is in {_either(groups)}." if groups else _NAME_A_GROUP
    raise UserError(f"there is no rhyme group {name} in the 平水韻 (the rhyme book). {hint}")


def _read_pinyin_rhyme(name: str, level: bool) -> str:
    # The tones of the level groups may be spelled out: shangping-1-dong, xiaping-1-xian.
    key = re.sub("^(shang|xia)ping", "", _key(name))
    rows = _rhyme_groups().values()
    for row in rows:
        if key == _key(row.numbered):
            return row.chinese
    groups = _groups_with_pinyin(key, level)
    if len(groups) == 1:
        return groups[0]
    if groups:
        raise UserError(
            f"{name} is the pinyin of {len(groups)} rhyme groups: {_either(groups)}. "
            "Type the character or the name with its number."
        )
    known = [row.pinyin for row in (rhymes_table() if level else rows)]
    hint = _NAME_A_GROUP
    if near := nearest(key, known):
        hint = f"Did you mean {_either(_groups_with_pinyin(near, level))}?"
    raise UserError(f"there is no rhyme group {name} in the 平水韻 (the rhyme book). {hint}")


def _groups_with_pinyin(pinyin: str, level: bool) -> list[str]:
    """Returns the groups with this pinyin: level ones if asked for and if there are some."""
    groups = [row.chinese for row in _rhyme_groups().values() if row.pinyin == pinyin]
    level_ones = [group for group in groups if group in level_groups()]
    return level_ones if level and level_ones else groups


def _either(groups: Iterable[str]) -> str:
    return " or ".join(map(rhyme_label, groups))
