"""The report of a run, made from short log histories."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers import invented_history as history
from helpers import make_checkpoint

from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.errors import UserError
from poet.evaluation.intervals import Estimate
from poet.evaluation.report import write_report
from poet.evaluation.row import Row
from poet.generation.load import load
from poet.training import plots
from poet.training.card import write_card


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of forty poems whose three stages have ended, without their weights."""
    corpus = tmp_path / "poems.jsonl"
    with corpus.open("w", encoding="utf-8") as file:
        for i in range(40):
            half = "春風花月夜" if i % 2 else "春風花月夜江山"
            line = f"{half}，{chr(0x4E00 + i)}{half[1:]}。"
            print(
                json.dumps({"title": f"其{i}", "paragraphs": [line, line]}, ensure_ascii=False),
                file=file,
            )
    build_datasets(
        DataOptions(
            corpus=str(corpus),
            split=[5, 3, 2],
            held_out=0.1,
            min_couplets=2,
            equal_couplets=True,
            forbidden="",
            preference="five-character",
        ),
        tmp_path / "run",
    )
    for stage in ("pretrain", "sft", "dpo"):
        folder = tmp_path / "run" / stage
        folder.mkdir()
        (folder / "trainer_state.json").write_text(
            json.dumps({"log_history": history(stage)}), encoding="utf-8"
        )
        plots.draw_curves(history(stage), folder / "curves.png")
        write_card(folder, history(stage), {"stage": stage})
        with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
            for step in range(0, 50, 10):
                sample = {
                    "step": step,
                    "prompt": "冬日對酒",
                    "text": f"第{step}首，\n<RES>|*好*。",
                    "eval_loss": 4.5,
                }
                if stage == "dpo":
                    sample["reference"] = f"舊{step}"
                print(json.dumps(sample, ensure_ascii=False), file=file)
    return tmp_path / "run"


def estimate(value: float) -> Estimate:
    return Estimate(value, (value - 0.05, value + 0.05))


RATES = {
    "sft": Row(
        poem_loss=estimate(4.17),
        poem_loss_five_character=estimate(4.10),
        well_formed=estimate(0.80),
        five_character=estimate(0.50),
        forms={"五言絕句": estimate(0.5)},
    ),
    "dpo": Row(
        poem_loss=estimate(5.98),
        poem_loss_five_character=estimate(4.00),
        well_formed=estimate(0.90),
        five_character=estimate(0.85),
        forms={"五言絕句": estimate(0.7)},
    ),
    "poets": Row(well_formed=estimate(1.0), five_character=estimate(0.45), forms={}),
}

GENERAL = Row(
    poem_loss=estimate(4.17),
    title_gain=estimate(0.2),
    poems=9,
    ends_by_itself=estimate(0.9),
    repeated_lines=estimate(0.1),
    distinct_1=estimate(0.2),
)


def test_report_shows_the_whole_journey(run_dir: Path) -> None:
    path = write_report(run_dir, RATES)
    text = path.read_text(encoding="utf-8")
    assert path == run_dir / "report.md"
    assert re.findall("^## (.*)", text, re.MULTILINE) == [
        "One title, stage by stage: 冬日對酒 (Wine on a Winter Day)",
        "The numbers that matter",
        "All measures",
        "Try next",
        "The stages",
        "Pretraining",
        "Fine-tuning",
        "Alignment",
        "Data",
    ]
    assert "40 read, 40 kept" in text
    assert "| pretraining | 40 | 12 min 34 s | evaluation loss 4.449, perplexity" in text
    links = re.findall(r"\]\((.*?)\)", text)
    curves = [f"{stage}/curves.png" for stage in ("pretrain", "sft", "dpo")]
    assert links == ["verse.png", "report.png", *curves]
    assert all((run_dir / link).is_file() for link in links)


def test_report_begins_with_the_trained_stages(run_dir: Path) -> None:
    first = write_report(run_dir, {}).read_text(encoding="utf-8").split("\n## ")[0]
    assert "- **Poems**: 40 of the corpus" in first
    assert "20 are for pretraining, 12 for fine-tuning and 8 for alignment." in first
    assert "- **Fine-tuning**: 40 steps in 12 min 34 s. The model learns to answer a title" in first


