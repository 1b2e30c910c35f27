"""Keeps a requested form while a model writes: tokens that break it get no probability.

    processor = FormLogitsProcessor(tokenizer, read_form("五言律詩", rhyme="東"))
    model.generate(**prompts, logits_processor=[processor])

`pipeline(…)(chats, logits_processor=[processor])` works too.

It knows the rules of a form and the ids of a tokenizer. It does not know how a model was trained.
The poems are in the script of the vocabulary, traditional or simplified.

Two checks before the first token make sure that no poem reaches a position where no token fits.
First, a contradiction in the request is refused. Second, the model may only use rhyme groups and
tone patterns that have enough characters for the whole poem. Each character that the model writes
excludes some of these groups and patterns, separately for each poem of a batch. At each step a few
products of tensors give one boolean mask over the vocabulary.
"""

from collections.abc import Iterable

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from poet.errors import UserError
from poet.prosody.characters import (
    COMPOUNDS,
    EITHER,
    LEVEL,
    OBLIQUE,
    TONE_BITS,
    all_groups,
    level_groups,
    meanings,
    opposite,
    read_tones,
    rhyme_groups,
    simplified_only,
    tone,
    tone_bits,
    usual_tone,
    usual_writing,
)
from poet.prosody.judge import couplet_patterns
from poet.prosody.layout import Slot
from poet.prosody.names import rhyme_label
from poet.prosody.request import FormRequest, explain
from poet.prosody.script import SIMPLIFIED, script_of, to_simplified, traditional_only
from poet_tokenizer import RESPONSE

_COMMA, _STOPS = "，", "。？！"


