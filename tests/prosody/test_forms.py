"""Verse to a form: every rule holds in every poem, by construction, and what cannot be is refused in one sentence.

The model is random, so nothing it would like to write keeps a rule: what does is the mask's doing.
"""

import itertools

import pytest
import torch
from helpers import make_model, rhyme_words
from transformers import pipeline, set_seed

from poet.errors import UserError
from poet.generation.load import load
from poet.generation.write import mean_log_probabilities, write, write_ids
from poet.prosody.characters import (
    COMPOUNDS,
    LEVEL,
    all_groups,
    level_groups,
    rhyme_groups,
    simplified_only,
    tone,
)
from poet.prosody.judge import couplet_patterns, judge
from poet.prosody.mask import FormLogitsProcessor
from poet.prosody.request import FORMS, read_form, regulated_form
from poet.text import line_length, poem_lines
from poet_tokenizer import build_tokenizer, encode_text

POSITIONS = 320
REGULATED = [name for name in FORMS if "古體" not in name]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("forms"), rhyme_words(all_groups(), 12))


@pytest.fixture(scope="module")
def poet(checkpoint):
    return load(checkpoint)


def check(poem: str, request) -> None:
    """Every rule that a request brings, looked up in the poem's text."""
    lines = poem_lines(poem)
    assert line_length(poem) == request.length and len(lines) == request.lines
    assert not set(poem) & set("�□○") and set(poem) - set("".join(lines)) <= set("，。？！\n")
    assert poem[-1] in "。？！" and poem.count("，") == poem.count("\n") + 1 == request.lines // 2
    if request.regulated:
        judgment = judge(poem)
        assert (judgment.form, judgment.rhymed, judgment.regulated) == (request.form, True, True), (
            poem,
            judgment,
        )
        if not request.first_line:
            assert judgment.tones[0][-1] == "仄" or judgment.first_line != "free", (poem, judgment)
    words = [line[-1] for line in lines[1::2]]
    assert len(set(words)) == len(words) and lines[0][-1] not in words
    shared = set.intersection(*(set(rhyme_groups(word)) for word in words))
    assert request.rhyme in shared if request.rhyme else shared
    heads = "".join(line[0] for line in lines)
    assert not request.acrostic or request.acrostic == heads[:: len(heads) // len(request.acrostic)]
    assert not request.first_line or request.first_line == lines[0]


# ------------------------------------------------------------------------------------- what holds


@pytest.mark.parametrize("form", FORMS)
def test_no_rule_is_broken_in_any_form(poet, form):
    groups = level_groups() if form in REGULATED else all_groups()
    for seed, rhyme in enumerate([None, groups[sum(map(ord, form)) % len(groups)]]):
        request = read_form(form, rhyme=rhyme)
        for poem in write(*poet, "春夜", form=request, n=20, seed=seed):
            check(poem, request)


def test_no_rule_is_broken_in_any_rhyme_group(poet):
    """Drawn without a model, from all that the processor leaves open."""
    _, tokenizer = poet
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "春"}], return_tensors="pt"
    )["input_ids"]
    generator = torch.Generator().manual_seed(0)
    for number, rhyme in enumerate(all_groups()):
        form = "五言絕句 七言絕句".split()[number % 2] if rhyme in level_groups() else "五言古體"
        request = read_form(form, rhyme=rhyme, lines=4)
        processor, ids = FormLogitsProcessor(tokenizer, request), prompt.expand(4, -1)
        for _ in range(request.tokens):
            scores = processor(ids, torch.zeros(4, len(tokenizer)))
            ids = torch.cat([ids, scores.softmax(1).multinomial(1, generator=generator)], dim=1)
        for poem in tokenizer.batch_decode(ids[:, prompt.shape[1] :], skip_special_tokens=True):
            check(poem, request)


