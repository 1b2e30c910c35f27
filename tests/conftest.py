"""Fixtures that several tests share: the Tang corpus if there is one, and invented poems."""

import json
import os
import random
import signal
import sys
import warnings
from pathlib import Path

# No test of the default run needs the network, and none may wait for it. The libraries read these
# when they are imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest
from filelock import FileLock
from helpers import OPTIONS, ROOT, call, command

# Two workers of pytest-xdist share the cores: each of them, and what it starts, uses one thread.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--corpus",
        metavar="PATH",
        help="a local copy of chinese-poetry, for the tests on the real Tang poems",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts with the files that take longest, so that no worker waits for them at the end."""
    longest = ("test_run.py", "test_scripts.py", "test_training.py", "test_refusals.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture(scope="session")
def tang(request: pytest.FixtureRequest) -> str:
    """The folder of the Tang corpus: --corpus, $POET_CORPUS, or ../shared/chinese-poetry."""
    asked = request.config.getoption("--corpus") or os.environ.get("POET_CORPUS")
    folder = Path(asked) if asked else ROOT.parent / "shared" / "chinese-poetry"
    if not folder.exists():
        pytest.skip(f"there is no Tang corpus at {folder}: pass --corpus PATH or set POET_CORPUS")
    return str(folder)


@pytest.fixture(scope="session")
def invented():
    """Returns a function that makes different records; every other poem is five-character."""

    def verse(start: int, length: int) -> str:
        characters = [chr(0x4E00 + (start * 31 + k) % 5000) for k in range(2 * length)]
        return f"{''.join(characters[:length])}，{''.join(characters[length:])}。"

    def make(count: int) -> list[dict]:
        return [
            {
                "title": f"題{chr(0x5000 + k)}",
                "author": "無名",
                "paragraphs": [verse(2 * k, length := 5 + k % 2 * 2), verse(2 * k + 1, length)],
            }
            for k in range(count)
        ]

    return make


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    draw = random.Random(0)
    characters = [chr(0x5000 + i) for i in range(200)]
    poems = []
    for _ in range(300):
        width = draw.choice([5, 7])
        lines = [
            "，".join("".join(draw.choices(characters, k=width)) for _ in "ab") + "。"
            for _ in range(2)
        ]
        poems.append(
            {"title": "".join(draw.choices(characters, k=4)), "author": "", "paragraphs": lines}
        )
    (folder / "poems.json").write_text(json.dumps(poems, ensure_ascii=False), encoding="utf-8")
    options = ["--recipe", "tang", "--corpus", str(folder / "poems.json"), "--stages", "data"]
    done = call("run.py", *options, "--output_dir", str(folder / "run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def corpus_run(tmp_path_factory, invented) -> Path:
    """A folder with data that this process made, for trainings in this process."""
    from poet.data.build import build_datasets
    from poet.data.options import DataOptions

    run = tmp_path_factory.mktemp("run")
    poems = run / "poems.json"
    poems.write_text(json.dumps(invented(120), ensure_ascii=False), encoding="utf-8")
    build_datasets(DataOptions(corpus=str(poems)), run)
    return run


@pytest.fixture(scope="session")
def trained(run) -> Path:
    for stage in OPTIONS:
        done = call(*command(stage, run / stage))
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory):
    """The run of `make run`: all stages on the embedded poems, and the report.

    Several workers of pytest-xdist share one run: the first to come trains, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has a folder of its own in it
    folder, output = base / "runs" / "sample", base / "sample.txt"
    with FileLock(base / "sample.lock"):
        if not output.exists():
            done = call("run.py", "--recipe", "sample", "--output_dir", str(folder), timeout=900)
            assert done.returncode == 0, done.stderr
            output.write_text(done.stdout, encoding="utf-8")
    return folder, output.read_text(encoding="utf-8")


@pytest.fixture
def interruptible(monkeypatch):
    """Handles signals in this process as a command does. Gives a function that forgets them."""
    from poet import interrupts

    for name in ("HOLD", "END", "EXIT"):  # a test may run on a machine that has much to do
        monkeypatch.setattr(interrupts, name, 3600.0)

    def forget() -> None:
        if interrupts._State.end is not None:
            interrupts._State.end.cancel()
        interrupts._State.came_at = interrupts._State.held = interrupts._State.end = None

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts.listen()
    yield forget
    forget()
    interrupts.kept = str
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def poet(monkeypatch, capsys):
    """(words of the command) -> exit code, stdout, stderr."""

    from poet import cli

    def call(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["poet", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list:
    """The figures that a test saves. A warning of matplotlib is an error."""
    from matplotlib.figure import Figure

    saved: list[Figure] = []
    save = Figure.savefig

    def save_and_keep(figure: Figure, *args, **kwargs) -> None:
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", save_and_keep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield saved
