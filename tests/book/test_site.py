"""The book's site opens from the disk: its links, formulas and search work without a network."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from helpers import ROOT

from poet.errors import UserError

MADE_BY_A_RUN = "figures/weights.js"  # a clone without a run has figures without a model
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

ENGLISH = """\
# One poem

<!-- a note for the builder, with a link: <a href="nowhere.md"> -->

1. Read [the script](../train.py#L2-L3), [its folder](../configs) and [a guide](../docs/guide.md).
   - See [the formula](#the-formula) and [the index](README.md).

<details>
<summary>Answer</summary>

The answer is *no*. It costs $5 or $6.

</details>

[![still](figures/one.svg)](figures/one.html)

## The formula

Inline $\\frac{a}{b}$, then:

$$
\\begin{aligned} a &= -\\log x \\\\ b &= 2 \\end{aligned}
$$
"""
CHINESE = """\
# 一首诗

[公式](#公式) · [图](../figures/one.html) · [代码](../../train.py)

## 公式

模型写了“江南不見已無愁”，而洞
庭湖在題目裡。

```
春夜
喜雨
```
"""
FILES = {
    "book/README.md": "# The book\n\n[One](one.md#the-formula) · [中文](zh/README.md)\n",
    "book/one.md": ENGLISH,
    "book/zh/README.md": "# 书\n\n[一](one.md)\n",
    "book/zh/one.md": CHINESE,
    "book/figures/one.html": '<p id="out">still</p><script src="one.js"></script>',
    "book/figures/one.js": 'document.getElementById("out").textContent = "moves";',
    "book/figures/one.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "train.py": 'import os\n\nprint("<b>", os)\n',
    "configs/sft.yaml": "steps: 3\n",
    "docs/guide.md": "# Guide\n\n[Back](../book/README.md) · [data](../configs/sft.yaml)\n",
}


def load_builder():
    spec = importlib.util.spec_from_file_location("book_site", ROOT / "book" / "site.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BUILDER = load_builder()


def make(folder: Path, **changes: str) -> Path:
    """Writes a small repository with a book, builds its site, and returns the site's folder."""
    for name, text in (FILES | changes).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    BUILDER.build(folder, folder / "book" / "site")
    return folder / "book" / "site"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "site"
    BUILDER.build(ROOT, folder)
    return folder


class Links(HTMLParser):
    """Collects the links of a page and the names that a link can lead to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.names = [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src")]
        self.names |= {value for name, value in attrs if name == "id"}


@pytest.mark.parametrize("site", ["small", "real"])
def test_every_link_leads_to_a_file_of_the_site(site, request):
    folder = request.getfixturevalue(site)
    pages = {path: Links(path) for path in folder.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("https", "http", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target == folder / MADE_BY_A_RUN:
                continue
            names = pages[target].names if target in pages else {""}
            if not target.is_file() or unquote(parts.fragment) not in names:
                broken.append(f"{path.relative_to(folder)}: {link}")
    assert pages and not broken, "\n".join(broken)


@pytest.mark.parametrize("site", ["small", "real"])
def test_a_page_loads_nothing_from_a_network(site, request):
    folder = request.getfixturevalue(site)
    for path in folder.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*>", path.read_text(encoding="utf-8"))
        assert not [tag for tag in loaded if "//" in tag], path
    assert not re.findall(r"url\(\"?http", (folder / "theme/style.css").read_text(encoding="utf-8"))


def test_github_markdown_is_read_as_github_reads_it(small):
    page = (small / "one.html").read_text(encoding="utf-8")
    assert re.search(r"<ol>\s*<li>Read .*<ul>\s*<li>See ", page, re.DOTALL)  # a nested list
    assert "<p>The answer is <em>no</em>. It costs $5 or $6.</p>" in page  # inside <details>
    assert 'href="files/train.py.html#L2"' in page and "nowhere" not in page
    source = (small / "files/train.py.html").read_text(encoding="utf-8")
    assert 'id="L3"' in source and "&lt;b&gt;" in source and "<b>" not in source


def test_formulas_are_drawn(small):
    page = (small / "one.html").read_text(encoding="utf-8")
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in page
    assert page.count("<mtr>") == 2 and "aligned" not in page
    assert "theme/formulas.css" in page
    assert "formulas.css" not in (small / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("latex", "before", "after"),
    [("a \\ln b", True, True), ("\\ln(b)", False, False), ("\\log_2 b", False, False)],
)
def test_a_function_stands_apart_from_its_neighbours(latex, before, after):
    drawn = BUILDER.formula(latex, {"display_mode": False})
    assert ("<mspace" in drawn.split("<mi>l")[0], "<mspace" in drawn.split("<mi>l")[1]) == (
        before,
        after,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("写\n字", "写字"),
        ("写诗，\n**掩码**", "写诗，<strong>掩码</strong>"),
        ("写诗。\n“風”", "写诗。“風”"),
        ("写诗，\nGPT", "写诗，GPT"),
        ("用\nGPT", "用\nGPT"),
        ("one,\n*two*", "one,\n<em>two</em>"),
    ],
)
def test_a_line_end_makes_no_gap_in_chinese(text, shown):
    assert BUILDER.markdown().render(text) == f"<p>{shown}</p>\n"


def test_each_page_leads_to_its_twin_and_its_neighbours(small):
    page = (small / "zh/one.html").read_text(encoding="utf-8")
    assert '<a href="../one.html">English</a>' in page and '<html lang="zh">' in page
    assert '<a href="index.html" rel="prev">← 书</a>' in page
    assert 'href="../figures/one.html?lang=zh"' in page
    assert 'href="figures/one.html"' in (small / "one.html").read_text(encoding="utf-8")
    assert '<a href="zh/one.html">中文</a>' in (small / "one.html").read_text(encoding="utf-8")


def test_the_index_holds_words_across_line_ends_but_keeps_the_lines_of_a_poem(small):
    script = (small / "theme/index.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("const SEARCH = ").removesuffix(";\n"))
    (row,) = [row for row in index["rows"] if "洞庭湖" in row["text"]]
    assert "春夜 喜雨" in row["text"] and unquote(row["link"]) == "zh/one.html#公式"
    assert index["fold"]["無"] == "无" and index["fold"]["訓"] == "训"  # no page has 訓
    assert all(len(c.encode("utf-16-le")) == 2 for c in index["fold"].values())


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize(
    ("query", "found"),
    [("洞庭", "洞庭"), ("无愁", "無愁"), ("COSTS answer", "costs"), ("洞庭 costs", None)],
)
def test_the_search_works_from_the_disk(small, tmp_path, query, found):
    dom = opened(small / "one.html", tmp_path, f"?q={query}")
    results = re.search(r'<ol id="results">(.*?)</ol>', dom, re.DOTALL)[1]
    assert re.findall("<mark>(.*?)</mark>", results) == ([found] if found else [])
    assert bool(found) == ("<a href=" in results)


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_moving_figure_runs_in_the_site(small, tmp_path):
    assert '<p id="out">moves</p>' in opened(small / "figures/one.html", tmp_path)


NAMELESS = """<script>
for (const control of document.querySelectorAll("input, select, textarea"))
  control.toggleAttribute("nameless", !control.ariaLabel && !control.labels[0]?.innerText.trim());
for (const drawing of document.querySelectorAll("svg:not([aria-label], [aria-hidden])"))
  drawing.toggleAttribute("nameless", true);
document.documentElement.toggleAttribute("looked", true);
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "book/figures").glob("??-*.html")))
def test_a_screen_reader_finds_a_name_for_each_control_and_drawing(name, tmp_path):
    shutil.copytree(ROOT / "book" / "figures", tmp_path, dirs_exist_ok=True)
    page = tmp_path / name
    page.write_text(page.read_text(encoding="utf-8") + NAMELESS, encoding="utf-8")
    dom = opened(page, tmp_path)
    assert " looked" in dom
    assert not re.findall(r'<[^<>]* nameless=""[^<>]*>', dom.replace(NAMELESS, ""))