@pytest.mark.parametrize(
    "form, wishes",
    [
        ("五言律詩", {"rhyme": "東", "acrostic": "春風化雨"}),
        ("七言律詩", {"acrostic": "春風化雨山水不望"}),
        ("五言絕句", {"acrostic": "思重應教"}),  # which a compound may decide
        ("五言絕句", {"first_line": "石徑幽泉細"}),
        ("五言絕句", {"first_line": "石徑幽水細"}),  # 對句救: the second line has to rescue it
        ("五言律詩", {"first_line": "石山風水風", "rhyme": "東"}),
        (
            "五言律詩",
            {"first_line": "石徑水山風", "rhyme": "冬"},
        ),  # 借韻: the first line may borrow a neighbour
        ("七言排律", {"first_line": "春山石徑幽泉細", "acrostic": "春風化雨山水", "rhyme": "庚"}),
        ("五言排律", {"lines": 20}),
        ("五言古體", {"lines": 6, "first_line": "水水水水水", "rhyme": "紙"}),
        ("七言古體", {"lines": 4, "acrostic": "春風化雨"}),
    ],
)
def test_wishes_are_kept_together(poet, form, wishes):
    request = read_form(form, **wishes)
    for poem in write(*poet, "春夜", form=request, n=20, seed=3):
        check(poem, request)


def test_a_vocabulary_that_just_suffices_is_enough(tmp_path):
    """Five words of one group and one character of each tone: an eight-line poem has to use all of them."""
    decided = {pair[offset] for pair, offset in COMPOUNDS} | simplified_only()
    of_east = (chr(code) for code in range(0x4E00, 0x9FA5) if rhyme_groups(chr(code)) == ("東",))
    five = "".join(itertools.islice((word for word in of_east if word not in decided), 5))
    model, tokenizer = load(make_model(tmp_path, five + "水"))
    template = set("請用以下題目寫一首詩")  # every vocabulary of this project has these
    assert not any(set(rhyme_groups(c)) & {"東"} for c in template)
    for seed in range(3):
        for poem in write(
            model, tokenizer, "水", form=read_form("五言律詩", rhyme="東"), n=10, seed=seed
        ):
            check(poem, read_form("五言律詩", rhyme="東"))
    with pytest.raises(UserError, match="the rhyme 東 has 5 words .* takes 6"):
        FormLogitsProcessor(tokenizer, read_form("五言排律", rhyme="東", lines=10))
    with pytest.raises(UserError, match="takes 7 words of one rhyme group"):
        FormLogitsProcessor(tokenizer, read_form("五言排律"))


def test_candidates_come_likeliest_first(poet):
    request = read_form("五言絕句", rhyme="東")
    model, tokenizer = poet
    poems = write(model, tokenizer, "春夜", form=request, n=6, seed=7)
    ids = [
        tokenizer(poem, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        for poem in poems
    ]
    likelihoods = mean_log_probabilities(model, tokenizer, "春夜", ids)
    assert likelihoods == sorted(likelihoods, reverse=True) and len(set(likelihoods)) == 6
    assert poems == write(model, tokenizer, "春夜", form=request, n=6, seed=7)
    assert poems != write(model, tokenizer, "春夜", form=request, n=6, seed=8)
    # the likelihood is the model's loss on the poem, which transformers computes too
    chat = [{"role": "user", "content": "春夜"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    row = torch.tensor([prompt + ids[0]])
    labels = row.clone()
    labels[:, : len(prompt)] = -100
    model.loss_type = "ForCausalLM"
    assert model(row, labels=labels).loss.item() == pytest.approx(-likelihoods[0], abs=1e-4)


def test_one_processor_serves_batches_of_prompts_of_different_lengths(poet):
    model, tokenizer = poet
    request = read_form("五言律詩", rhyme="陽")
    processor = FormLogitsProcessor(tokenizer, request)
    for titles in (["春", "春夜喜雨山中", "<RES>"], ["夜"]):
        for ids in write_ids(model, tokenizer, titles, seed=1, logits_processor=[processor]):
            assert len(ids) == request.tokens and ids[-1] == tokenizer.eos_token_id
            check(tokenizer.decode(ids, skip_special_tokens=True), request)


@pytest.mark.parametrize(
    "how",
    [
        {"do_sample": False},
        {"do_sample": False, "num_beams": 3},
        {"top_k": 1},
        {"top_p": 0.1, "temperature": 0.1},
        {"num_return_sequences": 4},
        {"no_repeat_ngram_size": 1},
        {"repetition_penalty": 5.0},
        {"suppress_tokens": None},
    ],
)
def test_however_it_is_drawn(poet, how):
    model, tokenizer = poet
    request = read_form("七言律詩", acrostic="春風化雨")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "春"}], add_generation_prompt=True, return_tensors="pt"
    )
    set_seed(0)
    written = model.generate(
        **prompt, logits_processor=[FormLogitsProcessor(tokenizer, request)], **how
    )
    for poem in tokenizer.batch_decode(
        written[:, prompt["input_ids"].shape[1] :], skip_special_tokens=True
    ):
        check(poem, request)


