"""Converts simplified text to the traditional characters of the Tang corpus, and back.

It knows the two scripts (the dictionaries of OpenCC) and which variants the corpus prefers.
It does not know poems, tokens or models.

Converting to simplified and back may change a text. In traditional text 里 and 裏, 云 and 雲,
后 and 後 are different words; in simplified text each pair is one character. Therefore text is
converted only if it is clearly simplified. A corpus is never converted: a model that was trained on
simplified poems writes simplified poems.
"""

from collections.abc import Collection, Iterable
from functools import cache

from opencc import OpenCC

from poet.prosody.package_data import read_package_file

# Two forms of one word: the one that OpenCC writes, then the one that is more frequent in the
# corpus. (All 57,016 poems have 却 2,661 times and 卻 107 times.)
_TWINS = (
    "卻却 峯峰 閒閑 劍劒 嘆歎 荊荆 鬥鬬 溼濕 掛挂 悽淒 個箇 吊弔 煉鍊 腳脚 祕秘 鑑鑒 棋棊 "
    "兇凶 棱稜 燻熏 侖崙 搗擣 袞衮 樸朴 奸姦 諮咨 虯虬 溯泝 污汙 麼麽 皁皂 滷鹵 罵駡 錘鎚 "
    "踊踴 猿猨 慚慙 懶嬾 睹覩 蕊蘂 旆斾 皋臯 婿壻 碗椀 箸筯 佔占 玩翫 輓挽 沾霑 樑梁 菸煙 "
    "蓆席 唸念 佈布 盪蕩 餚肴 蹟跡"
)
_CORPUS_FORM = {pair[0]: pair[1] for pair in _TWINS.split()}
# OpenCC converts the first character to the second. They are different words, and poems use the
# first one more often: 征 1,350 times and 徵 469 times, 干 827 and 幹 121.
_UNCONVERTED = frozenset({"征徵", "咸鹹", "干幹", "弦絃", "卷捲"})

ALSO_TRADITIONAL = frozenset("却峰荆脚秘迹栖凭脉笋衮恒虬葱耻姹凄棱踪灾")
"""Simplified characters that large parts of the traditional corpus use too."""
# Characters that OpenCC allows in both scripts, but the corpus almost never uses (万 0 times,
# 萬 6,663 times).
_RARELY_TRADITIONAL = frozenset("万胜愿岩极帘广种适虫荐据仆腊价涂厘划杰吊叶丰")


TRADITIONAL, SIMPLIFIED = "traditional", "simplified"


def script_of(characters: Iterable[str]) -> str:
    """Returns the script of a text or of a tokenizer's vocabulary: TRADITIONAL or SIMPLIFIED.

    It counts the characters that belong to one script alone. If both counts are equal, the script
    is TRADITIONAL.
    """
    simplified, traditional = _count_scripts(characters)
    return SIMPLIFIED if simplified > traditional else TRADITIONAL


def _count_scripts(characters: Iterable[str]) -> tuple[int, int]:
    """Returns how many characters are simplified only, and how many are traditional only."""
    simplified = _only_in("STCharacters") - ALSO_TRADITIONAL | _RARELY_TRADITIONAL
    characters = list(characters)
    return (
        sum(character in simplified for character in characters),
        sum(character in traditional_only() for character in characters),
    )


def to_script_of(vocabulary: Collection[str], text: str) -> str:
    """Converts a title or an instruction to the script of a model's vocabulary.

    A text in this script, or in both, is unchanged. So is a text whose conversion would have more
    characters outside the vocabulary than before.
    """
    convert = to_traditional if script_of(vocabulary) == TRADITIONAL else _to_simplified_if_needed
    converted = convert(text)
    lacking, lacking_converted = (
        sum(character not in vocabulary for character in version) for version in (text, converted)
    )
    return text if lacking_converted > lacking else converted


def to_traditional(text: str) -> str:
    """Converts simplified text to the characters of the corpus; leaves traditional text unchanged.

    A text is simplified if it has more characters of the simplified script alone than of the
    traditional script alone. So 白云 is unchanged, because both scripts have both characters, and
    白云归 becomes 白雲歸. The function changes 42 of 266,110 lines of the corpus. It restores
    94.6 % of the titles exactly after they were written in simplified characters.
    """
    return from_simplified(text) if script_of(text) == SIMPLIFIED else text


def from_simplified(text: str) -> str:
    """Converts text that is known to be simplified to the characters of the corpus."""
    converted = "".join(map(corpus_form, _converter("s2t").convert(text)))
    if len(converted) != len(text):
        return converted
    return "".join(
        old if old + new in _UNCONVERTED else new for old, new in zip(text, converted, strict=True)
    )


def to_simplified(text: str) -> str:
    """Converts traditional text to simplified characters."""
    return _converter("t2s").convert(text)


def _to_simplified_if_needed(text: str) -> str:
    """Converts a text that has more characters of the traditional script alone than of the other.

    In simplified text 乾 and 著 are right in some words, and `to_simplified` would change them.
    """
    simplified, traditional = _count_scripts(text)
    return to_simplified(text) if traditional > simplified else text


def corpus_form(character: str) -> str:
    """Returns the form of a word that is more frequent in the corpus: 却 for 卻."""
    return _CORPUS_FORM.get(character, character)


@cache
def traditional_only() -> frozenset[str]:
    """Returns the characters that occur in traditional text only."""
    return _only_in("TSCharacters")


@cache
def opencc_dictionary(name: str) -> dict[str, list[str]]:
    """Returns one of OpenCC's dictionaries as character -> its forms in the other script.

    Args:
        name: `STCharacters` (simplified to traditional) or `TSCharacters` (the reverse).
    """
    text = read_package_file("opencc-python-reimplemented", f"opencc/dictionary/{name}.txt")
    rows = (row.partition("\t") for row in text.splitlines())
    return {character: forms.split() for character, _, forms in rows}


@cache
def _converter(conversion: str) -> OpenCC:
    return OpenCC(conversion)


@cache
def _only_in(dictionary: str) -> frozenset[str]:
    """Returns the characters that the dictionary never leaves unchanged: those of one script."""
    pairs = opencc_dictionary(dictionary).items()
    return frozenset(character for character, forms in pairs if character not in forms)