class FormLogitsProcessor(LogitsProcessor):
    """Sets the score of every token that breaks the form to -inf.

    Each poem is complete and keeps the form if it has room for `request.tokens` tokens. The
    processor has no state: it reads the position of a poem from its ids. So one processor serves
    any number of `generate` calls, batches and beams. Prompts may have different lengths if they
    are padded on the left. `CoupletLayout` shows the tokens of a poem.

    Args:
        tokenizer: A tokenizer of this project. It has one token per character, and its prompts end
            in `<RES>`.
        request: The result of `read_form`.
        prompt_length: The number of prompt tokens with padding. Only needed for prompts that do not
            end in `<RES>`.

    Raises:
        UserError: The vocabulary has too few characters for the request.
    """

    # Letters of shapes: B poems of the batch, V tokens of the vocabulary, G rhyme groups,
    # N tone patterns of couplets. Readings have two columns: may be level, may be oblique.

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        request: FormRequest,
        prompt_length: int | None = None,
    ):
        self.request, self.layout = request, request.layout
        self.prompt_length = prompt_length
        self.ids: dict[str, int] = {
            token: id for token, id in tokenizer.get_vocab().items() if len(token) == 1
        }
        self.simplified = script_of(self.ids) == SIMPLIFIED
        self.given = {place: self._spell(due) for place, due in request.given.items()}
        self.response, self.end = tokenizer.convert_tokens_to_ids([RESPONSE, tokenizer.eos_token])
        self.character_positions = self.layout.character_positions(request.couplets)
        self._check_vocabulary()
        self._build_characters(len(tokenizer))
        self._build_compounds(len(tokenizer))
        self._build_rhymes(len(tokenizer))
        if request.regulated:
            self._build_patterns()
        self._check_any_rhyme()
        self.tables = [
            name for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        ]

    # ------------------------------------------------------------------------------- the tables

    def _check_vocabulary(self) -> None:
        """Refuses a vocabulary without the marks of the form or the characters of the request."""
        request = self.request
        for mark in (_COMMA, _STOPS[0], "\n"):
            if mark not in self.ids:
                raise UserError(
                    f"{request.label} needs the mark {mark!r}, which the model's vocabulary lacks. "
                    "Use another model."
                )
        for part, characters in (
            ("acrostic", request.acrostic),
            ("first line", request.first_line),
        ):
            for character in characters:
                if self._spell(character) not in self.ids:
                    raise UserError(
                        f"the {part} has {character}, which the model's vocabulary lacks. "
                        "Choose another character."
                    )

    def _spell(self, character: str) -> str:
        """Returns a requested character in the script of the model."""
        if self.simplified and character in traditional_only():
            return to_simplified(character)
        return character

    def _meanings(self, character: str) -> tuple[str, ...]:
        """Returns the traditional characters that a character of the vocabulary may stand for."""
        return meanings(character) if self.simplified else (character,)

    def _build_characters(self, size: int) -> None:
        """Makes the tables of characters: which ones a poem may have, and how they are read."""
        other_script = traditional_only() if self.simplified else simplified_only()
        self.character_ids = {
            character: id
            for character, id in self.ids.items()
            if all(map(tone, self._meanings(character))) and character not in other_script
        }
        self.characters = _mask(size, self.character_ids.values())  # (V,)
        # Poems use only one tone of some characters, and the mask allows no other. A poem that
        # keeps the rules so also keeps them for `judge`, which allows more readings.
        bits = torch.zeros(size, dtype=torch.long)
        for character, id in self.character_ids.items():
            for meaning in self._meanings(character):
                bits[id] |= TONE_BITS[usual_tone(meaning)]
        self.readings = _readings_of(bits)  # (V, 2)

    def _build_compounds(self, size: int) -> None:
        """Makes the table of compounds, two characters of which one decides how the other is read.

        S characters are second in a compound, F characters are first. Row 0 and column 0 of the
        table stand for all other characters.
        """
        spelled = {
            ("".join(map(self._spell, compound)), offset): decided
            for (compound, offset), decided in COMPOUNDS.items()
        }
        compounds = {
            key: decided
            for key, decided in spelled.items()
            if all(character in self.character_ids for character in key[0])
        }
        firsts, seconds = (
            sorted({compound[offset] for compound, _ in compounds}) for offset in (0, 1)
        )
        first_ids = [self.character_ids[character] for character in firsts]
        second_ids = [self.character_ids[character] for character in seconds]
        self.seconds = torch.tensor(second_ids, dtype=torch.long)  # (S,)
        self.compound_row, self.compound_column = torch.zeros(2, size, dtype=torch.long)  # (V,)
        self.compound_row[first_ids] = torch.arange(1, len(firsts) + 1)
        self.compound_column[self.seconds] = torch.arange(1, len(seconds) + 1)
        bits = torch.full((2, len(firsts) + 1, len(seconds) + 1), EITHER)
        for (compound, offset), decided in compounds.items():
            row, column = firsts.index(compound[0]) + 1, seconds.index(compound[1]) + 1
            bits[offset, row, column] = decided
        # How the first [0] and the second [1] of two neighbouring characters may be read.
        self.compound_readings = _readings_of(bits)  # (2, F + 1, S + 1, 2)

    def _build_rhymes(self, size: int) -> None:
        """Makes the table of rhyme words, and allows the groups that have enough of them."""
        request = self.request
        groups = level_groups() if request.regulated else all_groups()
        if request.rhyme:
            groups = (request.rhyme,)
        numbers = {group: number for number, group in enumerate(groups)}
        self.rhymes = torch.zeros(len(groups), size, dtype=torch.bool)  # (G, V)
        for character, id in self.character_ids.items():
            of_meanings = map(set, map(rhyme_groups, self._meanings(character)))
            for group in set.intersection(*of_meanings).intersection(groups):
                readable = bool(self.readings[id, 0]) or group not in level_groups()
                self.rhymes[numbers[group], id] = readable
        # Two writings of one word (峰 and 峯) are one rhyme word, which has the id of one of them.
        self.word_ids = torch.arange(size)  # (V,)
        first_id: dict[str, int] = {}
        for character, id in self.character_ids.items():
            self.word_ids[id] = first_id.setdefault(usual_writing(character), id)
        # Each even line needs a word, and a first line may need one. A compound may make its second
        # character unusable, so these do not count.
        self.certain = self.characters.clone()  # (V,)
        self.certain[self.seconds] = False
        if request.first_line:
            end = self.word_ids[self.ids[self._spell(request.first_line[-1])]]
            self.certain &= self.word_ids != end
        self.words_needed = request.couplets + (0 if request.first_line else 1)
        writings = torch.zeros(len(groups), size).index_add(
            1, self.word_ids, (self.rhymes & self.certain).float()
        )
        counts = (writings > 0).sum(1)
        self.groups = counts >= self.words_needed  # (G,)
        if request.rhyme and not self.groups.any():
            raise UserError(
                f"the rhyme {rhyme_label(request.rhyme)} has {int(counts[0])} words in the model's "
                f"vocabulary, but {request.label} of {request.lines} lines needs "
                f"{self.words_needed}. Choose another rhyme or fewer lines."
            )

    def _build_patterns(self) -> None:
        """Makes the tables of tone patterns, which regulated verse has."""
        request = self.request
        if not (self.readings & self.certain[:, None]).any(0).all():
            raise UserError(
                f"{request.label} needs level and oblique characters, but the model's vocabulary "
                "lacks one of the two. Use another model."
            )
        first_line_tones = read_tones(request.first_line)
        if first_line_tones and first_line_tones[-1] == LEVEL and not request.rhyme:
            self._keep_groups_of_first_line()
        # Compounds decide the tones of a first line, but not of an acrostic.
        bits = torch.full((request.lines * request.length,), EITHER)
        for place, character in self.given.items():
            bits[place] = tone_bits(character) or EITHER
        bits[: len(first_line_tones)] = torch.tensor(first_line_tones, dtype=torch.long)
        self.given_readings = _readings_of(bits)  # (characters of the poem, 2)

        patterns = couplet_patterns(request.length, opening=True)
        tones = torch.tensor([tones for _, tones in patterns])
        oblique = (tones == OBLIQUE).long()  # (N, 2 length)
        one_hot = torch.nn.functional.one_hot
        self.patterns = one_hot(oblique, 2).flatten(1).float()  # (N, 4 length)
        # The tone at the place before and at this place, as one number from 0 to 3.
        pairs = 2 * oblique.roll(1, 1) + oblique
        self.pair_at = one_hot(pairs, 4).float().transpose(0, 1)  # (2 length, N, 4)
        self.fits = self._patterns_of_couplets(patterns)  # (couplets, 2, N)
        self.fits &= self._without_clash(self.given_readings[None].float())[0, :, None]
        # A poem may start level or oblique only if each couplet then has a pattern. At least one
        # of the two is possible: `read_form` checked the first line, and an acrostic stands at
        # place 1, which is free.
        self.fits &= self.fits.any(-1).all(0)[None, :, None]

    def _patterns_of_couplets(
        self, patterns: tuple[tuple[int, tuple[int, ...]], ...]
    ) -> torch.Tensor:
        """Returns which patterns each couplet may have, in a poem that starts level or oblique.

        The result is (couplets, 2, N). Some patterns are for the first couplet only.
        """
        starts = torch.tensor([start for start, _ in patterns])  # (N,)
        later = set(couplet_patterns(self.request.length, opening=False))
        fits_later = torch.tensor([pattern in later for pattern in patterns])  # (N,)
        fits = torch.zeros(self.request.couplets, 2, len(patterns), dtype=torch.bool)
        for couplet in range(self.request.couplets):
            for number, start in enumerate((LEVEL, OBLIQUE)):
                fits[couplet, number] = starts == (opposite(start) if couplet % 2 else start)
            if couplet:
                fits[couplet] &= fits_later
        return fits

    def _keep_groups_of_first_line(self) -> None:
        """Forbids rhyme groups without the last character of a first line that ends level."""
        request, word = self.request, self.request.first_line[-1]
        of_first_line = rhyme_groups(word)
        self.groups &= torch.tensor([group in of_first_line for group in level_groups()])
        if not self.groups.any():
            raise UserError(
                f"the first line ends in {word}, so {request.label} of {request.lines} lines needs "
                f"{self.words_needed} more words of its rhyme group. The model's vocabulary has "
                "fewer. Change the line or choose fewer lines."
            )

    def _check_any_rhyme(self) -> None:
        if not self.groups.any():
            request = self.request
            raise UserError(
                f"{request.label} of {request.lines} lines needs {self.words_needed} words of one "
                "rhyme group. The model's vocabulary has fewer in every group. Choose fewer lines."
            )

    # ---------------------------------------------------------------------------------- one step
    # `poems` are ids without the prompt, n is the number of characters so far.

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Masks the scores of the next token: (B, tokens), (B, V) -> (B, V).

        Raises:
            ValueError: The poems start at different columns, or a prompt begins a poem that breaks
                the form.
        """
        if self.characters.device != scores.device:
            for name in self.tables:
                setattr(self, name, getattr(self, name).to(scores.device))
        poems = input_ids[:, self._start(input_ids) :]
        allowed = self._allowed(poems)
        if not allowed.any(1).all():
            raise ValueError(self._why_nothing_fits(poems[int(allowed.any(1).int().argmin())]))
        if self.request.regulated and poems.shape[1] == self.request.length - 1:
            scores = self._keep_share_of_level_ends(scores, allowed)
        allowed = torch.nn.functional.pad(allowed, (0, scores.shape[1] - allowed.shape[1]))
        kept = scores.masked_fill(~allowed, -torch.inf)
        # If an earlier processor, such as a ban on repetition, forbids all of them, the form wins.
        return kept.masked_fill(allowed & kept.isneginf().all(1, keepdim=True), 0.0)

    def _why_nothing_fits(self, poem: torch.Tensor) -> str:
        tokens = {id: token for token, id in self.ids.items()}
        text = "".join(tokens.get(id, "") for id in poem.tolist())
        reasons = explain(self.request, text, self.ids, finished=False) or [
            "The vocabulary has too few characters for the rest of the poem."
        ]
        return (
            f"the prompt begins a poem that breaks the rules of {self.request.label}. "
            + " ".join(reasons)
        )

    def _start(self, input_ids: torch.Tensor) -> int:
        """Returns the column where the poems begin: after the last `<RES>`."""
        if self.prompt_length is not None:
            return self.prompt_length
        marks = input_ids == self.response
        start = input_ids.shape[1] - marks.flip(1).int().argmax(1)
        if not marks.any(1).all() or start.min() != start.max():
            raise ValueError(
                f"the prompts do not all end in {RESPONSE} at the same column. Pad them on the "
                "left, or give prompt_length."
            )
        return int(start[0])

    def _allowed(self, poems: torch.Tensor) -> torch.Tensor:
        """Returns which tokens may be next: (B, tokens of the poem so far) -> (B, V)."""
        length, position = self.request.length, poems.shape[1]
        couplet, column = divmod(position, self.layout.width)
        slot = self.layout.slot(column)
        if position >= self.request.tokens - 1:
            return self._only(poems, self.end)
        if slot is Slot.COMMA:
            return self._only(poems, self.ids[_COMMA])
        if slot is Slot.STOP:
            return self._only(poems, *(self.ids[mark] for mark in _STOPS if mark in self.ids))
        if slot is Slot.BREAK:
            return self._only(poems, self.ids["\n"])
        place = self.layout.place(column)
        n = couplet * 2 * length + place
        if n in self.given:
            return self._only(poems, self.ids[self.given[n]])
        characters = poems[:, self.character_positions[:n]]
        allowed = self.characters.expand(len(poems), -1)
        if self.request.regulated:
            allowed = allowed & self._in_tone(characters, couplet, place)
        if column == self.layout.rhyme:
            allowed = allowed & self._rhyming(characters)
        elif n == length - 1 and self.request.regulated:
            # A first line with a level end must rhyme. With an oblique end it need not.
            allowed = allowed & (self._rhyming(characters) | self._oblique_after(characters[:, -1]))
        return allowed

    def _keep_share_of_level_ends(
        self, scores: torch.Tensor, allowed: torch.Tensor
    ) -> torch.Tensor:
        """At the end of line 1, moves the probability of all level-tone words to those that rhyme.

        So the first line ends level as often as the model prefers, which is most of the time in
        七言. The mask alone would make it rare: it leaves all oblique words, but few level ones.
        """
        size = len(self.characters)
        level = self.readings[:, 0] & ~self.readings[:, 1]  # (V,)
        rhyming = level & allowed  # (B, V)
        of_level, of_rhyming = (
            scores[:, :size].masked_fill(~words, -torch.inf).logsumexp(1, keepdim=True)
            for words in (level, rhyming)
        )
        # An earlier processor may have forbidden all rhyming words.
        possible = of_rhyming.isfinite()
        raised = scores[:, :size] + of_level - of_rhyming
        raised = torch.where(rhyming & possible, raised, scores[:, :size])
        return torch.cat([raised, scores[:, size:]], dim=1)

    def _only(self, poems: torch.Tensor, *ids: int) -> torch.Tensor:
        return _mask(len(self.characters), ids).to(poems.device).expand(len(poems), -1)

    def _rhyming(self, characters: torch.Tensor) -> torch.Tensor:
        """Returns which characters rhyme with all rhyme words so far: (B, n) -> (B, V).

        A word that was already used does not rhyme again, in any writing.
        """
        length, request = self.request.length, self.request
        ends = characters[:, length - 1 :: length]
        words = torch.cat([ends[:, :1], ends[:, 1::2]], dim=1)  # line 1 and the even lines
        agree = self.rhymes[:, words]  # (G, B, words)
        if words.shape[1]:
            if request.regulated and not request.first_line:
                # A first line with an oblique end does not rhyme, so it excludes no group.
                oblique = self._oblique_after(characters[:, length - 2])
                agree[:, :, 0] |= oblique.gather(1, words[:, :1])[:, 0]
            else:
                # In old style line 1 need not rhyme. A requested first line has already limited
                # `self.groups`.
                agree[:, :, 0] = True
        open_groups = agree.all(2).T & self.groups  # (B, G)
        used = torch.zeros_like(self.characters).repeat(len(words), 1)
        used.scatter_(1, self.word_ids[words], True)
        return (open_groups.float() @ self.rhymes.float() > 0) & ~used[:, self.word_ids]

    def _oblique_after(self, before: torch.Tensor) -> torch.Tensor:
        """Returns which characters may be read oblique after these: (B,) -> (B, V)."""
        oblique = self.readings[:, 1].repeat(len(before), 1)
        oblique[:, self.seconds] &= self.compound_readings[1, self.compound_row[before], 1:, 1]
        return oblique

    def _in_tone(self, characters: torch.Tensor, couplet: int, place: int) -> torch.Tensor:
        """Returns which characters leave the poem a tone pattern to follow: (B, n) -> (B, V)."""
        unbroken = self._without_clash(self._readings(characters, couplet))  # (B, couplets, N)
        fits = self.fits[: couplet + 1] & unbroken[:, :, None]  # (B, couplets, 2, N)
        starts = fits.any(3).all(1)  # (B, 2)
        open_patterns = (fits[:, -1] & starts[:, :, None]).any(1)  # (B, N)
        ways = (open_patterns.float() @ self.pair_at[place] > 0).view(-1, 2, 2)  # (B, before, here)
        here = ways.any(1)  # (B, 2)
        allowed = here[:, :1] & self.readings[:, 0] | here[:, 1:] & self.readings[:, 1]
        if place % self.request.length and len(self.seconds):
            # A compound decides how its second character is read, or its first.
            row = self.compound_row[characters[:, -1]]
            before, after = self.compound_readings[:, row, 1:]  # (B, S, 2) each
            after = after & self.readings[self.seconds]
            both = before[:, :, :, None] & after[:, :, None, :] & ways[:, None]
            allowed[:, self.seconds] = both.flatten(2).any(2)
        return allowed

    def _readings(self, characters: torch.Tensor, couplet: int) -> torch.Tensor:
        """Returns how the characters so far may be read, as 0 or 1.

        (B, n) -> (B, characters of the couplets so far, 2). Places that are still empty are 1.
        """
        n, length = characters.shape[1], self.request.length
        readings = torch.ones(
            len(characters), (couplet + 1) * 2 * length, 2, device=characters.device
        )
        if n:
            given = torch.zeros(n, dtype=torch.bool, device=characters.device)
            given[[place for place in self.given if place < n]] = True
            known = torch.where(given[:, None], self.given_readings[:n], self.readings[characters])
            pairs = self.compound_readings[
                :, self.compound_row[characters[:, :-1]], self.compound_column[characters[:, 1:]]
            ]
            second = torch.arange(1, n, device=characters.device)
            side_by_side = (second % length > 0) & (second >= len(self.request.first_line))
            pairs = pairs | ~side_by_side[:, None]  # (2, B, n - 1, 2)
            known[:, :-1] &= pairs[0]
            known[:, 1:] &= pairs[1]
            readings[:, :n] = known.float()
        return readings

    def _without_clash(self, readings: torch.Tensor) -> torch.Tensor:
        """Returns which patterns fit the tones that the characters can have.

        (B, characters of whole couplets, 2) -> (B, couplets, N)
        """
        refused = (1 - readings).unflatten(1, (-1, 2 * self.request.length)).flatten(2)
        return refused @ self.patterns.T == 0


def _mask(size: int, ids: Iterable[int]) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(ids)] = True
    return mask


def _readings_of(bits: torch.Tensor) -> torch.Tensor:
    """Turns tone bits (…) into two booleans (…, 2): may be read level, may be read oblique."""
    return torch.stack([(bits & LEVEL) > 0, (bits & OBLIQUE) > 0], dim=-1)