def opened(path: Path, profile: Path, query: str = "") -> str:
    """Returns the HTML of a page after its scripts ran in Chromium."""
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-component-update "
    flags += f"disable-background-networking disable-sync dump-dom user-data-dir={profile}/profile"
    command = [CHROMIUM, *(f"--{flag}" for flag in flags.split()), "--virtual-time-budget=4000"]
    done = subprocess.run([*command, path.as_uri() + query], capture_output=True, timeout=120)
    return unescape(done.stdout.decode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gone](two.md)", "book/one.md: there is no file for the link two.md"),
        ("$\\nosuchcommand x$", "book/one.md: the formula .* has .nosuchcommand"),
        ("$x^{2$", "book/one.md: the formula .* is not LaTeX: its braces do not match"),
        ("$x^$", "book/one.md: the formula .* is not LaTeX"),
    ],
)
def test_a_mistake_is_refused_and_the_last_site_is_kept(tmp_path, text, message):
    site = make(tmp_path)
    with pytest.raises(UserError, match=message):
        make(tmp_path, **{"book/one.md": f"# One\n\n{text}\n"})
    assert "The formula" in (site / "one.html").read_text(encoding="utf-8")


def test_a_missing_package_is_named():
    block = "import runpy, sys; sys.modules['mdit_py_plugins'] = None; "
    command = [sys.executable, "-c", block + "runpy.run_path('book/site.py', run_name='__main__')"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "mdit_py_plugins" in done.stderr and "pip install" in done.stderr
