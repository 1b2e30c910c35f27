"""The mask: each poem keeps each rule of the requested form, with any model and any settings.

The model of these tests has random weights and no preference for a rule. So the mask alone makes
the poems keep the rules.
"""

import itertools
import random

import pytest
import torch
from helpers import make_model, rhyme_words, simplified_sample
from transformers import pipeline, set_seed

from poet.errors import UserError
from poet.generation.load import load
from poet.generation.write import mean_log_probabilities, write, write_ids
from poet.prosody.characters import (
    COMPOUNDS,
    all_groups,
    level_groups,
    rhyme_groups,
    simplified_only,
    tone,
)
from poet.prosody.judge import judge
from poet.prosody.mask import FormLogitsProcessor
from poet.prosody.names import FORMS
from poet.prosody.request import explain, read_form
from poet.prosody.script import to_simplified, traditional_only
from poet.text import line_length, poem_lines
from poet_tokenizer import build_tokenizer, encode_text

POSITIONS = 320


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("forms"), rhyme_words(all_groups(), 12))


@pytest.fixture(scope="module")
def poet(checkpoint):
    return load(checkpoint)


def check(poem: str, request) -> None:
    """Asserts that a poem keeps every rule of its request, and that `explain` agrees."""
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
    assert explain(request, poem) == []


def prompt_ids(tokenizer, title: str = "春") -> torch.Tensor:
    chat = [{"role": "user", "content": title}]
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")[
        "input_ids"
    ]


def allowed_characters(processor, tokenizer, text: str = "") -> set[str]:
    """The tokens that may follow a text, for a processor with prompt_length=0."""
    ids = torch.tensor([encode_text(tokenizer, text)]).long()
    scores = processor(ids, torch.zeros(1, len(tokenizer)))
    return set(tokenizer.convert_ids_to_tokens(scores[0].isfinite().nonzero().flatten().tolist()))


# -------------------------------------------------------------------------------- the rules hold


@pytest.mark.parametrize("form", FORMS)
def test_each_form_keeps_its_rules(poet, form):
    groups = all_groups() if FORMS[form].old_style else level_groups()
    for seed, rhyme in enumerate([None, groups[sum(map(ord, form)) % len(groups)]]):
        request = read_form(form, rhyme=rhyme)
        for poem in write(*poet, "春夜", form=request, n=20, seed=seed):
            check(poem, request)


@pytest.mark.slow
def test_each_rhyme_group_keeps_the_rules(poet):
    """Samples from the mask alone, without a model."""
    _, tokenizer = poet
    prompt = prompt_ids(tokenizer)
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
    "form, parts",
    [
        ("五言律詩", {"rhyme": "東", "acrostic": "春風化雨"}),
        ("七言律詩", {"acrostic": "春風化雨山水不望"}),
        ("五言絕句", {"acrostic": "思重應教"}),  # a compound may decide their tones
        ("五言絕句", {"first_line": "石徑幽泉細"}),
        ("五言絕句", {"first_line": "石徑幽水細"}),  # 對句救: the second line must rescue it
        ("五言律詩", {"first_line": "石山風水風", "rhyme": "東"}),
        ("五言律詩", {"first_line": "石徑水山風", "rhyme": "冬"}),  # 借韻: a neighbouring group
        ("七言排律", {"first_line": "春山石徑幽泉細", "acrostic": "春風化雨山水", "rhyme": "庚"}),
        ("五言排律", {"lines": 20}),
        ("五言古體", {"lines": 6, "first_line": "水水水水水", "rhyme": "紙"}),
        ("七言古體", {"lines": 4, "acrostic": "春風化雨"}),
    ],
)
def test_all_parts_of_a_request_are_kept(poet, form, parts):
    request = read_form(form, **parts)
    for poem in write(*poet, "春夜", form=request, n=20, seed=3):
        check(poem, request)


def test_a_smallest_vocabulary_suffices(tmp_path):
    """Five rhyme words of one group and one oblique character: eight lines need all of them."""
    decided = {compound[offset] for compound, offset in COMPOUNDS} | simplified_only()
    of_east = (chr(code) for code in range(0x4E00, 0x9FA5) if rhyme_groups(chr(code)) == ("東",))
    five = "".join(itertools.islice((word for word in of_east if word not in decided), 5))
    model, tokenizer = load(make_model(tmp_path, five + "水"))
    template = set("請用以下題目寫一首詩")  # every vocabulary of this project has these
    assert not any(set(rhyme_groups(c)) & {"東"} for c in template)
    request = read_form("五言律詩", rhyme="東")
    for seed in range(3):
        for poem in write(model, tokenizer, "水", form=request, n=10, seed=seed):
            check(poem, request)
    with pytest.raises(UserError, match="the rhyme 東 .1-dong. has 5 words .* needs 6"):
        FormLogitsProcessor(tokenizer, read_form("五言排律", rhyme="東", lines=10))
    with pytest.raises(UserError, match="needs 7 words of one rhyme group"):
        FormLogitsProcessor(tokenizer, read_form("五言排律"))


