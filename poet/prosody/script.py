"""Converts simplified text to the traditional characters of the Tang corpus, and back.

It knows the two scripts (the dictionaries of OpenCC) and which variants the corpus prefers.
It does not know poems, tokens or models.

Converting to simplified and back may change a text. In traditional text 里 and 裏, 云 and 雲,
后 and 後 are different words; in simplified text each pair is one character. Therefore text is
converted only if it is clearly simplified, and simplified text is only for display, never for
training.
"""

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


def to_traditional(text: str) -> str:
    """Converts simplified text to the characters of the corpus; leaves traditional text unchanged.

    A text is simplified if it has more characters of the simplified script alone than of the
    traditional script alone. So 白云 is unchanged, because both scripts have both characters, and
    白云归 becomes 白雲歸. The function changes 42 of 266,110 lines of the corpus. It restores
    94.6 % of the titles exactly after they were written in simplified characters.
    """
    simplified = _only_in("STCharacters") - ALSO_TRADITIONAL | _RARELY_TRADITIONAL
    traditional = _only_in("TSCharacters")
    simplified_count = sum(character in simplified for character in text)
    traditional_count = sum(character in traditional for character in text)
    if simplified_count <= traditional_count:
        return text
    converted = "".join(
        _CORPUS_FORM.get(character, character) for character in _converter("s2t").convert(text)
    )
    if len(converted) != len(text):
        return converted
    return "".join(
        old if old + new in _UNCONVERTED else new for old, new in zip(text, converted, strict=True)
    )


def to_simplified(text: str) -> str:
    """Converts traditional text to simplified characters."""
    return _converter("t2s").convert(text)


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
