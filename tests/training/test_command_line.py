"""How a recipe and the command line become options."""

import builtins
import io
import os
from pathlib import Path

import pytest
from transformers import TrainingArguments
from trl import DPOConfig, SFTConfig

from poet.data.options import DataOptions
from poet.errors import UserError
from poet.training.command_line import parse, recipe_numbers
from poet.training.options import DPOOptions, PretrainOptions, SFTOptions

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("spelling", [["--config", "{}"], ["--config={}"]])
def test_a_recipe_is_read_as_utf_8_whatever_the_machine_prefers(monkeypatch, spelling):
    plain = builtins.open

    def ascii_unless_told(file, mode="r", buffering=-1, encoding=None, *rest, **named):
        if "b" not in mode and encoding in (None, "locale"):
            encoding = "ascii"
        return plain(file, mode, buffering, encoding, *rest, **named)

    for module in (builtins, io):  # pathlib asks the second
        monkeypatch.setattr(module, "open", ascii_unless_told)
    argv = [word.format(CONFIGS / "tang" / "data.yaml") for word in spelling]
    (arguments,) = parse(DataOptions, argv=[*argv, "--held_out", "0.2"])
    assert (arguments.forbidden, arguments.held_out) == ("□(（", 0.2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("n_layer:\n", "the key n_layer has no value"),
        ("n_layers: 2\n", "there is no key n_layers; the nearest is n_layer"),
        ("zzz: 2\n", "there is no key zzz; see --help"),
        ("- n_layer\n", "must hold lines of `key: value`"),
        ("n_layer: 'a\n", "is not YAML"),
        ("n_layer: [2, 3]\n", "n_layer takes one value"),
        ("n_layer: 2.5\n", "n_layer must be a whole number"),
        ("dropout: 1.0\n", "dropout must be below 1"),
        ("muon_learning_rate: -0.1\n", "muon_learning_rate must be at least 0"),
    ],
)
def test_a_broken_recipe_is_refused_in_one_sentence(tmp_path, text, sentence):
    (tmp_path / "pretrain.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        argv = ["--config", str(tmp_path / "pretrain.yaml"), "--output_dir", str(tmp_path)]
        parse(PretrainOptions, TrainingArguments, argv=argv)


def test_numbers_and_lists_of_a_recipe_are_read_as_on_the_command_line(tmp_path):
    recipe = f"sampled_titles: 8.0\nloss_type: sigmoid\noutput_dir: {tmp_path}\n"
    (tmp_path / "dpo.yaml").write_text(recipe, encoding="utf-8")
    options, args = parse(DPOOptions, DPOConfig, argv=["--config", str(tmp_path / "dpo.yaml")])
    assert options.sampled_titles == 8 and isinstance(options.sampled_titles, int)
    assert args.loss_type == ["sigmoid"] and args.seed == 0


@pytest.mark.parametrize(
    ("argv", "hidden"),
    [
        (["--use_cpu"], True),
        (["--use_cpu", "true"], True),
        (["--use-cpu=True"], True),
        (["--use_cpu", "false", "--bf16", "false"], False),
    ],
)
def test_who_wants_the_cpu_is_not_shown_a_gpu(tmp_path, monkeypatch, argv, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.chdir(tmp_path)
    parse(TrainingArguments, argv=argv)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("" if hidden else "3")


def test_a_key_may_be_empty_where_none_has_a_meaning(tmp_path):
    (tmp_path / "pretrain.yaml").write_text("minutes:\n", encoding="utf-8")
    argv = ["--config", str(tmp_path / "pretrain.yaml"), "--output_dir", str(tmp_path)]
    options, _ = parse(PretrainOptions, TrainingArguments, argv=argv)
    assert options.minutes is None


def test_a_machine_with_two_gpus_trains_on_one_unless_they_are_launched(tmp_path, monkeypatch):
    made = TrainingArguments.__post_init__

    def make(self):
        made(self)
        self._n_gpu = 2  # as on a machine with two, of one process

    monkeypatch.setattr(TrainingArguments, "__post_init__", make)
    _, args = parse(PretrainOptions, TrainingArguments, argv=["--output_dir", str(tmp_path)])
    assert (args.n_gpu, args.train_batch_size) == (1, args.per_device_train_batch_size)


def test_the_home_folder_is_found_where_no_shell_replaces_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model_name_or_path: ~/runs/sft\nauthor: ~\n", encoding="utf-8")
    options, args = parse(
        SFTOptions, SFTConfig, argv=["--config=~/recipe.yaml", "--output_dir=~/runs/out"]
    )
    assert (options.model_name_or_path, options.author) == (f"{tmp_path}/runs/sft", None)
    assert args.output_dir == f"{tmp_path}/runs/out"
    (data,) = parse(DataOptions, argv=["--corpus=~/poems", "--forbidden", "~"])
    assert (data.corpus, data.forbidden) == (f"{tmp_path}/poems", "~")


@pytest.mark.parametrize(
    ("line", "option", "read"),
    [
        ("lines_column: 1", "lines_column", "1"),
        ("title_column: 007", "title_column", "007"),
        ("author_column: 2024-01-01", "author_column", "2024-01-01"),
        ("forbidden: 0", "forbidden", "0"),
        ("forbidden: no", "forbidden", "no"),
        ("corpus: 2024", "corpus", "2024"),
        ("corpus: 1e5", "corpus", "1e5"),
        ("min_couplets: 7", "min_couplets", 7),
        ("title_column: null", "title_column", None),
    ],
)
def test_an_option_that_takes_text_is_read_as_it_is_spelled(tmp_path, line, option, read):
    recipe = tmp_path / "data.yaml"
    recipe.write_text(f"corpus: sample\n{line}\n".replace("corpus: sample\ncorpus", "corpus"))
    (options,) = parse(DataOptions, argv=["--config", str(recipe)])
    assert getattr(options, option) == read
    assert getattr(recipe_numbers(DataOptions, recipe)[0], option) == read


def test_the_seed_of_an_older_recipe_is_taken_only_with_the_value_of_today(tmp_path):
    recipe = tmp_path / "data.yaml"
    recipe.write_text("corpus: sample\nseed: 2024\n")
    assert parse(DataOptions, argv=["--config", str(recipe)]) == (DataOptions("sample"),)
    recipe.write_text("corpus: sample\nseed: 7\n")
    message = "data.yaml: the key seed is gone, because its value is now always 2024"
    with pytest.raises(UserError, match=message):
        parse(DataOptions, argv=["--config", str(recipe)])


def test_a_preference_that_is_a_number_is_named(tmp_path):
    (tmp_path / "data.yaml").write_text("corpus: sample\npreference: 5\n")
    with pytest.raises(UserError, match="no preference .5."):
        parse(DataOptions, argv=["--config", str(tmp_path / "data.yaml")])


def test_no_message_quotes_a_long_value(tmp_path):
    for line in (f"held_out: [{'1, ' * 5_000}]", f"{'x' * 900}: 1", f"held_out: {{{'a' * 900}"):
        (tmp_path / "data.yaml").write_text(f"corpus: sample\n{line}\n")
        with pytest.raises(UserError) as caught:
            parse(DataOptions, argv=["--config", str(tmp_path / "data.yaml")])
        assert len(str(caught.value)) < 400
