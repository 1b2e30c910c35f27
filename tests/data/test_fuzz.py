"""Damaged files of every format: poems, or one short message, and never a traceback."""

import json
import random
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from poet.data.poems import read_corpus
from poet.errors import UserError

ROUNDS = 1_500  # about three seconds
RECORDS = [
    {"title": "春曉", "author": "孟浩然", "content": "春眠不覺曉，處處聞啼鳥。\n夜來風雨聲。"},
    {"title": 2024, "author": None, "paragraphs": ["月落烏啼霜滿天，江楓漁火對愁眠。"]},
    {"title": "Rain", "content": "The rain has come to every door,\nIt asks for nothing more."},
]
ROWS = [RECORDS[0], RECORDS[2]]
SPRING = "春眠不覺曉，處處聞啼鳥。\n夜來風雨聲，花落知多少。"
TOWER = "白日依山盡，黃河入海流。"
JSON = json.dumps(RECORDS, ensure_ascii=False)
CSV = 'title,author,text\n春曉,孟浩然,"春眠不覺曉，\n處處聞啼鳥。"\n"a, b",,Text\n'
VALID = {
    "json": [
        JSON,
        json.dumps({str(n): record for n, record in enumerate(RECORDS)}),
        json.dumps({"data": RECORDS}, indent=1),
        json.dumps({"title": ["a", "b"], "text": ["c", "d"]}),
        json.dumps({"title": {"0": "a"}, "text": {"0": "b"}}),
        json.dumps({"columns": ["title", "text"], "data": [["a", "b"]]}),
    ],
    "jsonl": ["\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)],
    "csv": [CSV, CSV.replace(",", ";"), "sep=|\n" + CSV.replace(",", "|")],
    "tsv": [CSV.replace(",", "\t")],
    "txt": [
        f"春曉\n孟浩然\n{SPRING}\n\n登樓\n{TOWER}\n",
        f"春曉\n\n{SPRING}\n\n登樓\n\n{TOWER}\n",
        f"春曉\n{SPRING}\n登樓\n{TOWER}",
        f"春曉:{SPRING}\n登樓:{TOWER}\n".replace("。\n夜", "。夜"),
        "1_1\t春曉\t孟浩然\t" + SPRING.replace("\n", "") + f"\n1_2\t登樓\t王之渙\t{TOWER}",
        f"1. 春曉\n{SPRING}\n2. 登樓\n{TOWER}\n",
        f"第一首\n{SPRING}\n第二首 登樓\n{TOWER}\n",
        f"詠懷\n其一\n{SPRING}\n其二\n{TOWER}\n\n感遇\n其一\n{TOWER}",
        "\n".join([SPRING.replace("\n", "")] * 4),
        "白日依山盡|黃河入海流|欲窮千里目|更上一層樓\n春眠不覺曉|處處聞啼鳥|夜來風雨聲|花落知多少",
        "白日依山盡\n黃河入海流\n欲窮千里目\n更上一層樓\n\n春眠不覺曉\n處處聞啼鳥",
        "Rain\nThe rain has come to every door,\nIt asks for nothing more.\n\n"
        "A Hill\nThe road goes up the hill today,\nAnd no one sees it fade away.\n",
        "I\n\nThe rain has come,\nIt asks for more.\n\nII\n\nThe road goes up,\nIt fades away.\n",
    ],
    "md": ["# 春曉\n\n春眠不覺曉，處處聞啼鳥。\n\n## Rain\n\nThe rain has come.\n"],
}
PIECES = [
    *(b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b"\n\n\n", b'"', b"'"),
    *(b"{", b"}", b"[", b"]", b",", b":", b";", b"|", b"\t", b"\\", b"\\u", b"\\ud840", b"NaN"),
    *(b"null", b"true", b"1e999", b"-", b"0", b"# ", b"1. ", b"II\n", b"[" * 3_000, b"9" * 5_000),
    *("。", "，", "其一\n", "第十首 ", "\u3000", "\u2028", "\x85", "\x1b[31m", "廿", "\ufeff"),
]
PIECES = [piece if isinstance(piece, bytes) else piece.encode() for piece in PIECES]
TEXTS = [(ending, text.encode()) for ending, texts in VALID.items() for text in texts]


def damage(content: bytes, rng: random.Random, pieces: list[bytes]) -> bytes:
    """Returns the content after one to three random changes, most between whole characters."""
    for _ in range(rng.randint(1, 3)):
        text = content.decode("utf-8", errors="replace")
        cuts = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        start, end = (len(text[:cut].encode()) for cut in cuts)
        change = rng.randrange(6)
        if change == 0:
            content = content[:start]
        elif change == 1:
            content = content[:start] + content[end:]
        elif change == 2:
            content = content[:start] + rng.choice(pieces) + content[start:]
        elif change == 3:
            content = content[:start] + content[start:end] * 2 + content[end:]
        elif change == 4 and content:
            at = rng.randrange(len(content))
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        else:
            content = content[end:] + content[start:end] + content[:start]
    return content


def check(path: Path) -> bool:
    """Returns whether a file is read. Fails unless it is read well or refused in one message."""
    try:
        corpus = read_corpus(str(path))
    except UserError as error:
        message = str(error).replace(str(path), path.name)
        assert len(message) < 500 and "\n" not in message, message
        assert message.count(path.name) >= 1, message
        return False
    for poem in corpus.poems:
        assert isinstance(poem.title, str) and isinstance(poem.author, str)
        assert poem.couplets and all(row.strip() for row in poem.couplets)
        json.dumps([poem.title, *poem.couplets]).encode()
        poem.text.encode("utf-8")
    return True


def test_a_damaged_text_is_read_or_refused(tmp_path):
    rng = random.Random(0)
    read = 0
    for number in range(ROUNDS):
        ending, content = rng.choice(TEXTS)
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(damage(content, rng, PIECES))
        try:
            read += check(path)
        except BaseException:
            print(f"the file was {path.read_bytes()!r}")
            raise
    assert 0.2 * ROUNDS < read < 0.9 * ROUNDS  # otherwise the changes are too small or too large


def test_a_file_with_the_wrong_ending_is_read_or_refused(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "whole.parquet")
    contents = [*TEXTS, ("parquet", (tmp_path / "whole.parquet").read_bytes())]
    for _, content in contents[::3]:
        for ending in (*VALID, "parquet"):
            path = tmp_path / f"a.{ending}"
            path.write_bytes(content)
            check(path)


def test_damaged_parquet_is_read_or_refused(tmp_path):
    whole = tmp_path / "whole.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), whole)
    content = whole.read_bytes()
    assert check(whole)
    for size in range(0, len(content), 97):
        path = tmp_path / "a.parquet"
        path.write_bytes(content[:size])
        assert not check(path)


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_of_damaged_files_is_read_or_refused(tmp_path, seed):
    rng = random.Random(seed)
    for number in range(30):
        folder = tmp_path / "a" / "/".join(rng.choices("bcd", k=rng.randrange(3)))
        folder.mkdir(parents=True, exist_ok=True)
        ending, content = rng.choice(TEXTS)
        (folder / f"{rng.choice(('', '.', 'README '))}{number}.{ending}").write_bytes(content)
    while not check(tmp_path / "a"):  # each message names a file that can be removed
        with pytest.raises(UserError) as caught:
            read_corpus(str(tmp_path / "a"))
        named = [path for path in (tmp_path / "a").rglob("*.*") if str(path) in str(caught.value)]
        assert len(named) == 1, caught.value
        named[0].unlink()
    shutil.rmtree(tmp_path / "a")