def test_report_describes_the_model_by_its_files(run_dir: Path) -> None:
    make_checkpoint(run_dir / "dpo")
    model = load(run_dir / "dpo")[0]
    text = write_report(run_dir, {}).read_text(encoding="utf-8")
    millions = f"{model.num_parameters() / 1e6:.1f}"
    assert f"- **Model**: a GPT-2 with 1 layer and {millions} million parameters." in text
    assert "It reads up to 64 characters at a time." in text


def test_poems_without_chinese_get_no_hints_about_chinese(run_dir: Path) -> None:
    for path in run_dir.glob("*/samples.jsonl"):
        text = path.read_text(encoding="utf-8").replace("冬日對酒", "The Tyger")
        path.write_text(text, encoding="utf-8")
    describe(run_dir, "poems", "en", "English")
    rows = {"sft": GENERAL, "dpo": GENERAL, "poets": Row(poems=9, distinct_1=estimate(0.3))}
    text = write_report(run_dir, rows).read_text(encoding="utf-8")
    assert "## One title, stage by stage: The Tyger\n" in text
    assert "## The numbers that matter" not in text and "| distinct words | as the poets |" in text
    assert "# poems for a title" in text
    for word in ("You need no Chinese", "--form", "well formed", "poet write 秋夜"):
        assert word not in text
    card = (run_dir / "sft" / "README.md").read_text(encoding="utf-8")
    assert "## Evaluation" in card and "## Verse" not in card


def describe(run_dir: Path, shape: str, code: str, name: str, left_out: tuple = ()) -> None:
    """Makes the summary of a run say that its texts are of another kind."""
    path = run_dir / "data" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    summary |= {"shapes": {stage: shape for stage in summary["shapes"] if stage not in left_out}}
    summary |= {"language": {"code": code, "name": name, "script": "Latin"}, "verse": False}
    summary |= {"left_out": dict.fromkeys(left_out, "It is left out.")}
    path.write_text(json.dumps(summary), encoding="utf-8")


def test_a_report_of_answers_speaks_of_prompts_and_answers(run_dir: Path) -> None:
    describe(run_dir, "answers", "en", "English", left_out=("dpo",))
    shutil.rmtree(run_dir / "dpo")
    text = write_report(run_dir, {"sft": GENERAL, "poets": GENERAL}).read_text(encoding="utf-8")
    assert "- **Answers**: 40 of the corpus" in text
    assert "20 are for pretraining and 12 for fine-tuning." in text
    assert "The model learns to answer a prompt." in text
    assert "## One prompt, stage by stage: " in text and "# answers for a prompt" in text
    assert "| | better | sft | held out |" in text
    assert "| loss of answers | lower | 4.170" in text and "gain by the prompt" in text
    shown = text.split("## Data")[0].replace(r"poems\.jsonl", "")
    assert re.findall(r".{9}(?:poem|poets|title|verse\b(?!\.png)|Chinese).{9}", shown) == []


def test_a_report_of_pretraining_alone_has_its_losses(run_dir: Path) -> None:
    describe(run_dir, "documents", "de", "German", left_out=("sft", "dpo"))
    for stage in ("sft", "dpo"):
        shutil.rmtree(run_dir / stage)
    rates = {"pretrain": Row(loss=estimate(2.1), perplexity=estimate(8.2))}
    text = write_report(run_dir, rates).read_text(encoding="utf-8")
    assert "- **Texts**: 40 of the corpus" in text and "20 are for pretraining." in text
    assert "The model learns to continue texts, character by character." in text
    assert "| loss of text | lower | 2.100" in text and "Rates are shares" not in text
    assert "poet write" not in text and "poet evaluate" in text and "verse.png" not in text