def test_the_likeliest_poem_comes_first(poet):
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
    # The likelihood is the loss that transformers computes for the poem.
    prompt = prompt_ids(tokenizer, "春夜")
    row = torch.cat([prompt, torch.tensor([ids[0]])], dim=1)
    labels = row.clone()
    labels[:, : prompt.shape[1]] = -100
    model.loss_type = "ForCausalLM"
    assert model(row, labels=labels).loss.item() == pytest.approx(-likelihoods[0], abs=1e-4)


def test_one_processor_serves_prompts_of_different_lengths(poet):
    model, tokenizer = poet
    request = read_form("五言律詩", rhyme="陽")
    processor = FormLogitsProcessor(tokenizer, request)
    for titles in (["春", "春夜喜雨山中", "<RES>"], ["夜"]):
        for ids in write_ids(model, tokenizer, titles, seed=1, logits_processor=[processor]):
            assert len(ids) == request.tokens and ids[-1] == tokenizer.eos_token_id
            check(tokenizer.decode(ids, skip_special_tokens=True), request)


@pytest.mark.parametrize(
    "settings",
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
def test_any_settings_of_generate_keep_the_rules(poet, settings):
    model, tokenizer = poet
    request = read_form("七言律詩", acrostic="春風化雨")
    prompt = prompt_ids(tokenizer)
    set_seed(0)
    rows = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        logits_processor=[FormLogitsProcessor(tokenizer, request)],
        **settings,
    )
    poems = tokenizer.batch_decode(rows[:, prompt.shape[1] :], skip_special_tokens=True)
    for poem in poems:
        check(poem, request)


def test_pipeline_keeps_the_rules(checkpoint):
    generator = pipeline("text-generation", model=str(checkpoint))
    request = read_form("五言律詩", rhyme="庚", acrostic="春風化雨")
    processor = FormLogitsProcessor(generator.tokenizer, request)
    chats = [[{"role": "user", "content": title}] for title in ("春", "春夜喜雨山中", "夜")]
    set_seed(0)
    for [answer] in generator(chats, batch_size=2, logits_processor=[processor]):
        check(answer["generated_text"][-1]["content"], request)


# --------------------------------------------------------------------------- simplified poems


@pytest.fixture(scope="module")
def simplified_poet(tmp_path_factory):
    characters = set("".join(simplified_sample()))
    return load(make_model(tmp_path_factory.mktemp("simplified"), "".join(characters)))


def test_a_form_may_have_every_character_of_a_simplified_corpus(simplified_poet):
    """Before, it lost 836 of 2,750 characters, and these were 26 % of the corpus."""
    _, tokenizer = simplified_poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"), prompt_length=0)
    characters = {c for c in "".join(simplified_sample()) if poem_lines(c)}
    assert allowed_characters(processor, tokenizer) == characters
    # The vocabulary also has the characters of the instruction.
    assert set("請題寫詩") <= tokenizer.get_vocab().keys() - characters


@pytest.mark.slow
@pytest.mark.parametrize(
    "form, parts",
    [
        ("五言絕句", {}),
        ("七言律詩", {"rhyme": "阳"}),
        ("五言排律", {}),
        ("七言絕句", {"acrostic": "聽風觀雨"}),
        ("五言絕句", {"first_line": "石径听泉发"}),
        ("七言古體", {"rhyme": "养", "lines": 6}),
    ],
)
def test_simplified_poems_keep_the_rules(simplified_poet, form, parts):
    request = read_form(form, **parts)
    vocabulary = simplified_poet[1].get_vocab()
    for poem in write(*simplified_poet, "听雨", form=request, n=12, seed=4):
        judgment = judge(poem)
        assert judgment.regulated or not request.regulated, (poem, judgment)
        assert not request.regulated or judgment.form == form
        assert traditional_only().isdisjoint(poem) and line_length(poem) == request.length
        assert explain(request, poem, vocabulary) == []
        heads = "".join(line[0] for line in poem_lines(poem))
        assert heads == "听风观雨" or "acrostic" not in parts
        assert poem.startswith(parts.get("first_line", ""))


def test_a_request_for_a_simplified_poem_may_be_typed_in_either_script(simplified_poet):
    traditional = {"rhyme": "陽", "acrostic": "聽風觀雨", "first_line": "聽雨石徑發"}
    requests = (
        read_form("五言律詩", **traditional),
        read_form("五言律诗", **{key: to_simplified(text) for key, text in traditional.items()}),
    )
    poems = [write(*simplified_poet, "听雨", form=request, seed=3) for request in requests]
    assert poems[0] == poems[1]


