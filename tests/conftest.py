"""What every test may use: the real Tang corpus where there is one, invented verse everywhere else."""

import os
from pathlib import Path

import pytest

# No test of the default run needs the network, and none may wait for it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--corpus",
        metavar="PATH",
        help="a local copy of chinese-poetry, for the tests on the real Tang poems",
    )


@pytest.fixture(scope="session")
def tang(request: pytest.FixtureRequest) -> str:
    """The folder of the real Tang corpus: --corpus, $POET_CORPUS, or the folder shared/ beside the repository."""
    asked = request.config.getoption("--corpus") or os.environ.get("POET_CORPUS")
    folder = Path(asked) if asked else ROOT.parent / "shared" / "chinese-poetry"
    if not folder.exists():
        pytest.skip(
            f"needs the Tang corpus, which is not at {folder}: pass --corpus PATH or set POET_CORPUS"
        )
    return str(folder)


@pytest.fixture(scope="session")
def invented():
    """(number of poems) -> different records {"title", "author", "paragraphs"}, every other one five-character."""

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
