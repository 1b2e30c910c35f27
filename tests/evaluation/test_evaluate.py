"""Figures are what a reader would count, and losses what plain torch computes."""

import json
import math
import re
import sys

import pytest
import torch
from helpers import make_checkpoint

from poet import cli
from poet.data.poems import read_corpus, split_poems
from poet.data.rows import hold_out
from poet.errors import UserError
from poet.evaluation import evaluate
from poet.evaluation.evaluate import HeldOut, Training, rates, wilson
from poet.generation.load import load
from poet_tokenizer import encode_text

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
SEVEN = "一二三四五六七，八九十甲乙丙丁。\n戊己庚辛壬癸子，丑寅卯辰巳午未。"
REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"


def test_forms_and_variety_are_counted():
    row = rates([FIVE, FIVE, SEVEN, "一二，三四。"])
    assert (row["well_formed"], row["five_character"]) == (0.75, 0.5)
    assert row["distinct_first_lines"] == 0.75
    assert (
        row["repeated_lines"] == 0
    )  # within a poem; the second copy of a whole poem is no repeated line
    assert row["distinct_1"] == 28 / (20 + 20 + 28 + 4)


def test_a_line_that_comes_twice_in_a_poem_is_counted():
    twice = FIVE.split("\n")[0]
    row = rates([FIVE, f"{twice}\n{twice}"])
    assert (row["repeated_lines"], row["repeated_characters"]) == (0.25, 0.25)


def test_rules_are_judged():
    row = rates([REGULATED, FIVE])
    assert (row["rhymed"], row["regulated"]) == (0.5, 0.5)
    assert row["forms"]["五言絕句"] >= 0.5


def test_what_was_copied_is_found_over_line_ends_and_not_over_poems():
    training = Training([FIVE, REGULATED])
    row = rates(["東西南北中，一二三四五。\n六七八白日，依山東西南。", SEVEN], training)
    assert row["copied_lines"] == 1 / 8
    assert (
        row["longest_copy"] == 20
    )  # SEVEN begins with the twenty characters of FIVE, cut into other lines
    assert rates([SEVEN[:8]], Training([FIVE[:6], FIVE[6:]]))["longest_copy"] == 5
    assert rates(["天地玄黃宇，宙洪荒日月。"], training)["longest_copy"] == 0


HYMN = "天地玄黃，宇宙洪荒。\n日月盈昃，辰宿列張。"


@pytest.mark.parametrize(
    ("poem", "copy", "half"),
    [
        (REGULATED, True, True),
        (
            REGULATED.replace("，", "；").replace("\n", ""),
            True,
            False,
        ),  # other punctuation and line ends
        (REGULATED.split("\n")[0] + "\n東西南北中，天地玄黃宇。", False, True),
        (
            REGULATED.split("\n")[0] + "\n東西南北中，天地玄黃宇。\n宙洪荒日月，盈昃辰宿列。",
            False,
            False,
        ),
        (HYMN + "\n寒來暑往，秋收冬藏。", False, False),  # lines of eight characters are formulas
        (SEVEN, False, False),
    ],
)
def test_what_leaks_is_a_copy_or_half_of_known_lines(poem, copy, half):
    training = Training([FIVE, REGULATED, HYMN])
    assert (training.has_copy(poem), training.has_half(poem)) == (copy, half)
    assert training.has_seen(poem) == (copy or half)


def test_the_tutorials_split_leaks(tang):
    """140 of the 4,747 poems that evaluate stand in a training part, and 388 share at least half their lines."""
    poems = read_corpus(tang, None, min_couplets=2, equal_couplets=True, forbidden="□(（").poems
    halves = [
        hold_out(part, 0.1)
        for part in split_poems(poems, 2024, [5, 3, 2], copies_together=False).parts
    ]
    training = Training([poem.text for learned, _ in halves for poem in learned])
    held_out = [poem.text for _, kept in halves for poem in kept]
    assert len(held_out) == 4747
    assert sum(map(training.has_copy, held_out)) == 140
    assert sum(map(training.has_half, held_out)) == 388


