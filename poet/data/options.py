"""Defines the options of the data: the keys of data.yaml."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from poet.data import preferences
from poet.data.poems import SPLIT_SEED
from poet.data.run_data import STAGES
from poet.errors import UserError

SOURCE_KEYS = ("corpus", *STAGES)


@dataclass
class DataOptions:
    """Options of the data. The defaults are those of the original tutorial."""

    removed: ClassVar[dict[str, Any]] = {"seed": SPLIT_SEED}
    """Keys of older recipes, and the value that is always used now. A run still records them."""

    corpus: str | None = field(
        default=None,
        metadata={
            "help": "sample, tang, song or tang+song. Or a folder, a file (.json, .jsonl, .csv, "
            ".tsv, .parquet, .txt, .md), or the id of a data set on the Hub (owner/name)."
        },
    )
    pretrain: str | None = field(
        default=None, metadata={"help": "Texts for pretraining, instead of those of the corpus."}
    )
    sft: str | None = field(
        default=None,
        metadata={
            "help": "Rows for fine-tuning, instead of those of the corpus: prompt and completion, "
            "or messages."
        },
    )
    dpo: str | None = field(
        default=None,
        metadata={
            "help": "Pairs for alignment, instead of those of the corpus: prompt, chosen, rejected."
        },
    )
    preference: str | None = field(
        default="five-character",
        metadata={
            "help": "The poems that alignment prefers: a name in poet/data/preferences.py, "
            "or module:function. auto: five-character for Chinese verse, else none. Empty: none."
        },
    )
    instruction: str | None = field(
        default=None,
        metadata={
            "help": "The start of each prompt. Default: 請用以下題目寫一首詩 for Chinese poems, "
            "'Write a poem with this title: ' for English poems, else nothing."
        },
    )
    language: str | None = field(
        default=None,
        metadata={"help": "Language of the texts, like en. Default: found in the texts."},
    )
    split: list[int] = field(
        default_factory=lambda: [5, 3, 2],
        metadata={"help": "Ratio of the poems for pretraining, fine-tuning and alignment."},
    )
    held_out: float = field(
        default=0.1,
        metadata={"help": "Share of each set that is held out for evaluation: its last part."},
    )
    min_couplets: int = field(
        default=2, metadata={"help": "Drop poems with fewer couplets. One couplet is a fragment."}
    )
    equal_couplets: bool = field(
        default=True,
        metadata={"help": "Drop poems whose couplets differ in length, such as songs."},
    )
    forbidden: str = field(
        default="□(（",
        metadata={"help": "Drop poems with one of these: □ is a lost character, ( begins a note."},
    )
    copies_together: bool | None = field(
        default=None,
        metadata={
            "help": "Keep copies of a poem in one part of the split. Default: true, but false for "
            "the Tang files, as in the original tutorial."
        },
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "For a corpus larger than memory. The hash of a text then decides its part."
        },
    )
    title_column: str | None = field(
        default=None, metadata={"help": "Column of the titles, if its name is unusual."}
    )
    lines_column: str | None = field(
        default=None, metadata={"help": "Column of the poems, if its name is unusual."}
    )
    author_column: str | None = field(
        default=None, metadata={"help": "Column of the authors, if its name is unusual."}
    )

    def __post_init__(self) -> None:
        self.forbidden = self.forbidden or ""  # YAML reads an empty value as None
        if not self.sources():
            raise UserError("there is no corpus. Name a folder or a file with --corpus PATH.")
        if not isinstance(self.split, list) or len(self.split) != 3 or min(self.split) < 1:
            raise UserError(f"split is {self.split}. Give three whole numbers above 0, like 5 3 2.")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is {self.held_out}. Give a share between 0 and 1, like 0.1.")
        if self.preference and self.preference != "auto":
            preferences.check_name(self.preference)

    def sources(self) -> dict[str, str]:
        """Returns the sources by key: the corpus, and those of single stages."""
        named = {key: getattr(self, key) for key in SOURCE_KEYS}
        return {key: str(name) for key, name in named.items() if name is not None}

    def keeps_copies_together(self) -> bool:
        """Returns whether all copies of a poem go to one part."""
        if self.copies_together is None:
            from poet.data.sources import fingerprint

            return fingerprint(str(self.corpus)) != fingerprint("tang")
        return self.copies_together

    @property
    def columns(self) -> dict[str, str | None]:
        return {
            "title": self.title_column,
            "lines": self.lines_column,
            "author": self.author_column,
        }
