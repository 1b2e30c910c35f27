"""A request for a form -> verse that keeps it, whatever the model would rather write.

    processor = FormLogitsProcessor(tokenizer, read_form("五言律詩", rhyme="東"))
    model.generate(**prompts, logits_processor=[processor])     # or pipeline(…)(chats, logits_processor=[processor])

Knows forms, tones and rhyme (from `poet.prosody.judge`) and the ids of a tokenizer; knows nothing of how a model was trained.

Two things are settled before the first character, so that no poem ever runs into a place where nothing fits: every clash
of wishes is refused, and only rhyme groups and tone patterns that suffice to the end stay open. Which of these a poem
follows is then the model's choice: its own characters narrow them down, each poem of a batch for itself. At each step
what still fits is one boolean mask over the vocabulary, made from tables by a few products of tensors.
"""

import difflib
from dataclasses import dataclass

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from poet.errors import UserError
from poet.prosody import judge as prosody
from poet.prosody.judge import EITHER, LEVEL, OBLIQUE
from poet.prosody.script import to_traditional
from poet.text import line_length, poem_lines
from poet_tokenizer import RESPONSE

FORMS = {
    meter + kind: (length, lines)
    for meter, length in (("五言", 5), ("七言", 7))
    for kind, lines in (("絕句", 4), ("律詩", 8), ("排律", 12), ("古體", 8))
}
"""Name of a form -> characters a line, lines unless asked for others: 排律 may have ten and more, 古體 four and more."""
_SHORT = {name[0] + name[2]: name for name in FORMS}  # 五律, 七絕
_COMMA, _ENDS = "，", "。？！"
_MARKS = "，。？！；、,.?!;"
_BITS = {"平": LEVEL, "仄": OBLIQUE, "平仄": EITHER, "中": EITHER, "？": EITHER, None: 0}


def regulated_form(poem: str) -> str | None:
    """五言 or 七言 with 絕句, 律詩 or 排律, by the length and the number of its lines; None where regulated verse has no such."""
    length, lines = line_length(poem), len(poem_lines(poem))
    kind = {4: "絕句", 8: "律詩"}.get(lines, "排律")
    return {5: "五言", 7: "七言"}[length] + kind if length and lines >= 4 and lines != 6 else None


# ------------------------------------------------------------------------------------------------- what is wished for


@dataclass(frozen=True)
class FormRequest:
    """What `read_form` made of the words of a person: traditional characters, no marks, no clash among them."""

    form: str
    length: int
    """Characters a line, 5 or 7."""
    lines: int
    rhyme: str | None
    """One of the 106 groups, by its one-character name."""
    acrostic: str
    """One character a line, or one a couplet."""
    first_line: str

    @property
    def regulated(self) -> bool:
        return not self.form.endswith("古體")

    @property
    def couplets(self) -> int:
        return self.lines // 2

    @property
    def tokens(self) -> int:
        """What a poem takes with its marks, line breaks and the end mark."""
        return self.couplets * (2 * self.length + 3)

    @property
    def rhyme_places(self) -> list[int]:
        """Tokens of the poem, from 0, at which an even line ends."""
        return [
            couplet * (2 * self.length + 3) + 2 * self.length for couplet in range(self.couplets)
        ]

    @property
    def mark_places(self) -> list[int]:
        """Tokens of the poem, from 0, that are the marks behind its lines."""
        return [place + step for place in self.rhyme_places for step in (-self.length, 1)]

    @property
    def given(self) -> dict[int, str]:
        """Place in the poem, counted over its characters from 0 -> the character that must stand there."""
        step = self.lines // len(self.acrostic) if self.acrostic else 0
        heads = {number * step * self.length: head for number, head in enumerate(self.acrostic)}
        return heads | dict(enumerate(self.first_line))