def test_a_simplified_poem_that_the_mask_refuses_is_explained(simplified_poet):
    _, tokenizer = simplified_poet
    request = read_form("五言絕句")
    processor = FormLogitsProcessor(tokenizer, request, prompt_length=0)
    poem = "石径幽泉细，松窗夜雨声。\n孤灯明旧壁，白发对寒城。"
    vocabulary = {*tokenizer.get_vocab()}
    assert not is_refused(processor, tokenizer, poem) and not explain(request, poem, vocabulary)
    for changed, reason in (
        (poem.replace("石径", "題径"), "題 is traditional. Write 题 instead."),
        (poem.replace("松窗", "石窗"), "Line 2, place 1: the line ends level"),
        (poem.replace("寒城", "寒声"), "Line 4, place 5: 声 already ends line 2."),
    ):
        (sentence,) = explain(request, changed, vocabulary)
        assert reason in sentence and is_refused(processor, tokenizer, changed)


# ------------------------------------------------------------------------------- one step of it


def test_scores_stay_finite_if_another_processor_bans_all_rhymes(poet):
    _, tokenizer = poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句", rhyme="庚"), prompt_length=0)
    # The next character ends line 1, level or oblique.
    poem = torch.tensor([encode_text(tokenizer, "石徑水山")])
    scores = torch.zeros(1, len(tokenizer))
    rhymes = [id for token, id in tokenizer.get_vocab().items() if "庚" in rhyme_groups(token)]
    scores[:, rhymes] = -torch.inf
    masked = processor(poem, scores)
    assert not masked.isnan().any() and masked.isfinite().any()


def test_a_used_rhyme_word_is_forbidden_in_all_its_writings():
    tokenizer = build_tokenizer("石徑幽泉細松窗夜雨孤燈明舊壁白髮對寒峰峯蹤踪蜂回迴梅，。\n", 256)
    for word, gone, left in (
        ("峰", "峰峯", "蹤踪蜂"),
        ("踪", "蹤踪", "峰峯蜂"),
        ("回", "回", "迴"),
    ):
        poem = f"石徑幽泉細，松窗夜雨{word}。\n孤燈明舊壁，白髮對寒"
        rhyme = rhyme_groups(word)[0]
        processor = FormLogitsProcessor(tokenizer, read_form("五言絕句", rhyme=rhyme), 0)
        allowed = allowed_characters(processor, tokenizer, poem)
        assert allowed.isdisjoint(gone) and allowed >= set(left), (word, allowed)


def test_two_writings_of_one_word_count_as_one_rhyme_word():
    tokenizer = build_tokenizer("石徑細峰峯蹤踪，。\n", 256)
    with pytest.raises(UserError, match="has 2 words .* needs 3"):
        FormLogitsProcessor(tokenizer, read_form("五言絕句", rhyme="冬"))


def test_a_first_line_that_a_compound_makes_level_must_rhyme(poet):
    """相思 is level, while 思 alone may also be read oblique and end a line without rhyme."""
    _, tokenizer = poet
    for rhyme, poem, may_be_next in (
        ("庚", "石徑雨相", False),
        ("支", "石徑雨相", True),
        ("庚", "石徑幽泉", True),
    ):
        processor = FormLogitsProcessor(tokenizer, read_form("五言絕句", rhyme=rhyme), 0)
        assert ("思" in allowed_characters(processor, tokenizer, poem)) == may_be_next
    # 思 is a rhyme word of 支 and not of 庚, so line 2 can only rhyme in 支.
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"), prompt_length=0)
    words = allowed_characters(processor, tokenizer, "石徑雨相思，幽泉細雨")
    assert words and all("支" in rhyme_groups(word) for word in words)


def test_scores_may_have_more_columns_than_the_tokenizer_has_tokens(poet):
    _, tokenizer = poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"))
    scores = processor(prompt_ids(tokenizer), torch.zeros(1, len(tokenizer) + 7))
    assert scores[:, len(tokenizer) :].isneginf().all() and scores.isfinite().any()


def test_the_first_two_characters_may_have_any_tone_but_are_traditional(poet):
    _, tokenizer = poet
    processor = FormLogitsProcessor(tokenizer, read_form("五言絕句"), prompt_length=0)
    traditional = {
        token
        for token in tokenizer.get_vocab()
        if len(token) == 1 and tone(token) and token not in simplified_only()
    }
    for poem in ("", "水"):  # place 2 of line 1 decides the tones of the poem
        assert allowed_characters(processor, tokenizer, poem) == traditional


