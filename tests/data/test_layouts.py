"""Layouts of plain texts, and of the lines in a poem."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.data.layouts import couplets, read_text
from poet.data.poems import Poem, read_corpus
from poet.errors import UserError
from poet.text import line_length

SPRING = ("春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知多少。")
TOWER = ("白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。")
TEMPLE = ("月落烏啼霜滿天，江楓漁火對愁眠。", "姑蘇城外寒山寺，夜半鐘聲到客船。")
POEMS = {"春曉": SPRING, "登鸛雀樓": TOWER, "楓橋夜泊": TEMPLE}
AUTHORS = {"春曉": "孟浩然", "登鸛雀樓": "王之渙", "楓橋夜泊": "張繼"}
ENGLISH = {
    "The Hill": ("The road goes up the hill today,", "And no one sees it fade away."),
    "Rain": ("The rain has come to every door,", "It asks for bread and nothing more."),
    "A Bird": ("A bird sat down upon the sill,", "And all the world was very still."),
}


def read(text: str, is_markdown: bool = False) -> tuple[str, list[tuple[str, str, tuple]]]:
    """Returns the layout of a text, and (title, author, couplets) of its poems."""
    found = Counter[str]()
    rows = ((f"line {n}", row) for n, row in enumerate(text.splitlines(keepends=True), 1))
    poems = [
        (
            (record.get("title") or "").strip(),
            (record.get("author") or "").strip(),
            couplets(record.get("lines") or record.get("text") or []),
        )
        for _, record in read_text(rows, is_markdown, found)
    ]
    assert sum(found.values()) == 1
    return next(iter(found)), poems


def lines_of(poem: tuple[str, ...]) -> list[str]:
    return [line for couplet in poem for line in couplet.replace("，", "，\n").split("\n")]


def bare(poem: tuple[str, ...]) -> list[str]:
    return [line.rstrip("，。") for line in lines_of(poem)]


# --------------------------------------------------------------------------- where poems begin

TITLES = [(title, "", poem) for title, poem in POEMS.items()]
AUTHORED = [(title, AUTHORS[title], poem) for title, poem in POEMS.items()]
UNTITLED = [("", "", poem) for poem in POEMS.values()]
CHINESE = {
    "blank rows": (
        "\n\n".join(f"{title}\n" + "\n".join(poem) for title, poem in POEMS.items()),
        "begin with a title",
        TITLES,
    ),
    "blank rows and authors": (
        "\n\n".join(f"{t}\n{AUTHORS[t]}\n" + "\n".join(poem) for t, poem in POEMS.items()),
        "begin with a title",
        AUTHORED,
    ),
    "blank rows, no titles": (
        "\n\n".join("\n".join(poem) for poem in POEMS.values()),
        "without titles",
        UNTITLED,
    ),
    "blank rows after titles, stanzas": (
        "\n\n".join(f"{title}\n\n" + "\n\n".join(poem) for title, poem in POEMS.items()),
        "below a title",
        TITLES,
    ),
    "one line per row": (
        "\n\n".join(f"{title}\n" + "\n".join(lines_of(poem)) for title, poem in POEMS.items()),
        "begin with a title",
        TITLES,
    ),
    "one line per row, no marks": (
        "\n\n".join(f"{title}\n" + "\n".join(bare(poem)) for title, poem in POEMS.items()),
        "begin with a title",
        TITLES,
    ),
    "no marks, authors": (
        "\n\n".join(f"{t}\n{AUTHORS[t]}\n" + "\n".join(bare(poem)) for t, poem in POEMS.items()),
        "begin with a title",
        AUTHORED,
    ),
    "no marks, no titles": (
        "\n\n".join("\n".join(bare(poem)) for poem in POEMS.values()),
        "without titles",
        UNTITLED,
    ),
    "no blank rows": (
        "\n".join(f"{title}\n" + "\n".join(poem) for title, poem in POEMS.items()),
        "without blank rows",
        TITLES,
    ),
    "no blank rows, authors": (
        "\n".join(f"{t}\n{AUTHORS[t]}\n" + "\n".join(poem) for t, poem in POEMS.items()),
        "without blank rows",
        AUTHORED,
    ),
    "no blank rows, no marks": (
        "\n".join(f"{title}\n" + "\n".join(bare(poem)) for title, poem in POEMS.items()),
        "without blank rows",
        TITLES,
    ),
    "a row per poem": ("\n".join(map("".join, POEMS.values())), "a row per poem", UNTITLED),
    "a row per poem, |": (
        "\n".join("|".join(bare(poem)) for poem in POEMS.values()),
        "a row per poem",
        UNTITLED,
    ),
    "a row per poem, | and marks": (
        "\n".join("|".join(poem) for poem in POEMS.values()),
        "a row per poem",
        UNTITLED,
    ),
    "a row per poem, spaces": (
        "\n".join(" ".join(bare(poem)) for poem in POEMS.values()),
        "a row per poem",
        UNTITLED,
    ),
    "# headings": (
        "\n\n".join(f"# {title}\n\n" + "\n".join(poem) for title, poem in POEMS.items()),
        "headings with #",
        TITLES,
    ),
    "# headings, authors": (
        "# 唐詩\n\n"
        + "\n\n".join(f"## {t}\n\n{AUTHORS[t]}\n\n" + "\n".join(p) for t, p in POEMS.items()),
        "headings with #",
        AUTHORED,
    ),
}
for sep in ("\t", ":", "：", "|", "｜", ",", " ", "\u3000"):
    CHINESE[f"title{sep!r}text"] = (
        "\n".join(f"{title}{sep}" + "".join(poem) for title, poem in POEMS.items()),
        "title, text",
        TITLES,
    )
    CHINESE[f"title{sep!r}author{sep!r}text"] = (
        "\n".join(f"{t}{sep}{AUTHORS[t]}{sep}" + "".join(poem) for t, poem in POEMS.items()),
        "title, author, text",
        AUTHORED,
    )
for sep in ("\t", "|"):
    CHINESE[f"title{sep!r}lines"] = (
        "\n".join(f"{title}{sep}" + sep.join(bare(poem)) for title, poem in POEMS.items()),
        "title, text",
        TITLES,
    )
    CHINESE[f"number{sep!r}title{sep!r}author{sep!r}text"] = (
        "\n".join(
            sep.join([f"{n}_1", t, AUTHORS[t], "".join(poem)])
            for n, (t, poem) in enumerate(POEMS.items(), 1)
        ),
        "number, title, author, text",
        AUTHORED,
    )
NUMBERS = {
    "1. ": ["1. ", "2. ", "3. "],
    "1、": ["1、", "2、", "3、"],
    "(1)": ["(1)", "(2)", "(3)"],
    "001": ["001\n", "002\n", "003\n"],
    "1.⏎": ["1.\n", "2.\n", "3.\n"],
    "一、": ["一、", "二、", "三、"],
    "（一）": ["（一）", "（二）", "（三）"],
    "第一首": ["第一首 ", "第二首 ", "第三首 "],
    "十": ["十、", "十一、", "十二、"],
    "第一百零九首": ["第一百零九首 ", "第一百一十首 ", "第一百一十一首 "],
}
for style, numbers in NUMBERS.items():
    for gap in ("\n", "\n\n"):
        CHINESE[f"numbers {style}{gap!r}"] = (
            gap.join(
                f"{number}{title}\n" + "\n".join(poem)
                for number, (title, poem) in zip(numbers, POEMS.items(), strict=True)
            ),
            "numbered",
            TITLES,
        )
    CHINESE[f"numbers {style} authors"] = (
        "\n\n".join(
            f"{number}{t}\n{AUTHORS[t]}\n" + "\n".join(poem)
            for number, (t, poem) in zip(numbers, POEMS.items(), strict=True)
        ),
        "numbered",
        AUTHORED,
    )
    if style != "第一首" and style != "第一百零九首":
        CHINESE[f"numbers {style} no titles"] = (
            "\n".join(
                f"{number}" + "".join(poem)
                for number, poem in zip(numbers, POEMS.values(), strict=True)
            ),
            "numbered",
            UNTITLED,
        )


@pytest.mark.parametrize(("text", "layout", "poems"), CHINESE.values(), ids=CHINESE.keys())
def test_a_chinese_layout_gives_its_poems(text, layout, poems):
    for end in ("", "\n", "\n\n \n"):
        name, found = read(text + end)
        assert found == poems, name
        assert layout in name
    assert read(f"\n\u3000\n{text}")[1] == poems
    assert read(text.replace("\n", "\r\n"))[1] == poems


def test_numbers_in_a_group_have_the_title_of_the_group():
    text = (
        "詠懷\n其一\n春眠不覺曉，處處聞啼鳥。\n夜來風雨聲，花落知多少。\n"
        "其二\n白日依山盡，黃河入海流。\n欲窮千里目，更上一層樓。\n\n"
        "感遇\n張九齡\n\n其一\n月落烏啼霜滿天，江楓漁火對愁眠。\n\n"
        "其二\n姑蘇城外寒山寺，夜半鐘聲到客船。"
    )
    assert read(text) == (
        "numbered poems",
        [
            ("詠懷 其一", "", SPRING),
            ("詠懷 其二", "", TOWER),
            ("感遇 其一", "張九齡", TEMPLE[:1]),
            ("感遇 其二", "張九齡", TEMPLE[1:]),
        ],
    )


OTHER = {
    "blank rows": (
        "\n\n".join(f"{title}\n" + "\n".join(poem) for title, poem in ENGLISH.items()),
        "begin with a title",
        True,
    ),
    "capitals": (
        "\n\n".join(f"{title.upper()}\n" + "\n".join(poem) for title, poem in ENGLISH.items()),
        "begin with a title",
        True,
    ),
    "blank rows after titles, stanzas": (
        "\n\n".join(
            f"{title}\n\n" + "\n".join(poem) + "\n\n" + "\n".join(poem[::-1])
            for title, poem in ENGLISH.items()
        ),
        "below a title",
        True,
    ),
    "stanzas, two blank rows": (
        "\n\n\n".join(
            f"{title}\n" + "\n".join(poem) + "\n\n" + "\n".join(poem[::-1])
            for title, poem in ENGLISH.items()
        ),
        "two blank rows",
        True,
    ),
    "no titles": (
        "\n\n".join("\n".join(poem) for poem in ENGLISH.values()),
        "without titles",
        False,
    ),
    "no titles, unmarked first lines": (
        "\n\n".join(
            "\n".join([*(row.rstrip(",.") for row in poem), *poem]) for poem in ENGLISH.values()
        ),
        "without titles",
        False,
    ),
    "# headings": (
        "\n\n".join(f"## {title}\n\n" + "\n".join(poem) for title, poem in ENGLISH.items()),
        "headings with #",
        True,
    ),
    "numbers": (
        "\n\n".join(
            f"{n}. {title}\n" + "\n".join(poem) for n, (title, poem) in enumerate(ENGLISH.items())
        ),
        "numbered",
        True,
    ),
    "Roman numbers": (
        "\n\n".join(
            f"{n}. {title}\n" + "\n".join(poem)
            for n, (title, poem) in zip(("VIII", "IX", "X"), ENGLISH.items(), strict=True)
        ),
        "numbered",
        True,
    ),
    "Roman numbers, no titles": (
        "\n\n".join(
            f"{n}\n\n" + "\n".join(poem)
            for n, poem in zip(("I", "II", "III"), ENGLISH.values(), strict=True)
        ),
        "numbered",
        False,
    ),
    "tab": (
        "\n".join(f"{title}\t" + " ".join(poem) for title, poem in ENGLISH.items()),
        "title, text",
        True,
    ),
    "colon": (
        "\n".join(f"{title}: " + " ".join(poem) for title, poem in ENGLISH.items()),
        "title, text",
        True,
    ),
}


@pytest.mark.parametrize(("text", "layout", "has_titles"), OTHER.values(), ids=OTHER.keys())
def test_a_layout_of_another_language_gives_its_poems(text, layout, has_titles):
    name, found = read(text)
    assert layout in name
    titles = [title.casefold() for title, _, _ in found]
    assert titles == ([title.casefold() for title in ENGLISH] if has_titles else [""] * 3)
    for (_, _, rows), poem in zip(found, ENGLISH.values(), strict=True):
        assert " ".join(rows).endswith(" ".join(poem)) or rows[: len(poem)] == poem


def test_an_author_below_an_english_title_is_read():
    text = "\n\n".join(
        f"{title}\nby Anna Gray\n" + "\n".join(poem) for title, poem in ENGLISH.items()
    )
    assert read(text)[1][0] == ("The Hill", "Anna Gray", ENGLISH["The Hill"])


WRAPPED = (
    "The town lies at the end of a long valley, and the road that leads to it\n"
    "is seldom used in winter, when the snow is deep and the carts are kept\n"
    "in their sheds until the river is free of ice again.\n"
)


@pytest.mark.parametrize(
    ("text", "documents", "layout"),
    [
        (f"{WRAPPED}\n{WRAPPED}\n{WRAPPED}", 3, "documents"),
        ("\n\n".join([WRAPPED.replace("\n", " ")] * 4), 4, "documents"),
        ("\n".join([WRAPPED.replace("\n", " ")] * 12), 12, "a row per document"),
        ("\n\n".join(["他說這個村子很小，冬天沒有人來。" * 5] * 4), 4, "documents"),
        ("\n".join(["他說這個村子很小，冬天沒有人來" * 5 + "。"] * 12), 12, "a row per document"),
    ],
)
def test_prose_is_documents_without_titles(text, documents, layout):
    name, found = read(text)
    assert layout in name and len(found) == documents
    assert {title for title, _, _ in found} == {""}


def test_a_readme_is_read_by_its_headings():
    text = "Some words.\n\n# One\n\nText of one.\n\n## Two\n\nText of two.\nMore of it.\n"
    assert read(text, is_markdown=True) == (
        "poems under headings with #",
        [("", "", ("Some words.",)), ("One", "", ("Text of one.",)),
         ("Two", "", ("Text of two.", "More of it."))],
    )  # fmt: skip


def test_titles_that_look_like_lines_are_refused_or_counted():
    rows = {
        title: bare(poem) for title, poem in zip(("五字的題目", "春"), (SPRING, TOWER), strict=True)
    }
    close = "\n".join(f"{title}\n" + "\n".join(lines) for title, lines in rows.items())
    for text in (f"夏\n{close}\n秋\n" + "\n".join(bare(TEMPLE)), f"{close}\n{close}"):
        with pytest.raises(UserError, match="line 1: titles and lines look alike, .* blank line"):
            read(text)
    apart = "\n\n".join(f"{title}\n某人\n" + "\n".join(lines) for title, lines in rows.items())
    assert [poem[:2] for poem in read(apart)[1]] == [("五字的題目", "某人"), ("春", "某人")]
    names = "\n\n".join("春\n五字的名字\n" + "\n".join(lines) for lines in rows.values())
    assert [poem[1] for poem in read(names)[1]] == ["五字的名字"] * 2


def test_two_poems_in_rows_are_no_title_and_poem():
    assert read("".join(SPRING) + "\n" + "".join(TOWER + TOWER))[1] == [
        ("", "", ("".join(SPRING), "".join(TOWER + TOWER)))
    ]


def test_of_two_cells_the_author_is_the_one_that_repeats_or_is_short():
    rows = [("王維", title, "".join(poem)) for title, poem in POEMS.items()]
    assert [poem[1] for poem in read("\n".join(map("\t".join, rows)))[1]] == ["王維"] * 3
    assert read("李白|夜泊牛渚懷古詠史詩|" + "".join(SPRING))[1][0][:2] == (
        "夜泊牛渚懷古詠史詩",
        "李白",
    )
    assert read("春曉|孟浩然|" + "".join(SPRING))[1][0][:2] == ("春曉", "孟浩然")


def test_a_layout_holds_for_rows_after_those_that_decided():
    text = "\n".join(f"題:{couplet}" for couplet in SPRING * 3_000) + "\n沒有題目，只有文字。\n"
    _, found = read(text)
    assert len(found) == 6_001 and found[4_000][0] == "題" and found[-1][0] == ""


# ----------------------------------------------------------------------------- lines to couplets


@pytest.mark.parametrize("poem", POEMS.values(), ids=POEMS.keys())
@pytest.mark.parametrize(
    "write",
    [
        "\n".join,
        "".join,
        lambda poem: "\n".join(lines_of(poem)),
        lambda poem: "\n".join(bare(poem)),
        lambda poem: "|".join(bare(poem)),
        lambda poem: "|".join(lines_of(poem)),
        lambda poem: "|".join(poem),
        lambda poem: " ".join(bare(poem)),
        lambda poem: "\u3000".join(bare(poem)),
        lambda poem: "\n".join(" ".join(bare((couplet,))) for couplet in poem),
        lambda poem: "\n".join(poem).replace("，", ",").replace("。", "."),
        lambda poem: "".join(poem).replace("，", ", ").replace("。", ". "),
        lambda poem: "\r\n\r\n".join(lines_of(poem)),
    ],
    ids=[
        "rows", "one row", "lines", "no marks", "|", "| and marks", "| between couplets", "spaces",
        "wide spaces", "spaces in rows", "half-width marks", "half-width marks and spaces", "CRLF",
    ],
)  # fmt: skip
def test_every_way_to_write_a_poem_gives_its_couplets(write, poem):
    assert couplets(write(poem)) == poem
    assert line_length("\n".join(couplets(write(poem)))) == len(poem[0]) // 2 - 1
    assert couplets(write(poem).split("\n")) == poem


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("明月幾時有？\n把酒問青天。\n不知天上宮闕，\n今夕是何年。", 3),
        ("他說：「春天來了。」花開了。", 2),
        ("Roses are red,\nViolets are blue.", 2),
        ("Roses are red, violets are blue.", 1),
        ("It costs 3,000.50 yuan. 他說好,走了.", 1),
        ("床前明月光\n疑是地上霜\n舉頭望明月", 3),
        ("床前明月光。\n疑是地上霜。", 2),
    ],
)
def test_other_rows_stay_as_they_are(text, rows):
    assert len(couplets(text)) == rows
    kept = "".join(couplets(text)).replace("，", ",").replace("。", ".")
    assert kept == text.replace("\n", "").replace("，", ",").replace("。", ".")


def test_five_character_lines_without_marks_are_five_character_poems(tmp_path):
    from poet.data.preferences import five_character

    rows = "\n".join(bare(SPRING))
    (tmp_path / "poems.txt").write_text(f"春曉\n{rows}\n\n登鸛雀樓\n{rows}\n", encoding="utf-8")
    poems = read_corpus(str(tmp_path / "poems.txt")).poems
    assert poems == [Poem("春曉", SPRING), Poem("登鸛雀樓", SPRING)]
    assert all(map(five_character, poems))


HAN = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=5, max_size=5)


@settings(max_examples=50, deadline=None)
@given(st.lists(HAN, min_size=2, max_size=8).filter(lambda lines: len(lines) % 2 == 0))
def test_lines_become_couplets_whatever_their_characters(lines):
    expected = tuple(
        f"{first}，{second}。" for first, second in zip(lines[::2], lines[1::2], strict=True)
    )
    for separator in ("\n", "|", " ", "\u3000", "\n\n"):
        assert couplets(separator.join(lines)) == expected
    assert couplets("".join(expected)) == expected