def read_form(
    form: str,
    rhyme: str | None = None,
    acrostic: str | None = None,
    first_line: str | None = None,
    lines: int | None = None,
) -> FormRequest:
    """The words of a request, traditional or simplified -> the request.

    Args:
        form: a key of `FORMS`, or its usual short name (五律, 七絕).
        rhyme: a group of 平水韻, 東 or 上平聲一東; regulated verse rhymes in level ones.
        acrostic: the characters that head the lines, or the couplets where there are half as many.
        first_line: the poem's first line. A mark behind it is dropped, since the form has its own.
        lines: how many, for 排律 and 古體.

    Raises:
        UserError: a request that nobody could fulfil, or two that clash, in one sentence.
    """
    name = to_traditional(form.strip())
    name = _SHORT.get(name, name)
    if name not in FORMS:
        near = difflib.get_close_matches(name, FORMS, n=1, cutoff=0.5)
        raise UserError(
            f"there is no form {form}; {'the nearest is' if near else 'there are'} {', '.join(near or FORMS)}"
        )
    length, usual = FORMS[name]
    request = FormRequest(
        form=name,
        length=length,
        lines=_read_lines(name, usual, lines),
        rhyme=_read_rhyme(rhyme),
        acrostic=_read_characters("acrostic", acrostic),
        first_line=_read_characters("first line", first_line),
    )
    if request.rhyme and request.regulated and request.rhyme not in prosody.level_groups():
        its = prosody.group_name(request.rhyme)
        raise UserError(
            f"the rhyme {rhyme} ({its}) is oblique and {name} rhymes in level groups: ask for 古體 or another rhyme"
        )
    if request.acrostic and len(request.acrostic) not in (request.lines, request.couplets):
        raise UserError(
            f"the acrostic {request.acrostic} has {len(request.acrostic)} characters and {name} {request.lines} lines: "
            f"give {request.lines}, one a line, or {request.couplets}, one a couplet"
        )
    if request.first_line and len(request.first_line) != length:
        raise UserError(
            f"the first line {request.first_line} has {len(request.first_line)} characters and a line of {name} has {length}"
        )
    if request.first_line and request.acrostic and request.first_line[0] != request.acrostic[0]:
        raise UserError(
            f"the first line begins with {request.first_line[0]} and the acrostic with {request.acrostic[0]}: "
            "give one of them, or two that begin alike"
        )
    if request.first_line and request.regulated:
        _check_first_line(request)
    return request


def _read_lines(form: str, usual: int, asked: int | None) -> int:
    if asked is None or asked == usual:
        return usual
    least = {"排律": 10, "古體": 4}.get(form[2:])
    if least is None:
        raise UserError(
            f"{form} has {usual} lines and {asked} are asked for: leave the number out, or ask for 排律 or 古體"
        )
    if asked < least or asked % 2:
        raise UserError(
            f"{asked} lines are asked for and {form} has an even number of them, at least {least}"
        )
    return asked


def _read_rhyme(asked: str | None) -> str | None:
    if asked is None:
        return None
    for name in (asked.strip(), to_traditional(asked.strip())):
        group = name[-1:]
        if group in prosody.all_groups() and prosody.group_name(group).endswith(name):
            return group
    its = prosody.rhyme_groups(name)
    hint = (
        f"the character is of {' and '.join(map(prosody.group_name, its))}"
        if its
        else "name it like 東"
    )
    raise UserError(f"there is no rhyme group {asked} in 平水韻; {hint}")


def _read_characters(what: str, asked: str | None) -> str:
    """The characters of a request in the traditional script that verse is judged in; marks and blanks between are dropped."""
    if asked is None:
        return ""
    text = "".join(asked.split())
    parts = [part for part in text.translate(dict.fromkeys(map(ord, _MARKS), " ")).split() if part]
    if not parts:
        raise UserError(f"the {what} is empty: give it characters, or leave it out")
    if what == "first line" and len(parts) > 1:
        raise UserError(f"the first line {text} is {len(parts)} lines: give the first one alone")
    traditional = "".join(
        to_traditional(character) if character in prosody.simplified_alone() else character
        for character in to_traditional("".join(parts))
    )
    other = next(
        (character for character in traditional if poem_lines(character) != (character,)), None
    )
    if other:
        raise UserError(f"the {what} has {other}, and verse has Chinese characters alone")
    return traditional


