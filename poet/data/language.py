"""Finds the language and the script of texts, to choose an instruction and to fill in the card.

It knows letters and a few frequent words. The result is a guess: `language` in data.yaml overrides
it.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from poet_tokenizer import DEFAULT_INSTRUCTION

_SAMPLE = 200_000  # characters that are looked at

# The first word of a letter's Unicode name says its script. These scripts have one main language.
_BY_SCRIPT = {
    "HANGUL": "ko",
    "THAI": "th",
    "GREEK": "el",
    "HEBREW": "he",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
}
_FREQUENT_WORDS = {
    "en": "the and of to in a that is with for it on",
    "de": "der die und das nicht ist ein zu mit den sich im",
    "fr": "le la les et des une est dans que pour pas sur",
    "es": "el los las y que en una por con para no se",
    "it": "il che di e la per non una con del sono gli",
    "pt": "o que de não uma os com para do da em as",
    "nl": "de het een van en niet dat is op te met zijn",
    "ru": "и в не на что он я с как это по но",
    "uk": "і в не на що він я з як це та до",
}
_NAMES = {
    "ar": "Arabic", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "fr": "French", "he": "Hebrew", "hy": "Armenian", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "ko": "Korean", "nl": "Dutch", "pt": "Portuguese", "ru": "Russian",
    "th": "Thai", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip


@dataclass(frozen=True)
class Language:
    """A language (ISO 639-1 code, or None where it is not known) and a script."""

    code: str | None
    script: str

    @property
    def name(self) -> str | None:
        """The English name, or the code where this module has no name, or None."""
        return None if self.code is None else _NAMES.get(self.code, self.code)


def detect(texts: Iterable[str]) -> Language:
    """Returns the language of the most frequent script. If a script has several, words decide."""
    text = "\n".join(islice(texts, 2000))[:_SAMPLE]
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    if not scripts:
        return Language(None, "no letters")
    script = scripts.most_common(1)[0][0]
    if script in ("CJK", "HIRAGANA", "KATAKANA"):
        kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
        if kana > 0.1 * scripts["CJK"]:
            return Language("ja", "Japanese")
        return Language("zh", _chinese_script(text))
    if script in _BY_SCRIPT:
        return Language(_BY_SCRIPT[script], script.capitalize())
    return Language(_by_words(text), script.capitalize())


def instruction_for(language: Language) -> str:
    """Returns the start of a prompt that asks for a poem by its title. It may be empty."""
    if language.code == "zh" and language.script == "simplified Chinese":
        from poet.prosody.script import to_simplified

        return to_simplified(DEFAULT_INSTRUCTION)
    return {"zh": DEFAULT_INSTRUCTION, "en": "Write a poem with this title: "}.get(
        language.code or "", ""
    )


def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNNAMED").split(" ")[0].removesuffix("-")


def _chinese_script(text: str) -> str:
    from poet.prosody.script import to_traditional

    # The conversion changes a text only if it is clearly simplified.
    changed = to_traditional(text) != text
    return "simplified Chinese" if changed else "traditional Chinese"


def _by_words(text: str) -> str | None:
    words = Counter(text.lower().split())
    found = {code: sum(words[w] for w in known.split()) for code, known in _FREQUENT_WORDS.items()}
    best = max(found, key=lambda code: found[code])
    return best if found[best] > 0.05 * words.total() else None
