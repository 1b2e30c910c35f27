"""Says which token each position of a poem holds: a character, a mark or a line break.

It knows how couplets are laid out. It does not know rules of tone or rhyme.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Slot(Enum):
    """The kind of token that a position of a couplet holds."""

    CHARACTER = auto()
    COMMA = auto()
    """The mark after the first line: ，"""
    STOP = auto()
    """The mark after the second line: 。？！"""
    BREAK = auto()
    """A line break. After the last couplet it is the end mark instead."""


@dataclass(frozen=True)
class CoupletLayout:
    """The layout of a couplet of two lines of `length` characters, one token per character.

    A poem in tokens is one couplet after another. With five characters per line, each takes 13:

        column    0  1  2  3  4   5   6  7  8  9 10  11  12
        token    石 徑 幽 泉 細  ，  松 窗 夜 雨 聲  。  line break
        place     0  1  2  3  4       5  6  7  8  9
        slot     CHARACTER ...  COMMA  CHARACTER ... STOP BREAK

    A *column* counts the tokens of one couplet. A *place* counts its characters. Both start at 0.
    """

    length: int

    @property
    def width(self) -> int:
        """Tokens per couplet: two lines, two marks and a line break."""
        return 2 * self.length + 3

    @property
    def comma(self) -> int:
        return self.length

    @property
    def rhyme(self) -> int:
        """The column of the last character."""
        return 2 * self.length

    @property
    def stop(self) -> int:
        return 2 * self.length + 1

    @property
    def line_break(self) -> int:
        return 2 * self.length + 2

    def slot(self, column: int) -> Slot:
        """Returns the kind of token in a column."""
        other = {self.comma: Slot.COMMA, self.stop: Slot.STOP, self.line_break: Slot.BREAK}
        return other.get(column, Slot.CHARACTER)

    def place(self, column: int) -> int:
        """Returns the place of the character in a column."""
        return column if column < self.comma else column - 1

    def character_positions(self, couplets: int) -> list[int]:
        """Returns the positions of the characters among the tokens of a poem."""
        positions = range(couplets * self.width)
        return [
            position for position in positions if self.slot(position % self.width) is Slot.CHARACTER
        ]