def _check_first_line(request: FormRequest) -> None:
    """Refuses a first line that regulated verse, or the rhyme asked for, has no place for."""
    signs, word = prosody.judge(request.first_line).tones[0], request.first_line[-1]
    row = [_BITS[sign] for sign in signs]
    if not any(
        all(tone & due for tone, due in zip(row, tones, strict=False))
        for _, tones in prosody.couplet_patterns(request.length, opening=True)
    ):
        raise UserError(
            f"the first line {request.first_line} has the tones {signs}, which {request.form} does not allow: "
            "change the line, or ask for 古體"
        )
    if request.rhyme and row[-1] == LEVEL and not _may_rhyme(word, request.rhyme):
        raise UserError(
            f"the first line ends in {word} ({'、'.join(map(prosody.group_name, prosody.rhyme_groups(word)))}), a level tone "
            f"that does not rhyme with the rhyme {request.rhyme} asked for: change one of the two"
        )


def _may_rhyme(word: str, group: str) -> bool:
    """Whether a first line may end in this word: in the poem's group or in one of its neighbours."""
    together = {group}.union(
        *(neighbours for neighbours in prosody.NEIGHBOURS if group in neighbours)
    )
    return bool(together & set(prosody.rhyme_groups(word)))


# ------------------------------------------------------------------------------------------------- what keeps the form


