"""Tests of the command `poet` as a user types it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from helpers import (
    ROOT,
    make_checkpoint,
    make_model,
    random_model,
    remove_chat_template,
    rhyme_words,
    simplified_sample,
)

from poet import __version__, cli, interrupts
from poet.data import build
from poet.data.options import DataOptions
from poet.generation.load import generation_defaults, load
from poet.generation.write import write
from poet.prosody.judge import judge
from poet.prosody.request import read_form
from poet.prosody.script import from_simplified, to_simplified
from poet_tokenizer import build_tokenizer, save_tokenizer

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), characters="雲歸靜夜，。\n\n")


# ------------------------------------------------------------------------------ help and mistakes


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--version"], 0),
        (["write", "--help"], 0),
        (["wrote"], 2),
        (["write", "春", "-n", "0"], 2),
    ],
)
def test_help_and_mistakes_import_no_library(words, code):
    lines = (
        "import sys; from poet import cli",
        "sys.argv = ['poet', *sys.argv[1:]]",
        "try: cli.main()",
        "finally: print(sys.modules.keys() & {'torch', 'transformers', 'datasets'})",
    )
    command = [sys.executable, "-c", "\n".join(lines), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code and done.stdout.endswith("set()\n"), done


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX sends them")
def test_an_interrupt_while_a_poem_is_written(poet, checkpoint, interruptible, monkeypatch):
    show, shown = cli._Printer.show, []

    def show_and_interrupt(printer, piece):
        shown.append(piece)
        show(printer, piece)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cli._Printer, "show", show_and_interrupt)
    monkeypatch.setattr(interrupts, "kept", lambda: "Kept by an earlier command.")
    code, out, err = poet("write", "春", "--seed", "1", "--model", checkpoint)
    assert (code, err) == (130, "interrupted.\n") and len(shown) == 1 and out


def test_the_home_folder_is_found_where_no_shell_replaces_it(poet, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    _, _, err = poet("write", "春", "--model=~/runs/none")
    assert f"no checkpoint folder {tmp_path}/runs/none" in err
    _, _, err = poet("evaluate", "--poems=~/poems.txt")
    assert f"{tmp_path}/poems.txt" in err
    _, _, err = poet("evaluate", "~/runs/none", "--corpus=~/poems")
    assert f"{tmp_path}/poems" in err
    _, _, err = poet("evaluate", "~/runs/none", "--figure=~/nowhere/a.png")
    assert f"--figure is {tmp_path}/nowhere/a.png" in err


def test_poet_alone_and_as_a_module_prints_help_with_examples(poet):
    code, out, err = poet()
    assert (code, err) == (0, "") and "examples:" in out and "make run" in out
    assert poet("--help") == (0, out, "")
    done = subprocess.run(
        [sys.executable, "-m", "poet"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0 and done.stdout.split() == out.split()


@pytest.mark.parametrize("command", ["write", "evaluate"])
def test_every_option_has_help(poet, command):
    code, out, _ = poet(command, "--help")
    usage, *parts = out.split("\n\n")
    entries = re.split(r"\n  (?=\S)", "\n".join(part for part in parts if "examples:" not in part))
    options = [entry for entry in entries if entry.startswith("-")]
    assert code == 0 and len(options) == len(re.findall(r"\[-", usage))
    for option in options:
        assert re.search(r"(  |\n +)\w.{10}", option), option


def test_the_version_is_printed(poet):
    assert poet("--version") == (0, f"poet {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["wrote", "春"], "there is no command wrote. Did you mean write?"),
        (["write", "春", "--sed", "3"], "there is no option --sed. Did you mean --seed?"),
        (["evaluate", "runs", "--seed", str(2**70)], "--seed must be a number from 0 to"),
        (["evaluate", "x", "--jsn"], "there is no option --jsn. Did you mean --json?"),
        (["write", "春", "夜"], "夜 is one word too many"),
        (["write"], "title"),
        (["write", "  "], "the title is empty"),
        (["write", "春", "--theme", "秋", "雁"], "give either TITLE or --theme, not both"),
        (["write", "\udcb4\udcba"], "not UTF-8"),
        (["write", "春", "-n", "many"], "-n: invalid int value: 'many'"),
        (["write", "春", "-n", "0"], "at least one"),
        (["write", "春", "--script", "hanyu"], "hanyu"),
        (["write", "春", "--model", "nowhere"], "there is no checkpoint folder nowhere"),
        (
            ["write", "春", "--model", "nowhere", "--temperature", "0"],
            "temperature must be a number above 0",
        ),
        (["write", "春", "--model", "nowhere", "--guidance", "0.5"], "guidance must be at least 1"),
        (["write", "春"], "make run"),
        (["evaluate"], "name the folder of a model"),
        (["evaluate", "nowhere"], "--corpus"),
        (["evaluate", "--poems", "nowhere.txt"], "nowhere.txt"),
        (["evaluate", "nowhere", "--titles", "0"], "at least one"),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_2(poet, words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = poet(*words)
    assert (code, out) == (2, "")
    assert sentence in err and err.count("\n") == 1


def test_a_tokenizer_without_a_chat_template_is_refused(poet, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "mute")
    remove_chat_template(tmp_path / "mute")
    code, out, err = poet("write", "春", "--model", tmp_path / "mute")
    assert (code, out) == (2, "") and "has no chat template" in err and err.count("\n") == 1


# ------------------------------------------------------------------------------------------ write


def test_poems_alone_are_printed_with_a_blank_line_between_two(poet, checkpoint):
    code, out, err = poet("write", "靜夜", "-n", 4, "--seed", 5, "--model", checkpoint)
    assert (code, err) == (0, "")
    assert out == printed(write(*load(checkpoint), "靜夜", n=4, seed=5))
    assert poet("write", "靜夜", "-n", 4, "--seed", 5, "--model", checkpoint) == (0, out, "")


def printed(poems: list[str]) -> str:
    """Returns the poems as the command prints them, with blank lines between poems only."""
    return "\n\n".join("\n".join(filter(None, poem.split("\n"))) for poem in poems) + "\n"


def test_the_temperature_reaches_the_model(poet, checkpoint):
    words = ("write", "靜", "--model", checkpoint, "--seed")
    cold = poet(*words, 1, "--temperature", 1e-4)[1]
    assert poet(*words, 2, "--temperature", 1e-4)[1] == cold
    assert poet(*words, 1, "--temperature", 2)[1] != cold


@pytest.mark.parametrize(("form", "stage"), [("五言絕句", "dpo"), ("七言絕句", "sft")])
def test_the_default_model_is_named_on_stderr(poet, tmp_path, monkeypatch, form, stage):
    words = rhyme_words("東庚", 12)
    for folder in ("sft", "dpo"):
        make_model(tmp_path / "runs" / "sample" / folder, words)
    monkeypatch.chdir(tmp_path)
    code, out, err = poet("write", "春夜", "--form", form, "--seed", 1)
    assert code == 0 and out == printed(
        write(*load(tmp_path / "runs" / "sample" / stage), "春夜", form=form, seed=1)
    )
    assert f"the model is runs/sample/{stage}" in err and err.count("\n") == 1


def test_a_pretrained_model_gets_a_note_that_it_knows_no_titles(poet, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "my-model")
    (folder / "_arguments.json").write_text('{"stage": "pretrain"}', encoding="utf-8")
    code, out, err = poet("write", "靜夜", "--seed", 5, "--model", folder)
    assert (code, out) == poet("write", "靜夜", "--seed", 5, "--model", checkpoint)[:2]
    assert "it continues text" in err and err.count("\n") == 1


def test_simplified_characters_are_read_and_printed(poet, checkpoint):
    words = ("-n", 3, "--seed", 5, "--model", checkpoint)
    _, traditional, _ = poet("write", "靜夜雲歸", *words)
    assert poet("write", "静夜云归", *words)[1] == traditional
    assert (
        poet("write", "静夜云归", "--script", "simplified", *words)[1]
        == to_simplified(traditional)
        != traditional
    )


def test_a_model_of_simplified_poems_writes_them_and_prints_either_script(poet, tmp_path):
    characters = sorted(set("".join(simplified_sample())))
    model = make_model(tmp_path, "".join(characters))
    words = ("--form", "五言絕句", "--acrostic", "聽雨", "--seed", 5, "--model", model)
    code, out, err = poet("write", "听风", *words)
    assert (code, err) == (0, "") and judge(out).regulated
    assert out == to_simplified(out) and out.startswith("听")
    assert poet("write", "聽風", *words, "--script", "simplified") == (0, out, "")
    traditional = poet("write", "聽風", *words, "--script", "traditional")[1]
    assert from_simplified(traditional) == traditional != out
    assert to_simplified(traditional) == out
    # The words of a theme may be typed in either script, too.
    poems = [
        poet("write", "--theme", *theme, "--seed", 5, "--model", model)
        for theme in ("云听", "雲聽")
    ]
    assert poems[0] == poems[1]


@pytest.fixture(scope="module")
def formal(tmp_path_factory):
    """A checkpoint with enough positions and characters for eight lines that rhyme in 東."""
    return make_model(tmp_path_factory.mktemp("formal"), rhyme_words("東庚", 12))


def test_a_form_is_kept_and_the_likeliest_poem_comes_first(poet, formal):
    form = ["--form", "五言律詩", "--rhyme", "東", "--acrostic", "春風化雨"]
    words = ("write", "春夜", *form, "-n", 3, "--seed", 7)
    code, out, err = poet(*words, "--model", formal)
    assert (code, err) == (0, "")
    poems = out.rstrip("\n").split("\n\n")
    request = read_form("五言律詩", rhyme="東", acrostic="春風化雨")
    assert poems == write(*load(formal), "春夜", n=3, form=request, seed=7) and len(poems) == 3
    for poem in poems:
        judgment = judge(poem)
        assert (judgment.form, judgment.regulated, judgment.rhyme) == ("五言律詩", True, ("東",))
        assert [line[0] for line in judgment.lines[::2]] == list("春風化雨")
    form = ["--form", "五言律诗", "--rhyme", "东", "--acrostic", "春风化雨"]
    words = ("write", "春夜", *form, "-n", 3, "--seed", 7)
    assert poet(*words, "--model", formal) == (0, out, "")
    assert poet(*words, "--script", "simplified", "--model", formal) == (0, to_simplified(out), "")
    form = ["--form", "Wuyan Lushi", "--rhyme", "1-dong", "--acrostic", "春風化雨"]
    assert poet("write", "春夜", *form, "-n", 3, "--seed", 7, "--model", formal) == (0, out, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rhyme", "東"], "--rhyme needs a form"),
        (["--first-line", "春山"], "--first-line needs a form"),
        (["--form", "五言"], "there is no form 五言. Did you mean 五言絕句?"),
        (["--form", "wuyan-jueshu"], "Did you mean wuyan-jueju?"),
        (["--form", "wuyan-jueju", "--rhyme", "dong"], "東 (1-dong) or 冬 (2-dong)"),
        (["--form", "五言絕句", "--rhyme", "陌"], "is oblique, but 五言絕句"),
        (["--form", "五言絕句", "--acrostic", "春龘"], "the acrostic has 龘"),
        (["--form", "五言律詩", "--acrostic", "春風化"], "has 3 characters, but 五言律詩"),
        (
            ["--form", "七言絕句", "--first-line", "石徑幽泉細"],
            "has 5 characters, but a line of 七言絕句",
        ),
        (["--form", "五言排律", "--lines", "60", "--rhyme", "東"], "of 60 lines needs 31"),
        (["--form", "五言排律", "--lines", "many"], "--lines: invalid int value"),
    ],
)
def test_a_form_request_that_cannot_be_kept_is_refused(poet, formal, words, sentence):
    code, out, err = poet("write", "春夜", *words, "--model", formal)
    assert (code, out) == (2, "")
    assert sentence in err and err.count("\n") == 1


def test_a_theme_uses_the_instruction_of_training(poet, checkpoint):
    code, out, _ = poet("write", "--theme", "秋", "归雁", "--seed", 3, "--model", checkpoint)
    settings = {"seed": 3, "instruction": "請用以下主題寫一首詩"}
    poems = write(*load(checkpoint), "秋 歸雁", guidance_scale=2.0, **settings)
    assert code == 0 and out == printed(poems)


# --------------------------------------------------------------------------------------- evaluate


def test_evaluation_prints_a_table_or_one_json_object(poet, invented, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "run" / "sft", characters=FIVE)
    corpus = tmp_path / "poems.json"
    corpus.write_text(json.dumps(invented(100), ensure_ascii=False), encoding="utf-8")
    (tmp_path / "verse.txt").write_text(FIVE, encoding="utf-8")
    cut = {
        "split": [5, 3, 2],
        "held_out": 0.1,
        "min_couplets": 2,
        "equal_couplets": True,
        "forbidden": "□(（",
    }
    arguments = DataOptions(corpus=str(corpus), preference="five-character", **cut)
    build.build_datasets(arguments, tmp_path / "run")

    code, out, _ = poet(
        "evaluate", checkpoint, "--json", "--titles", 3, "--poems", tmp_path / "verse.txt"
    )
    result = json.loads(out)
    assert code == 0 and result.keys() == {"checkpoints", "poets", "poems", "titles", "seed"}
    assert result["checkpoints"][str(checkpoint)]["poem_loss"] > 0
    assert result["poets"]["well_formed"] == result["poems"]["well_formed"] == 1

    code, out, _ = poet("evaluate", checkpoint, "--titles", 3)
    assert code == 0 and out.startswith(
        f"| | better | {checkpoint} | poets |\n|---|---|---|---|\n| loss"
    )
    # The recipe tang cuts a corpus in the same way, so the same poems are held out.
    elsewhere = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    code, again, _ = poet("evaluate", elsewhere, "--titles", 3, "--corpus", corpus)
    assert code == 0 and _figures(again) == _figures(out)
    assert poet("evaluate", "--poems", tmp_path / "verse.txt")[1].startswith("| | better | poems |")


def test_evaluation_takes_every_key_of_data_yaml(poet, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "run" / "sft", characters="abcdefghijklmno .\n")
    rows = ["head,words\n", *(f"a{i} cat,no dog {i} ran.\n" for i in range(40))]
    corpus = tmp_path / "cats.csv"
    corpus.write_text("".join(rows), encoding="utf-8")
    words = ("evaluate", checkpoint, "--titles", 2, "--json", "--corpus", corpus)
    assert poet(*words, "--lines_column", "none")[0] == 2
    options = "--lines_column words --title_column head --equal_couplets false --min_couplets=1"
    code, out, err = poet(*words, *options.split(), "--forbidden", "")
    assert code == 0, err
    result = json.loads(out)
    row = result["checkpoints"][str(checkpoint)]
    assert result["titles"] == 2 and "well_formed" not in row and row["ends_by_itself"] >= 0
    code, _, err = poet(*words, "--equal_couplet", "false")
    assert code == 2 and "Did you mean --equal_couplets?" in err
    code, _, err = poet("evaluate", checkpoint, "--lines_column", "words")
    assert code == 2 and "--corpus PATH" in err


def test_forms_and_themes_are_refused_for_a_model_without_chinese(poet, tmp_path):
    tokenizer = build_tokenizer("abcdefghijklmno ", 64, instruction="")
    model = random_model(tokenizer, 64)
    model.generation_config = generation_defaults(tokenizer, 64)
    model.save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    command = ("write", "--model", tmp_path)
    for words in (("a", "--form", "wuyan-jueju", "--rhyme", "yang"), ("--theme", "秋")):
        code, out, err = poet(*command, *words)
        assert (code, out, err.count("\n")) == (2, "", 1) and "no Chinese characters" in err
    title = "once a dog "
    code, out, _ = poet(*command, title, "--seed", 1)
    poem = write(*load(tmp_path), title.strip(), seed=1)[0]
    assert code == 0 and out == printed([poem])


def _figures(table: str) -> list[str]:
    """Returns the rows that do not depend on the training poems."""
    return [line for line in table.splitlines()[2:] if "cop" not in line]