def test_a_rhyme_that_is_banned_before_leaves_numbers(poet):
    _, tokenizer = poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句", rhyme="庚"), prompt_length=0)
    written = torch.tensor(
        [encode_text(tokenizer, "石徑水山")]
    )  # the line may end level or oblique
    scores = torch.zeros(1, len(tokenizer))
    words = [
        number for token, number in tokenizer.get_vocab().items() if "庚" in rhyme_groups(token)
    ]
    scores[:, words] = -torch.inf
    found = processor(written, scores)
    assert not found.isnan().any() and found.isfinite().any()


def test_a_first_line_that_a_compound_makes_level_rhymes(poet):
    _, tokenizer = poet
    ids = tokenizer.get_vocab()
    for rhyme, before, opens in (
        ("庚", "石徑雨相", False),
        ("支", "石徑雨相", True),
        ("庚", "石徑幽泉", True),
    ):
        processor = FormLogitsProcessor(
            tokenizer, read_form("五言絕句", rhyme=rhyme), prompt_length=0
        )
        begun = torch.tensor([encode_text(tokenizer, before)])
        scores = processor(begun, torch.zeros(1, len(tokenizer)))
        assert (
            scores[0, ids["思"]].isfinite() == opens
        )  # 相思 is level, and 思 alone may end an oblique line
    # What the line has said is heard at the second line's end: 思 is no rhyme word of 庚, so 支 alone stays open.
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"), prompt_length=0)
    begun = torch.tensor([encode_text(tokenizer, "石徑雨相思，幽泉細雨")])
    words = (
        processor(begun, torch.zeros(1, len(tokenizer)))[0].isfinite().nonzero().flatten().tolist()
    )
    assert words and all(
        "支" in rhyme_groups(word) for word in tokenizer.convert_ids_to_tokens(words)
    )


def test_it_works_in_pipeline(checkpoint):
    write = pipeline("text-generation", model=str(checkpoint))
    request = read_form("五言律詩", rhyme="庚", acrostic="春風化雨")
    processor = FormLogitsProcessor(write.tokenizer, request)
    chats = [[{"role": "user", "content": title}] for title in ("春", "春夜喜雨山中", "夜")]
    set_seed(0)
    for [answer] in write(chats, batch_size=2, logits_processor=[processor]):
        check(answer["generated_text"][-1]["content"], request)


def test_prompts_without_a_response_mark_tell_their_length(poet):
    model, tokenizer = poet
    request = read_form("五言絕句")
    prompt = tokenizer("春夜\n", return_tensors="pt", add_special_tokens=False)
    with pytest.raises(ValueError, match="give prompt_length"):
        model.generate(**prompt, logits_processor=[FormLogitsProcessor(tokenizer, request)])
    length = prompt["input_ids"].shape[1]
    written = model.generate(
        **prompt, logits_processor=[FormLogitsProcessor(tokenizer, request, length)]
    )
    check(tokenizer.decode(written[0, length:], skip_special_tokens=True), request)


def test_a_prompt_that_begins_a_poem_is_held_to_the_form_too(poet):
    model, tokenizer = poet
    request = read_form("五言絕句")
    chat = [{"role": "user", "content": "春"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    for begun, fits in (("石徑幽泉細，春", True), ("水風風風", False)):
        ids = torch.tensor([prompt + tokenizer(begun, add_special_tokens=False)["input_ids"]])
        how = {
            "attention_mask": torch.ones_like(ids),
            "logits_processor": [FormLogitsProcessor(tokenizer, request)],
        }
        if fits:
            written = model.generate(ids, **how)[0, len(prompt) :]
            check(tokenizer.decode(written, skip_special_tokens=True), request)
        else:
            with pytest.raises(ValueError, match="breaks the rules of 五言絕句"):
                model.generate(ids, **how)


def test_scores_may_have_more_columns_than_the_tokenizer_has_tokens(poet):
    _, tokenizer = poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"))
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "春"}], return_tensors="pt")[
        "input_ids"
    ]
    scores = processor(ids, torch.zeros(1, len(tokenizer) + 7))
    assert scores[:, len(tokenizer) :].isneginf().all() and scores.isfinite().any()


