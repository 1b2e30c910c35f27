"""A function of the user is found where people keep it, and not loaded where nobody needs it."""

import itertools
import json
import shutil
import sys

import pytest

from poet import extension
from poet.alignment import own_pairs, rewards
from poet.alignment.author import find_author
from poet.data import run_data
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.errors import UserError
from poet.training.command_line import parse

SPRING = "def spring(poem):\n    return ord(poem.title[-1]) % 2 == 1\n"
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def search_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(extension, "_recipe_folders", [])


@pytest.fixture
def user(tmp_path, monkeypatch, invented):
    """A user with a corpus, a recipe, a module of a new name, and a folder to work in."""

    class User:
        module = f"my_rules_{next(_numbers)}"
        home, recipe, elsewhere = tmp_path / "home", tmp_path / "recipe", tmp_path / "elsewhere"
        run = tmp_path / "run"

        def write_module(self, folder, code=SPRING):
            (folder / f"{self.module}.py").write_text(code, encoding="utf-8")
            self.forget_module()

        def forget_module(self):
            """Does what the start of a new process does."""
            sys.modules.pop(self.module, None)
            shutil.rmtree(self.home / "__pycache__", ignore_errors=True)
            sys.path[:] = [path for path in sys.path if not path.startswith(str(tmp_path))]
            extension._recipe_folders.clear()

        def make_data(self):
            (options,) = parse(DataOptions, argv=["--config", str(self.recipe / "data.yaml")])
            return build_datasets(options, self.run)

    user = User()
    for folder in (user.home, user.recipe, user.elsewhere):
        folder.mkdir()
    poems = tmp_path / "poems.json"
    poems.write_text(json.dumps(invented(120)), encoding="utf-8")
    (user.recipe / "data.yaml").write_text(
        f"corpus: {poems}\npreference: {user.module}:spring\n", encoding="utf-8"
    )
    monkeypatch.chdir(user.home)
    return user


@pytest.mark.parametrize("place", ["home", "recipe"])
def test_a_preference_is_found_from_the_working_folder_and_from_the_recipe(user, place):
    user.write_module(getattr(user, place))
    assert user.make_data()["dpo_pairs"] > 0


def test_a_preference_is_found_again_from_another_folder(user, monkeypatch):
    user.write_module(user.home)
    made = user.make_data()
    monkeypatch.chdir(user.elsewhere)
    user.forget_module()
    assert user.make_data() == made
    user.forget_module()
    preferred = own_pairs.preference_of(user.run)  # as `train_dpo.py --sampled_titles` does
    assert preferred.__module__ == user.module


def test_what_needs_no_preference_does_not_load_it(user, monkeypatch):
    user.write_module(user.home)
    made = user.make_data()
    (user.home / f"{user.module}.py").unlink()
    user.forget_module()
    assert run_data.load_summary(user.run) == made
    assert find_author(user.run, "無名").training  # `poet evaluate` with an adapter asks this
    assert user.make_data() == made  # data that are there already are only compared
    assert user.module not in sys.modules
    with pytest.raises(UserError, match=f"No module named '{user.module}'.*{user.home}"):
        own_pairs.preference_of(user.run)


def test_data_of_a_changed_preference_are_refused(user):
    user.write_module(user.home)
    made = user.make_data()
    user.write_module(user.home, "# a comment\n" + SPRING.replace("% 2", "%  2"))
    assert user.make_data() == made
    user.write_module(user.home, SPRING.replace("== 1", "== 0"))
    with pytest.raises(UserError, match="holds another run .its preference had other code"):
        user.make_data()
    with pytest.raises(UserError, match="has changed since the data"):
        own_pairs.preference_of(user.run)


def test_data_from_before_functions_had_a_record_are_taken(user):
    user.write_module(user.home)
    path = user.run / "data" / "summary.json"
    made = user.make_data()
    del made["own_preference"], made["made_from"]["preference_code"]
    path.write_text(json.dumps(made), encoding="utf-8")
    assert user.make_data() == made
    assert own_pairs.preference_of(user.run).__module__ == user.module


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:odd", "No module named 'nowhere'"),
        ("json:odd", "odd"),
        ("json:__doc__", "not a function"),
        (":odd", "Empty module name"),
        (".rules:odd", "relative import"),
    ],
)
def test_a_function_that_is_not_there_is_refused(user, name, message):
    options = DataOptions(corpus="sample", preference=name)
    with pytest.raises(UserError, match=message):
        build_datasets(options, user.run)
    with pytest.raises(UserError, match=message):
        rewards.get_all([name], None, 0)
    assert not user.run.exists()


def test_a_run_with_a_changed_reward_is_another_run(user):
    name = f"{user.module}:spring"
    user.write_module(user.home)
    before = rewards.codes(["rhymed", name])
    assert list(before) == [name]
    user.write_module(user.home, SPRING.replace("== 1", "== 0"))
    assert rewards.codes(["rhymed", name]) != before


def test_the_folder_of_a_module_in_a_package_is_that_of_the_package(user):
    assert (
        extension.describe("json.decoder:JSONDecoder", "reward")["folder"]
        == (extension.describe("json:loads", "reward")["folder"])
    )


def test_pairs_without_a_preference_are_told_apart(user):
    user.write_module(user.home)
    path = user.run / "data" / "summary.json"
    path.parent.mkdir(parents=True)
    summary = {"made_from": {"preference": "auto"}, "preference": "", "own_preference": {}}
    path.write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(UserError, match="come without a preference"):
        own_pairs.preference_of(user.run)
