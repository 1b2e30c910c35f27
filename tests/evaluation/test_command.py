"""`poet evaluate` draws a figure, and refuses a wrong name before it measures."""

import pytest

from poet.evaluation import checkpoints

REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"


def test_a_figure_is_drawn(poet, tmp_path):
    (tmp_path / "poems.txt").write_text(REGULATED, encoding="utf-8")
    figure = tmp_path / "verse.png"
    code, out, _ = poet("evaluate", "--poems", tmp_path / "poems.txt", "--figure", figure)
    assert code == 0 and "| regulated | higher | 1.000" in out
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["verse.pdf", "nowhere/verse.png", "folder.png"])
def test_a_wrong_name_of_a_figure_is_refused_first(name, poet, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "rates", lambda *_: pytest.fail("measured first"))
    (tmp_path / "poems.txt").write_text(REGULATED, encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    code, out, err = poet(
        "evaluate", "--poems", tmp_path / "poems.txt", "--figure", tmp_path / name
    )
    assert (code, out) == (2, "") and "--figure" in err