def test_the_interval_of_ten_in_ten():
    low, high = wilson(1.0, 10)
    assert round(low, 3) == 0.722 and round(high, 3) == 1.0


def test_every_rate_has_an_interval_that_holds_it():
    row = rates([FIVE, SEVEN, REGULATED], Training([REGULATED]))
    assert row["interval"]["forms"].keys() == row["forms"].keys()
    for key in row["interval"].keys() - {"forms"}:
        low, high = row["interval"][key]
        assert 0 <= low <= row[key] <= high and low < high, key
        assert high <= 1 or key == "tone_violations_per_line"  # the others are shares
    assert row.keys() - row["interval"].keys() == {"poems", "interval", "longest_copy"}


def test_no_poem_at_all_is_no_error():
    assert rates(["", "abc"])["well_formed"] == 0


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_checkpoint(tmp_path_factory.mktemp("poet"), characters=FIVE + SEVEN + "春夜"))


@torch.inference_mode()
def nats(model, ids: list[int], first: int) -> float:
    """Plainly: each of ids[first:] given all before it."""
    log_probabilities = model(input_ids=torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return -sum(log_probabilities[i - 1, ids[i]].item() for i in range(first, len(ids)))


def test_a_poems_loss_is_that_of_its_characters_and_its_end_given_the_prompt(poet):
    model, tokenizer = poet
    verses = [
        ("春", FIVE),
        ("春夜" * 9, SEVEN),
        ("夜", "一二三四五，六七八九十。"),
        ("鬱", FIVE * 3),
    ]
    total, count = 0.0, 0
    for title, poem in verses:
        chat = [{"role": "user", "content": title}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        ids = [*prompt, *tokenizer(poem)["input_ids"], tokenizer.eos_token_id][
            : model.config.n_positions
        ]
        total, count = total + nats(model, ids, len(prompt)), count + len(ids) - len(prompt)
    loss, (low, high) = evaluate.poem_loss(model, tokenizer, verses)
    assert loss == pytest.approx(total / count, abs=1e-5)
    assert low < loss < high


def test_a_texts_loss_is_that_of_windows_one_after_another(poet):
    model, tokenizer = poet
    text = (FIVE + "\n\n" + SEVEN) * 4
    ids, size = encode_text(tokenizer, text), model.config.n_positions
    starts = range(0, len(ids) - size, size)
    total = 0.0
    for start in starts:
        window, following = (
            torch.tensor(ids[start : start + size]),
            torch.tensor(ids[start + 1 : start + size + 1]),
        )
        with torch.inference_mode():
            logits = model(input_ids=window[None]).logits[0]
        total += torch.nn.functional.cross_entropy(logits, following, reduction="sum").item()
    assert evaluate.text_loss(model, tokenizer, text)[0] == pytest.approx(
        total / (len(starts) * size), abs=1e-5
    )


def test_a_poem_of_a_text_costs_what_its_characters_cost_in_the_whole_text(poet):
    model, tokenizer = poet
    poems = [f"春\n{SEVEN}", f"夜鬱\n{SEVEN}", f"春夜\n{FIVE}"] * 3
    text = "\n\n".join(poems)
    parts = evaluate._text_nats(model, tokenizer, poems)
    ids, size = encode_text(tokenizer, text), model.config.n_positions
    first, second = (len(encode_text(tokenizer, f"{poem}\n\n")) for poem in poems[:2])
    assert first < size < first + second  # a window begins inside the second
    windows = [ids[start : start + size + 1] for start in (0, size)]
    costs = [
        nats(model, window[: k + 1], k) for window in windows for k in range(1, size + 1)
    ]  # of ids[1:]
    assert parts[0][0] == pytest.approx(sum(costs[: first - 1]), abs=1e-3)
    assert parts[1][0] == pytest.approx(sum(costs[first - 1 : first + second - 1]), abs=1e-3)
    scored = (len(ids) - 1) // size * size
    assert sum(count for _, count in parts) == len(tokenizer.decode(ids[1 : scored + 1]))


def test_a_model_deaf_to_titles_gains_nothing_from_them(poet):
    model, tokenizer = poet
    verses = [("春", FIVE), ("夜", SEVEN), ("春夜", FIVE)]
    for block in model.transformer.h:
        torch.nn.init.zeros_(block.attn.c_proj.weight)
    torch.nn.init.zeros_(model.transformer.wpe.weight)
    assert evaluate.title_gain(model, tokenizer, verses)[0] == pytest.approx(0, abs=1e-5)


def test_checkpoints_and_poets_are_measured_alike(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "run" / "sft", characters=FIVE + SEVEN + "春夜")
    held_out = HeldOut(
        [("春", FIVE), ("夜", SEVEN), ("春" * 41, SEVEN)], FIVE + SEVEN + FIVE, [FIVE]
    )
    result = evaluate.evaluate_checkpoints([checkpoint], held_out, titles=5, poems=[REGULATED])
    row = result["checkpoints"][str(checkpoint)]
    assert result["titles"] == 2  # those of at most forty characters
    assert result["poets"]["well_formed"] == 1 and result["poems"]["regulated"] == 1
    assert row["perplexity"] == pytest.approx(math.exp(row["loss"]))
    assert row.keys() >= result["poets"].keys() | {
        "poem_loss",
        "poem_loss_five_character",
        "title_gain",
    }
    assert (
        row["leaked_poems"] == 1 and row["poem_loss_unseen"] != row["poem_loss"]
    )  # the first trained
    assert (
        evaluate.evaluate_checkpoints([checkpoint], held_out, titles=5, poems=[REGULATED]) == result
    )
    table = evaluate.table(evaluate.columns(result)).splitlines()
    assert table[0].endswith("sft | poems | poets |") and all(
        line.count("|") == 5 for line in table
    )


def test_middle_couplets_are_scored_by_what_stands_opposite_in_training():
    frame = "一二三四五，六七八九十。"
    parallel = f"{frame}\n青山連夜雨，綠水對朝雲。\n白石松前月，黃花竹外風。\n{frame}"
    crossed = f"{frame}\n青山連夜雨，黃花竹外風。\n綠水對朝雲，白石松前月。\n{frame}"
    training = Training([parallel] * 9)
    assert (
        rates([parallel], training)["parallelism"]
        > 1
        > 0
        > rates([crossed], training)["parallelism"]
    )
    assert "parallelism" not in rates([FIVE], training)


def test_poems_for_theme_words_are_searched_for_them(poet, monkeypatch):
    training = [FIVE.replace("一二", "明月").replace("三", chr(0x5000 + i)) for i in range(30)]
    asked = evaluate._Themes(training[:9], training, seed=0)
    assert len(asked.themes) == 9 and all(
        word in training[0] for word in " ".join(asked.themes).split()
    )
    obedient = [f"{theme.replace(' ', '')}，" for theme in asked.themes]
    monkeypatch.setattr(
        evaluate.write, "write", lambda model, tokenizer, titles, **settings: obedient
    )
    figures = dict(asked.figures(*poet, seed=0))
    assert figures["theme_words"][0] == figures["theme_words_or_kin"][0] == 1
    assert 0 <= figures["theme_words_by_chance"][0] < 1  # another theme's words
    monkeypatch.undo()
    rate, (low, high) = dict(asked.figures(*poet, seed=0))["theme_words"]
    assert 0 <= low <= rate <= high <= 1


def test_a_poem_that_was_cut_off_is_not_well_formed(tmp_path, monkeypatch):
    model, tokenizer = load(make_checkpoint(tmp_path, characters=FIVE))
    ids = encode_text(tokenizer, FIVE)
    monkeypatch.setattr(
        evaluate.write, "write_ids", lambda *_, **__: [ids, [*ids, tokenizer.eos_token_id]]
    )
    assert rates(evaluate._whole_poems(model, tokenizer, ["春", "夜"], 0))["well_formed"] == 0.5


def test_characters_of_no_known_tone_are_told():
    strange = REGULATED.replace(REGULATED[0], "\U00030000", 1)
    row = rates([strange, REGULATED])
    characters = len(re.findall(r"\w", REGULATED))
    assert (
        row["unknown_characters"] == pytest.approx(1 / (2 * characters))
        and "unknown_characters" in row["interval"]
    )
    assert "unknown_characters" not in rates([REGULATED])


def test_poems_of_a_file_are_read_with_titles_and_without(tmp_path):
    (tmp_path / "poems.txt").write_text(f"登樓\n{REGULATED}\n\n{FIVE}\n\n\n", encoding="utf-8")
    assert evaluate.read_poems(str(tmp_path / "poems.txt")) == [REGULATED, FIVE]
    (tmp_path / "poems.txt").write_text(
        f"登樓\n\n{REGULATED}\n\n1.\n某人\n{FIVE}\n", encoding="utf-8"
    )
    assert evaluate.read_poems(str(tmp_path / "poems.txt")) == [REGULATED, FIVE]
    rows = [verse + mark for verse, mark in re.findall("(\\w+)(\\W)", REGULATED)]
    (tmp_path / "poems.jsonl").write_text(
        json.dumps({"title": "夜", "lines": rows}), encoding="utf-8"
    )
    assert evaluate.read_poems(str(tmp_path / "poems.jsonl")) == [REGULATED]
    for row_end, comma, stop in (
        ("，\n", "，", "。"),
        ("，", ",", "."),
        ("，", "，", "。"),
    ):  # a line a row; narrow marks; as it is
        text = REGULATED.replace("，", row_end).replace("，", comma).replace("。", stop)
        (tmp_path / "POEMS.TXT").write_text(text, encoding="utf-8")
        assert evaluate.read_poems(str(tmp_path / "POEMS.TXT")) == [REGULATED]
    (tmp_path / "POEMS.TXT").write_text("登樓\n石徑幽泉細\n松窗夜雨聲", encoding="utf-8")
    with pytest.raises(UserError, match="no line ends in"):
        evaluate.read_poems(str(tmp_path / "POEMS.TXT"))
    (tmp_path / "gbk.txt").write_bytes(FIVE.encode("gbk"))
    (tmp_path / "empty.txt").write_text("\n \n")
    for name in ("gbk.txt", "empty.txt", "nowhere.txt"):
        with pytest.raises(UserError, match=name):
            evaluate.read_poems(str(tmp_path / name))


def test_checkpoints_that_learned_from_different_data_are_not_measured_together(
    tmp_path, monkeypatch
):
    for run, seed, corpus in (("a", 1, "here"), ("b", 2, "here"), ("c", 1, "there")):
        (tmp_path / run / "data").mkdir(parents=True)
        made_from = {"corpus": corpus, "preference": run, "fingerprint": "one", "seed": seed}
        (tmp_path / run / "data" / "summary.json").write_text(json.dumps({"made_from": made_from}))
    monkeypatch.setattr(evaluate, "of_run", lambda run: run)
    a, b, c = (tmp_path / run / "sft" for run in "abc")
    assert evaluate.find_held_out(None, [a, c]) == tmp_path / "a"
    with pytest.raises(UserError, match="have learned from different data"):
        evaluate.find_held_out(None, [a, c, b / "checkpoint-2"])


def test_a_figure_is_drawn_where_it_is_asked_for_and_a_wrong_name_refused_first(
    tmp_path, monkeypatch
):
    (tmp_path / "poems.txt").write_text(REGULATED, encoding="utf-8")
    command = ["poet", "evaluate", "--poems", str(tmp_path / "poems.txt"), "--figure"]
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "verse.png")])
    cli._main()
    assert (tmp_path / "verse.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(
        evaluate, "rates", lambda *_: pytest.fail("measured before the name was refused")
    )
    (tmp_path / "folder.png").mkdir()
    for name in ("verse.pdf", "nowhere/verse.png", "folder.png"):
        monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / name)])
        with pytest.raises(UserError, match="--figure"):
            cli._main()
