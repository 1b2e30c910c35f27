"""Finds the lines that a model copied from its training texts, and held-out texts that it has seen.

It knows texts. It does not know models.
"""

from collections import defaultdict
from collections.abc import Sequence
from os.path import commonprefix

from poet.data.kind import Kind
from poet.data.poems import Poem
from poet.data.shapes import ANSWERS, PAIRS
from poet.evaluation.units import Line, joined, lines_of
from poet.prosody.parallelism import Parallelism

_SHORTEST_COPY = 4  # characters; shorter runs are in every poem
_SHORTEST_COUPLET = 10  # characters; shorter ones are formulas of hymns, which many poems share


class TrainingPoems:
    """The poems, or other texts, that a model was trained on.

    Args:
        poems: The texts without their titles or prompts.
        kind: The kind of the texts.
        rows: Prompts with their answers, each as one text. Only for answers.
    """

    def __init__(self, poems: Sequence[str], kind: Kind | None = None, rows: Sequence[str] = ()):
        self.kind = kind = kind or Kind()
        poems_as_lines = [lines_of(poem, kind) for poem in poems]
        self.lines = {line for lines in poems_as_lines for line in lines}
        self.parallelism = Parallelism(poems if kind.verse else ())
        # The line break keeps a run of characters inside one poem.
        self._text = "\n".join(joined(lines, kind) for lines in poems_as_lines)
        self._has_prompts = kind.shape in (ANSWERS, PAIRS)
        self._wordings = {_wording(text) for text in poems}
        self._rows = {_wording(row) for row in rows} if self._has_prompts else set()
        self._couplets = {wording for poem in poems for wording in _couplet_wordings(poem)}

    def has_seen(self, poem: str, prompt: str = "") -> bool:
        """Returns whether the training poems hold a copy, or half of the couplets, of this poem.

        Many prompts share an answer such as "Yes." So an answer counts as seen only if it was
        trained on together with its prompt.
        """
        if self._has_prompts:
            return _wording(f"{prompt}\n{poem}") in self._rows
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

    def longest_copy(self, poems: Sequence[Sequence[Line]]) -> int:
        """Returns the length of the longest run of characters that is also in a training poem.

        A run may cross the ends of lines. The result is 0 if all such runs are shorter than four
        characters.

        Args:
            poems: for each poem, its lines.
        """
        texts = [joined(lines, self.kind) for lines in poems]
        training, longest = self._text, 0
        length = _SHORTEST_COPY  # a longer copy than before begins with a run of this length
        starts = _runs(texts, length)
        for start in range(len(training) - length + 1):
            if places := starts.get(training[start : start + length]):
                runs = (texts[number][place:] for number, place in places)
                for run in runs:
                    # Strings are compared by character, which is wrong for paths and right here.
                    same = commonprefix(  # noqa: RUF071
                        [run, training[start : start + len(run)]]
                    )
                    longest = max(longest, len(same))
                length = longest + 1
                starts = _runs(texts, length)
        return longest


def _runs(texts: Sequence[str], length: int) -> dict[str, list[tuple[int, int]]]:
    """Returns {`length` neighbouring characters: [(number of the text, place in the text), …]}."""
    runs = defaultdict(list)
    for number, text in enumerate(texts):
        for place in range(len(text) - length + 1):
            runs[text[place : place + length]].append((number, place))
    return runs


def _wording(text: str) -> str:
    return Poem("", (text,)).wording


def _couplet_wordings(poem: str) -> list[str]:
    return [_wording(couplet) for couplet in poem.split("\n")]