# ------------------------------------------------------------------------------------- refusals


def test_a_prompt_without_response_mark_needs_prompt_length(poet):
    model, tokenizer = poet
    request = read_form("五言絕句")
    prompt = tokenizer("春夜\n", return_tensors="pt", add_special_tokens=False)
    with pytest.raises(ValueError, match="give prompt_length"):
        model.generate(**prompt, logits_processor=[FormLogitsProcessor(tokenizer, request)])
    length = prompt["input_ids"].shape[1]
    processor = FormLogitsProcessor(tokenizer, request, length)
    row = model.generate(**prompt, logits_processor=[processor])[0]
    check(tokenizer.decode(row[length:], skip_special_tokens=True), request)


def test_a_prompt_that_begins_a_poem_must_keep_the_form(poet):
    _, tokenizer = poet
    request = read_form("五言絕句")
    processor = FormLogitsProcessor(tokenizer, request, prompt_length=0)
    assert allowed_characters(processor, tokenizer, "石徑幽泉細，春")
    with pytest.raises(ValueError, match="五言絕句 .*Line 1, place 4: the tones at the even"):
        allowed_characters(processor, tokenizer, "水風風風")


@pytest.mark.slow
def test_a_poem_that_the_mask_refuses_is_explained(poet):
    """Compares the mask with `explain` on poems in which one to three characters were replaced."""
    _, tokenizer = poet
    rng = random.Random(0)
    vocabulary = tokenizer.get_vocab()
    characters = [c for c in vocabulary if len(c) == 1 and poem_lines(c)]
    outcomes = []
    for form, parts in (
        ("五言絕句", {}),
        ("七言律詩", {"rhyme": "庚"}),
        ("五言絕句", {"first_line": "石徑水山風"}),
        ("五言絕句", {"acrostic": "思重應教", "rhyme": "東"}),
        ("五言古體", {"rhyme": "紙", "lines": 4}),
        ("七言古體", {"lines": 4}),
    ):
        request = read_form(form, **parts)
        processor = FormLogitsProcessor(tokenizer, request, prompt_length=0)
        for poem in write(*poet, "春夜", form=request, n=25, seed=1):
            changed = list(poem)
            for _ in range(rng.choice([1, 1, 2, 3])):
                place = rng.randrange(len(changed))
                if poem_lines(changed[place]):
                    changed[place] = rng.choice(characters)
            text = "".join(changed)
            reasons = explain(request, text, vocabulary)
            refused = is_refused(processor, tokenizer, text)
            assert bool(reasons) == refused, (text, reasons)
            outcomes.append(refused)
    assert 30 < sum(outcomes) < len(outcomes) - 10


def is_refused(processor, tokenizer, poem: str) -> bool:
    """Whether the mask forbids any token of the poem."""
    ids = torch.tensor([encode_text(tokenizer, poem)])
    for position in range(ids.shape[1]):
        scores = processor(ids[:, :position], torch.zeros(1, len(tokenizer)))
        if scores[0, ids[0, position]].isneginf():
            return True
    return False


def test_a_request_beyond_the_vocabulary_or_the_model_is_refused(poet):
    model, tokenizer = poet
    assert "龘" not in tokenizer.get_vocab()
    few = build_tokenizer("水風東，。\n", POSITIONS)
    no_comma = build_tokenizer("春風。\n", POSITIONS)
    for vocabulary, request, sentence in (
        (
            tokenizer,
            {"form": "五言絕句", "acrostic": "春龘"},
            "the acrostic has 龘, which the model's vocabulary lacks",
        ),
        (tokenizer, {"form": "五言絕句", "first_line": "龘徑幽泉細"}, "the first line has 龘"),
        (
            tokenizer,
            {"form": "五言排律", "rhyme": "江", "lines": 60},
            "rhyme 江 .3-jiang. has .* but 五言排律 .five-character long regulated verse. of 60 "
            "lines needs 31",
        ),
        (few, {"form": "五言絕句", "rhyme": "東"}, "the rhyme 東 .* has 2 words .* needs 3"),
        (
            few,
            {"form": "五言絕句", "first_line": "水水水風風"},
            "ends in 風, so .* needs 2 more words",
        ),
        (few, {"form": "七言律詩"}, "needs 5 words of one rhyme group"),
        (no_comma, {"form": "五言絕句"}, "needs the mark '，'"),
    ):
        with pytest.raises(UserError, match=sentence) as raised:
            FormLogitsProcessor(vocabulary, read_form(**request))
        assert "\n" not in str(raised.value)
    with pytest.raises(
        UserError, match=r"the title takes 3\d\d? tokens .* lines takes 52. The model holds 320"
    ):
        write(model, tokenizer, "春" * 290, form="五言律詩")