class FormLogitsProcessor(LogitsProcessor):
    """Leaves a probability to those tokens alone that keep the form; every poem comes out whole if it has room.

    It remembers nothing between two calls: where a poem stands is read off its ids. So one processor serves any number of
    `generate` calls and batches, beam search without sampling too, and prompts of any lengths that are padded on the left, as
    this tokenizer pads.

    Args:
        tokenizer: of this project: one token a character, prompts that end in `<RES>`.
        request: from `read_form`; `request.tokens` is the room that a poem takes.
        prompt_length: tokens of the prompts with their padding, needed only where they do not end in `<RES>`.

    Raises:
        UserError: the vocabulary has too few characters for the request.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        request: FormRequest,
        prompt_length: int | None = None,
    ):
        self.request, self.given, self.prompt_length = request, request.given, prompt_length
        self.ids: dict[str, int] = {
            name: id for name, id in tokenizer.get_vocab().items() if len(name) == 1
        }
        self.response, self.end = tokenizer.convert_tokens_to_ids([RESPONSE, tokenizer.eos_token])
        missing = [mark for mark in f"{_COMMA}{_ENDS[0]}\n" if mark not in self.ids]
        if missing:
            raise UserError(
                f"{request.form} needs the mark {missing[0]!r} and the model's vocabulary lacks it"
            )
        for what, asked in (("acrostic", request.acrostic), ("first line", request.first_line)):
            lacking = next((character for character in asked if character not in self.ids), None)
            if lacking:
                raise UserError(
                    f"the {what} asks for {lacking} and the model's vocabulary lacks it: choose another"
                )
        self._build_tables(len(tokenizer))

    def _build_tables(self, size: int) -> None:
        """Boolean tables over the vocabulary (V), the rhyme groups (G) and the tone patterns of a couplet (N)."""
        request = self.request
        verse = {
            character: id
            for character, id in self.ids.items()
            if prosody.tone(character) and character not in prosody.simplified_alone()
        }
        self.verse = _mask(size, verse.values())  # (V,): what may stand where nothing is asked
        # Verse keeps to one tone of some characters that the book gives two: a reading less is never a new fault.
        bits = torch.zeros(size, dtype=torch.long)
        for character, id in verse.items():
            bits[id] = _BITS[prosody.usual_tone(character)]
        readings = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
        self.readings = readings[bits]  # (V, 2): may be read level, oblique

        in_use = prosody.level_groups() if request.regulated else prosody.all_groups()
        groups = [request.rhyme] if request.rhyme else list(in_use)
        self.rhymes = torch.zeros(len(groups), size, dtype=torch.bool)  # (G, V)
        for character, id in verse.items():
            for number, group in enumerate(groups):
                level = group in prosody.level_groups()
                self.rhymes[number, id] = group in prosody.rhyme_groups(character) and bool(
                    not level or bits[id] & LEVEL
                )
        # Columns of the table of compounds (S + 1) and its rows (F + 1); 0 stands for all characters that none knows.
        pairs = {
            key: tone for key, tone in prosody.COMPOUNDS.items() if all(c in verse for c in key[0])
        }
        firsts, seconds = (sorted({pair[offset] for pair, _ in pairs}) for offset in (0, 1))
        self.compound_row, self.compound_column = torch.zeros(2, size, dtype=torch.long)
        self.compound_row[[verse[c] for c in firsts]] = torch.arange(1, len(firsts) + 1)
        self.seconds = torch.tensor([verse[c] for c in seconds], dtype=torch.long)  # (S,)
        self.compound_column[self.seconds] = torch.arange(1, len(seconds) + 1)
        # (2, F + 1, S + 1, 2): how the first, and the second, of two characters side by side may be read
        decided = torch.full((2, len(firsts) + 1, len(seconds) + 1), EITHER)
        for (pair, offset), tone in pairs.items():
            decided[offset, firsts.index(pair[0]) + 1, seconds.index(pair[1]) + 1] = tone
        self.compound_readings = readings[decided]

        # Which rhymes suffice: a word for every even line, and one for a first line that may rhyme too. Words that a
        # compound might take away are not counted on.
        certain = self.verse.clone()
        certain[self.seconds] = False
        if request.first_line:
            certain[self.ids[request.first_line[-1]]] = False
        needed = request.couplets + (not request.first_line)
        counts = (self.rhymes & certain).sum(1)
        self.groups = counts >= needed  # (G,)
        if request.rhyme and not self.groups.any():
            raise UserError(
                f"the rhyme {request.rhyme} has {int(counts[0])} words in the model's vocabulary and {request.form} of {request.lines} "
                f"lines takes {needed}: ask for another rhyme or for fewer lines"
            )
        if request.regulated:
            self._build_patterns(certain, needed)
        if not self.groups.any():
            raise UserError(
                f"{request.form} of {request.lines} lines takes {needed} words of one rhyme group and the model's vocabulary has "
                "them of none: ask for fewer lines"
            )
        self.tables = [
            name for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        ]

    def _build_patterns(self, certain: torch.Tensor, needed: int) -> None:
        """The tables of regulated verse alone."""
        request = self.request
        if not (self.readings & certain[:, None]).any(0).all():
            raise UserError(
                f"{request.form} needs level and oblique characters and the model's vocabulary lacks one kind"
            )
        signs = prosody.judge(request.first_line).tones[0] if request.first_line else ""
        if signs.endswith("平") and not request.rhyme:
            of_first = prosody.rhyme_groups(request.first_line[-1])
            self.groups &= torch.tensor([group in of_first for group in prosody.level_groups()])
            if not self.groups.any():
                raise UserError(
                    f"the first line ends in {request.first_line[-1]} and {request.form} of {request.lines} lines takes {needed} more words "
                    "of its rhyme group, which the model's vocabulary lacks: change the line or ask for fewer lines"
                )
        # How a given character may be read: a first line's is known, an acrostic's is what the book has.
        self.given_readings = torch.ones(request.lines * request.length, 2, dtype=torch.bool)
        for place, character in self.given.items():
            tone = _BITS[signs[place] if place < len(signs) else prosody.tone(character) or "？"]
            self.given_readings[place] = torch.tensor([bool(tone & LEVEL), bool(tone & OBLIQUE)])

        patterns = prosody.couplet_patterns(request.length, opening=True)
        later = set(prosody.couplet_patterns(request.length, opening=False))
        tones = (
            torch.tensor([tones for _, tones in patterns]) - 1
        )  # (N, 2 length): 0 level, 1 oblique
        self.patterns = torch.nn.functional.one_hot(tones, 2).flatten(1).float()  # (N, 4 length)
        # (2 length, N, 4): tone before a place and at it, as a number from 0 to 3
        self.pair_at = (
            torch.nn.functional.one_hot(2 * tones.roll(1, 1) + tones, 4).float().transpose(0, 1)
        )
        # (couplets, 2, N): the pattern may stand in this couplet of a poem that starts level, or oblique
        self.fits = torch.tensor(
            [
                [
                    [
                        start == poem and (couplet == 0 or (start, tones) in later)
                        for start, tones in patterns
                    ]
                    for poem in ((LEVEL, OBLIQUE) if couplet % 2 == 0 else (OBLIQUE, LEVEL))
                ]
                for couplet in range(request.couplets)
            ]
        )
        self.fits &= self._without_clash(self.given_readings[None].float())[0, :, None]
        # A start that has no pattern for some couplet is none. One is left: the first line was checked, and place 1, where
        # the acrostic stands, is free in every line.
        self.fits &= self.fits.any(-1).all(0)[None, :, None]

    # --- One step. B: rows of the batch; n: characters written in each, all rows have the same number. ---

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """(B, tokens), (B, V) -> the scores, -inf for every token that would break the form.

        Raises:
            ValueError: prompts that it cannot tell from the poem, or that begin a poem in another form.
        """
        if self.verse.device != scores.device:
            for name in self.tables:
                setattr(self, name, getattr(self, name).to(scores.device))
        written = input_ids[:, self._start(input_ids) :]
        allowed = self._allowed(written)
        if not allowed.any(1).all():
            raise ValueError(
                f"the prompt begins a poem that breaks the rules of {self.request.form}"
            )
        if self.request.regulated and written.shape[1] == self.request.length - 1:
            scores = self._as_often_rhymed(scores, allowed)
        allowed = torch.nn.functional.pad(allowed, (0, scores.shape[1] - allowed.shape[1]))
        kept = scores.masked_fill(~allowed, -torch.inf)
        # Where an earlier processor has forbidden all of them (a ban on repeating, say) the form has the last word.
        return kept.masked_fill(allowed & kept.isneginf().all(1, keepdim=True), 0.0)

    def _start(self, input_ids: torch.Tensor) -> int:
        """The column where the poems begin: behind the last `<RES>`."""
        if self.prompt_length is not None:
            return self.prompt_length
        marks = input_ids == self.response
        start = input_ids.shape[1] - marks.flip(1).int().argmax(1)
        if not marks.any(1).all() or start.min() != start.max():
            raise ValueError(
                f"prompts must end in {RESPONSE} and be padded on the left; else give prompt_length"
            )
        return int(start[0])

    def _allowed(self, written: torch.Tensor) -> torch.Tensor:
        """(B, tokens of the poem so far) -> (B, V), true for what may come next."""
        length, number = self.request.length, written.shape[1]
        couplet, column = divmod(number, 2 * length + 3)
        if number >= self.request.tokens - 1:
            return self._only(written, self.end)
        if column == length:
            return self._only(written, self.ids[_COMMA])
        if column == 2 * length + 1:
            return self._only(written, *(self.ids[mark] for mark in _ENDS if mark in self.ids))
        if column == 2 * length + 2:
            return self._only(written, self.ids["\n"])
        place = column - (column > length)  # in the couplet, from 0
        given = self.given.get(couplet * 2 * length + place)
        if given:
            return self._only(written, self.ids[given])
        columns = torch.arange(number, device=written.device) % (2 * length + 3)
        characters = written[:, (columns != length) & (columns <= 2 * length)]
        allowed = self.verse.expand(len(written), -1)
        if self.request.regulated:
            allowed = allowed & self._in_tone(characters, couplet, place)
        if place == 2 * length - 1:
            allowed = allowed & self._rhyming(characters)
        elif couplet == 0 and place == length - 1 and self.request.regulated:
            # A first line that ends level rhymes; with an oblique reading it need not.
            allowed = allowed & (self._rhyming(characters) | self._oblique_after(characters[:, -1]))
        return allowed

    def _as_often_rhymed(self, scores: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        """The scores at the end of the first line, what level words of other groups have given to those that rhyme.

        So the first line rhymes as often as the model would end it level, in 七言 mostly; by the mask alone it hardly ever
        would where a group is asked for, since all oblique words stay open and few level ones.
        """
        size = len(self.verse)
        level = self.readings[:, 0] & ~self.readings[:, 1]  # (V,)
        of_all, of_rhyming = (
            scores[:, :size].masked_fill(~words, -torch.inf).logsumexp(1, keepdim=True)
            for words in (level, level & allowed)
        )
        some = of_rhyming.isfinite()  # not where an earlier processor has forbidden them all
        raised = torch.where(
            level & allowed & some, scores[:, :size] + of_all - of_rhyming, scores[:, :size]
        )
        return torch.cat([raised, scores[:, size:]], dim=1)

    def _only(self, written: torch.Tensor, *ids: int) -> torch.Tensor:
        return _mask(len(self.verse), ids).to(written.device).expand(len(written), -1)

    def _rhyming(self, characters: torch.Tensor) -> torch.Tensor:
        """(B, n) -> (B, V), true for characters of a group that all rhyme words so far are of, less these words."""
        length, request = self.request.length, self.request
        words = characters[:, length - 1 :: length]
        words = torch.cat(
            [words[:, :1], words[:, 1::2]], dim=1
        )  # the first line's, then those of the even lines
        agree = self.rhymes[:, words]  # (G, B, words)
        if words.shape[1]:
            before, word = characters[:, length - 2], words[:, :1]
            oblique = self._oblique_after(before).gather(1, word)[:, 0]
            # Ending oblique the first line does not rhyme; a given one has had its say in `groups`.
            agree[:, :, 0] |= oblique if request.regulated and not request.first_line else True
        open_groups = agree.all(2).T & self.groups  # (B, G)
        return (open_groups.float() @ self.rhymes.float() > 0).scatter(1, words, False)

    def _oblique_after(self, before: torch.Tensor) -> torch.Tensor:
        """The characters before these, (B,) -> (B, V), true for what may be read oblique behind them."""
        oblique = self.readings[:, 1].repeat(len(before), 1)
        oblique[:, self.seconds] &= self.compound_readings[1, self.compound_row[before], 1:, 1]
        return oblique

    def _in_tone(self, characters: torch.Tensor, couplet: int, place: int) -> torch.Tensor:
        """(B, n) -> (B, V), true for characters that leave the poem at least one pattern to follow."""
        fits = (
            self.fits[: couplet + 1]
            & self._without_clash(self._readings(characters, couplet))[:, :, None]
        )
        starts = fits.any(3).all(1)  # (B, 2): every couplet so far can be of a poem that starts so
        follows = (fits[:, -1] & starts[:, :, None]).any(
            1
        )  # (B, N): the patterns still open in this couplet
        ways = (follows.float() @ self.pair_at[place] > 0).view(
            -1, 2, 2
        )  # (B, tone before, tone here)
        here = ways.any(1)  # (B, 2)
        allowed = here[:, :1] & self.readings[:, 0] | here[:, 1:] & self.readings[:, 1]
        if place % self.request.length and len(self.seconds):
            # After the first of a compound its second is read, and makes the first read, as the compound has it.
            before, after = self.compound_readings[
                :, self.compound_row[characters[:, -1]], 1:
            ]  # (B, S, 2) each
            after = after & self.readings[self.seconds]
            both = before[:, :, :, None] & after[:, :, None, :] & ways[:, None]
            allowed[:, self.seconds] = both.flatten(2).any(2)
        return allowed

    def _readings(self, characters: torch.Tensor, couplet: int) -> torch.Tensor:
        """(B, n) -> (B, places of the couplets so far, 2), 1 where it may be read so; all 1 where nothing stands yet."""
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
        """(B, places of whole couplets, 2) -> (B, couplets, N), true where no place asks for a tone that it cannot have."""
        refused = (1 - readings).unflatten(1, (-1, 2 * self.request.length)).flatten(2)
        return refused @ self.patterns.T == 0


def _mask(size: int, ids) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(ids)] = True
    return mask
