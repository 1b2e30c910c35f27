"""Finds the lines that a model copied from its training poems, and held-out poems that it has seen.

It knows texts. It does not know models.
"""

from collections import defaultdict
from collections.abc import Sequence
from os.path import commonprefix

from poet.data.poems import Poem
from poet.prosody.parallelism import Parallelism
from poet.text import poem_lines

_SHORTEST_COPY = 4  # characters; shorter runs are in every poem
_SHORTEST_COUPLET = 10  # characters; shorter ones are formulas of hymns, which many poems share


class TrainingPoems:
    """The poems that a model was trained on."""

    def __init__(self, poems: Sequence[str]):
        poems_as_lines = [poem_lines(poem) for poem in poems]
        self.lines = {line for lines in poems_as_lines for line in lines}
        self.parallelism = Parallelism(poems)
        # The line break keeps a run of characters inside one poem.
        self._text = "\n".join("".join(lines) for lines in poems_as_lines)
        self._wordings = {_wording(poem) for poem in poems}
        self._couplets = {wording for poem in poems for wording in _couplet_wordings(poem)}

    def has_seen(self, poem: str) -> bool:
        """Returns whether a held-out poem leaked: a copy or half of its couplets was trained on."""
        return self.has_copy(poem) or self.has_half(poem)

    def has_copy(self, poem: str) -> bool:
        """Returns whether a training poem has the same characters; punctuation does not count."""
        return _wording(poem) in self._wordings

    def has_half(self, poem: str) -> bool:
        """Returns whether at least half of the poem's couplets are in the training poems.

        Couplets of fewer than ten characters do not count as seen.
        """
        couplets = _couplet_wordings(poem)
        seen = [
            couplet
            for couplet in couplets
            if len(couplet) >= _SHORTEST_COUPLET and couplet in self._couplets
        ]
        return 2 * len(seen) >= len(couplets)

    def longest_copy(self, poems: Sequence[tuple[str, ...]]) -> int:
        """Returns the length of the longest run of characters that is also in a training poem.

        A run may cross the ends of lines. The result is 0 when no run has four characters.

        Args:
            poems: poems as their lines.
        """
        text, longest = self._text, 0
        starts: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for poem in map("".join, poems):
            for start in range(len(poem) - _SHORTEST_COPY + 1):
                starts[poem[start : start + _SHORTEST_COPY]].append((poem, start))
        for text_start in range(len(text) - _SHORTEST_COPY + 1):
            for poem, start in starts.get(text[text_start : text_start + _SHORTEST_COPY], ()):
                run = poem[start:]
                if text.startswith(run[: longest + 1], text_start):
                    # Strings are compared by character, which is wrong for paths and right here.
                    same = commonprefix(  # noqa: RUF071
                        [run, text[text_start : text_start + len(run)]]
                    )
                    longest = max(longest, len(same))
        return longest


def _wording(text: str) -> str:
    return Poem("", (text,)).wording


def _couplet_wordings(poem: str) -> list[str]:
    return [_wording(couplet) for couplet in poem.split("\n")]