def test_both_tones_of_a_line_stay_open_and_no_simplified_character_is_written(poet):
    _, tokenizer = poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"))
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "春"}], return_tensors="pt")[
        "input_ids"
    ]
    for begun in (
        "",
        "水",
    ):  # the second character settles the tones of the poem; until then all is open
        row = torch.cat(
            [ids, torch.tensor([tokenizer(begun, add_special_tokens=False)["input_ids"]]).long()],
            dim=1,
        )
        open_characters = tokenizer.convert_ids_to_tokens(
            processor(row, torch.zeros(1, len(tokenizer)))[0]
            .isfinite()
            .nonzero()
            .flatten()
            .tolist()
        )
        verse = {
            c
            for c in tokenizer.get_vocab()
            if len(c) == 1 and tone(c) and c not in simplified_only()
        }
        assert set(open_characters) == verse


def test_patterns_are_those_of_the_rule_books():
    regular = {
        "仄仄平平仄平平仄仄平",
        "平平平仄仄仄仄仄平平",
        "仄仄仄平平平平仄仄平",
        "平平仄仄平仄仄仄平平",
    }
    signs = {
        "".join("平" if t == LEVEL else "仄" for t in tones)
        for _, tones in couplet_patterns(5, opening=True)
    }
    assert regular <= signs
    assert "平平平仄仄仄平仄仄平" not in signs and "仄仄平平仄仄平仄仄平" not in signs  # 孤平
    assert not any(line.endswith("平平平") for line in signs)
    assert set(couplet_patterns(5, opening=False)) < set(couplet_patterns(5, opening=True))
    for length in (5, 7):  # place 1 is free in every line, so no acrostic ever breaks a tone
        heads = {
            (start, tones[0], tones[length])
            for start, tones in couplet_patterns(length, opening=False)
        }
        assert len(heads) == 8
    assert len(couplet_patterns(7, opening=True)) == 4 * len(couplet_patterns(5, opening=True))


# ------------------------------------------------------------------------------------- how a request is read


def test_a_wish_is_read_in_either_script_and_with_any_marks():
    plain = read_form("五言律詩", rhyme="東", acrostic="春風化雨", first_line="春山石徑細")
    assert (
        read_form("五律", rhyme="上平聲一東", acrostic="春,風,化,雨", first_line="春山石徑細,")
        == plain
    )
    assert (
        read_form("五言律诗", rhyme="东", acrostic="春风化雨", first_line="春山石径细？") == plain
    )
    assert (
        read_form("五言律詩", rhyme="東", acrostic="春 風 化 雨", first_line="春山石徑細！")
        == plain
    )
    assert (plain.lines, plain.couplets, plain.tokens, plain.given[20]) == (8, 4, 52, "化")
    for group in all_groups():
        assert read_form("五言古體", rhyme=group).rhyme == group