def test_a_run_of_an_older_version_is_about_chinese_poems(run_dir: Path) -> None:
    path = run_dir / "data" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    for key in ("shapes", "language", "verse", "left_out", "instruction", "notes", "split"):
        del summary[key]
    path.write_text(json.dumps(summary), encoding="utf-8")
    text = write_report(run_dir, RATES).read_text(encoding="utf-8")
    assert "You need no Chinese" in text and "## The numbers that matter" in text


def test_the_numbers_that_matter_are_the_form_and_the_preference(run_dir: Path) -> None:
    text = write_report(run_dir, RATES).read_text(encoding="utf-8")
    numbers = text.split("## The numbers that matter")[1].split("## ")[0]
    assert "| well-formed poems | 80 % | 90 % | 100 % |" in numbers
    assert "| five-character poems, which alignment prefers | 50 % | 85 % | 45 % |" in numbers
    assert "the loss of poems from 4.17 to 5.98" in numbers
    assert "the loss of five-character poems from 4.10 to 4.00" in numbers
    assert "The loss of all poems may rise" in numbers


def test_a_falling_loss_needs_no_excuse(run_dir: Path) -> None:
    rates = {**RATES, "dpo": Row(poem_loss=estimate(4.0), forms={})}
    text = write_report(run_dir, rates).read_text(encoding="utf-8")
    assert "the loss of poems from 4.17 to 4.00" in text and "may rise" not in text


def test_all_measures_are_in_the_table_with_their_direction(run_dir: Path) -> None:
    text = write_report(run_dir, RATES).read_text(encoding="utf-8")
    assert "| | better | before (sft) | after (dpo) | the poets |" in text
    cells = "0.800 (0.750 to 0.850) | 0.900 (0.850 to 0.950) | 1.000 (0.950 to 1.050)"
    assert f"| well formed | higher | {cells} |" in text
    assert "| form: 5-character jueju | as the poets | 0.500 (0.450 to 0.550) |" in text


def test_the_next_commands_name_the_model_that_was_just_trained(run_dir: Path) -> None:
    text = write_report(run_dir, {}).read_text(encoding="utf-8")
    commands = text.split("## Try next")[1].split("## ")[0]
    written = re.findall(r"poet (write .*)", commands)
    assert len(written) == 2
    for command in written:
        assert shlex.split(command)[-2:] == ["--model", str(run_dir / "dpo")]
    folders = shlex.split(re.search(r"poet evaluate (.*)", commands)[1])
    assert folders == [str(run_dir / stage) for stage in ("pretrain", "sft", "dpo")]


def test_cards_get_the_rates_of_the_last_evaluation(run_dir: Path) -> None:
    before = (run_dir / "dpo" / "README.md").read_text(encoding="utf-8")
    for rate in (0.8, 0.955):
        write_report(
            run_dir, {"dpo": Row(well_formed=estimate(rate), forms={}), "poets": Row(forms={})}
        )
    text = (run_dir / "dpo" / "README.md").read_text(encoding="utf-8")
    start, end = text.index("## Verse"), text.index("## Limits")
    assert "| | better | this model | the poets |" in text[start:end]
    assert "| well formed | higher | 0.955 (0.905 to 1.005) |  |" in text[start:end]
    assert text[:start] + text[end:] == before  # once, and nothing else has changed


def test_report_shows_the_first_the_middle_and_the_last_sample_as_plain_text(run_dir: Path) -> None:
    text = write_report(run_dir, {}).read_text(encoding="utf-8")
    alignment = text.split("## Alignment\n")[1]
    assert "step 0, loss 4.500 | step 20, loss 4.500 | step 40, loss 4.500" in alignment
    assert r"第40首，<br>\<RES\>\|\*好\*。" in alignment
    assert "| before alignment | 舊0 | 舊20 | 舊40 |" in alignment
    assert "## All measures" not in text


def test_report_of_an_unfinished_run_leaves_out_what_has_not_ended(run_dir: Path) -> None:
    (run_dir / "dpo" / "trainer_state.json").unlink()
    text = write_report(run_dir, {}).read_text(encoding="utf-8")
    assert "## Fine-tuning" in text and "## Alignment" not in text


def test_report_without_data_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--stages data"):
        write_report(tmp_path, {})
