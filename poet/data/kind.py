"""Says whether the texts of a run are poems, documents, answers or pairs, and in which language.

Cards, reports and messages take their words from it. It knows the summary of a run. It does
not know models or measures.
"""

from dataclasses import dataclass
from typing import Any

from poet.data.shapes import ANSWERS, DOCUMENTS, PAIRS, POEMS

_WITHOUT_SPACES = ("zh", "ja", "th")


@dataclass(frozen=True)
class Kind:
    """The shape and the language of texts. The defaults are those of the original tutorial.

    Attributes:
        shape: poems, documents, answers or pairs.
        code: ISO 639-1 code of the language, or None where it is not known.
        language: its English name, or None.
        verse: whether most texts are classical Chinese verse, which `judge` has rules for.
    """

    shape: str = POEMS
    code: str | None = "zh"
    language: str | None = "Chinese"
    script: str = "traditional Chinese"
    verse: bool = True

    @property
    def texts(self) -> str:
        """Returns one word: poems, texts or answers."""
        return {POEMS: "poems", DOCUMENTS: "texts"}.get(self.shape, "answers")

    @property
    def full_name(self) -> str:
        """Returns a noun phrase, such as "poems in English"."""
        noun = {ANSWERS: "answers to questions", PAIRS: "answers to prompts"}.get(
            self.shape, self.texts
        )
        if self.verse:
            return "poems in classical Chinese"
        return f"{noun} in {self.language}" if self.language else noun

    @property
    def prompts(self) -> str:
        """Returns one word for the texts that the model answers: titles or prompts."""
        return "titles" if self.shape == POEMS else "prompts"

    @property
    def has_spaces(self) -> bool:
        """Returns whether spaces stand between words."""
        return self.code not in _WITHOUT_SPACES

    def words(self) -> dict[str, str]:
        """Returns the words that fill the templates of poet/training/stages.py."""
        has_titles = self.shape == POEMS
        return {
            "full_name": self.full_name,
            "written": f"{self.full_name} for titles" if has_titles else self.full_name,
            "texts": self.texts,
            "text": self.texts[:-1],
            "prompts": self.prompts,
            "pairs": "titles and their poems" if has_titles else "prompts and answers",
            "answer": "a title with a poem" if has_titles else "a prompt",
            "read": "poems" if has_titles else "texts",
            "next_stage": "the next stage" if has_titles else "fine-tuning",
            "trained_on": "poems with their titles" if has_titles else "such texts",
            "preferred": f"{'in the form' if self.verse else 'of the kind'} that was preferred",
        }


def has_titles(summary: dict[str, Any]) -> bool:
    """Returns whether each text of pretraining begins with its title."""
    return summary.get("shapes", {}).get("pretrain", POEMS) == POEMS


def kind_of(summary: dict[str, Any], stage: str = "") -> Kind:
    """Returns the kind of texts that the models of a run write.

    Args:
        summary: The summary of the run. An old summary lacks the keys for this. Its run is about
            Chinese poems.
        stage: With "pretrain", the kind of texts that pretraining reads.
    """
    shapes, language = summary.get("shapes"), summary.get("language")
    if shapes is None or language is None:
        return Kind()
    shape = next(shapes[key] for key in ("sft", "dpo", "pretrain") if key in shapes)
    if stage == "pretrain" and not has_titles(summary):
        shape = DOCUMENTS  # prompts and answers are one text there
    is_verse = summary.get("verse", shape == POEMS and language["code"] == "zh")
    return Kind(shape, language["code"], language["name"], language["script"], is_verse)