@pytest.mark.parametrize(
    "wishes, sentence",
    [
        ({"form": "五言絕詩"}, "there is no form 五言絕詩; the nearest is 五言絕句"),
        ({"form": "詞"}, "there is no form 詞; there are 五言絕句"),
        (
            {"form": "五言絕句", "rhyme": "陌"},
            "the rhyme 陌 .入聲十一陌. is oblique and 五言絕句 rhymes in level groups",
        ),
        (
            {"form": "五言絕句", "rhyme": "風"},
            "no rhyme group 風 in 平水韻; the character is of 上平聲一東",
        ),
        ({"form": "五言絕句", "rhyme": "x"}, "no rhyme group x in 平水韻"),
        ({"form": "五言絕句", "rhyme": ""}, "no rhyme group"),
        (
            {"form": "五言律詩", "acrostic": "春風化"},
            "春風化 has 3 characters and 五言律詩 8 lines: give 8, .* or 4",
        ),
        (
            {"form": "五言律詩", "acrostic": "春A化雨"},
            "the acrostic has A, and verse has Chinese characters alone",
        ),
        ({"form": "五言律詩", "acrostic": "，"}, "the acrostic is empty"),
        (
            {"form": "五言律詩", "first_line": "春山"},
            "春山 has 2 characters and a line of 五言律詩 has 5",
        ),
        (
            {"form": "七言絕句", "first_line": "石徑幽泉細"},
            "has 5 characters and a line of 七言絕句 has 7",
        ),
        (
            {"form": "五言絕句", "first_line": "石徑幽泉細，松窗夜雨聲。"},
            "is 2 lines: give the first one alone",
        ),
        (
            {"form": "五言絕句", "first_line": "水風風風水"},
            "has the tones 仄平平平仄, which 五言絕句 does not allow",
        ),
        (
            {"form": "五言絕句", "first_line": "石徑幽泉細", "acrostic": "春風"},
            "the first line begins with 石 and the acrostic with 春",
        ),
        (
            {"form": "五言絕句", "first_line": "石山風水風", "rhyme": "庚"},
            "the first line ends in 風 .上平聲一東., a level tone that does not rhyme with the rhyme 庚 asked for",
        ),
        ({"form": "五言絕句", "lines": 6}, "五言絕句 has 4 lines and 6 are asked for"),
        (
            {"form": "五言排律", "lines": 8},
            "8 lines are asked for and 五言排律 has an even number of them, at least 10",
        ),
        ({"form": "五言古體", "lines": 5}, "5 lines are asked for and 五言古體 has an even number"),
    ],
)
def test_wishes_that_clash_are_refused_in_one_sentence(wishes, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        read_form(**wishes)
    assert "\n" not in str(raised.value)


def test_what_this_vocabulary_or_this_model_cannot_do_is_refused_before_anything_is_written(poet):
    model, tokenizer = poet
    assert "龘" not in tokenizer.get_vocab()
    few = build_tokenizer("水風東，。\n", POSITIONS)
    no_comma = build_tokenizer("春風。\n", POSITIONS)
    for vocabulary, wishes, sentence in (
        (
            tokenizer,
            {"form": "五言絕句", "acrostic": "春龘"},
            "the acrostic asks for 龘 and the model's vocabulary lacks it",
        ),
        (tokenizer, {"form": "五言絕句", "first_line": "龘徑幽泉細"}, "the first line asks for 龘"),
        (
            tokenizer,
            {"form": "五言排律", "rhyme": "江", "lines": 60},
            "rhyme 江 has .* and 五言排律 of 60 lines takes 31",
        ),
        (few, {"form": "五言絕句", "rhyme": "東"}, "the rhyme 東 has 2 words .* takes 3"),
        (
            few,
            {"form": "五言絕句", "first_line": "水水水風風"},
            "ends in 風 and .* takes 2 more words",
        ),
        (
            few,
            {"form": "七言律詩"},
            "takes 5 words of one rhyme group and the model's vocabulary has them of none",
        ),
        (no_comma, {"form": "五言絕句"}, "needs the mark '，'"),
    ):
        with pytest.raises(UserError, match=sentence) as raised:
            FormLogitsProcessor(vocabulary, read_form(**wishes))
        assert "\n" not in str(raised.value)
    with pytest.raises(
        UserError,
        match=r"the title takes 3\d\d? tokens .* 五言律詩 of 8 lines takes 52. The model holds 320",
    ):
        write(model, tokenizer, "春" * 290, form="五言律詩")


def test_the_regulated_form_of_a_poem_follows_from_its_line_length_and_number_of_lines():
    five, seven = "石徑幽泉細，松窗夜雨聲。", "石徑幽泉細雨聲，松窗夜雨白雲生。"
    assert regulated_form("\n".join([five] * 2)) == "五言絕句"
    assert regulated_form("\n".join([seven] * 4)) == "七言律詩"
    assert regulated_form("\n".join([seven] * 6)) == "七言排律"
    assert regulated_form("\n".join([seven] * 3)) is None and regulated_form("石徑") is None
