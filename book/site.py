"""Builds the book's site: one folder that opens from the disk, without a server or a network.

    python book/site.py        # writes book/site/, then open book/site/index.html

The parser (markdown-it-py) reads the Markdown as GitHub does. Three things are different on the
site. Formulas become MathML, which browsers draw themselves. The search reads an index that is a
plain script. Links to files outside the book lead to pages with their text.

Two generators were considered. Zensical reads another kind of Markdown: it shows Markdown inside
<details> as plain text, and flattens nested lists. Its search needs a network when a page is opened
from the disk. VitePress needs Node.js.
"""

import json
import os
import re
import shutil
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from importlib.metadata import distribution
from pathlib import Path
from string import Template
from urllib.parse import quote, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from poet import errors  # noqa: E402
from poet.errors import UserError, first_line  # noqa: E402
from poet.prosody.script import to_simplified  # noqa: E402

try:
    from latex2mathml.converter import convert
    from markdown_it import MarkdownIt
    from mdit_py_plugins.anchors import anchors_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.gfm import gfm_plugin
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import TextLexer, get_lexer_by_name, get_lexer_for_filename
    from pygments.util import ClassNotFound

    FONT = Path(str(distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")))
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.exit(
        f"error: the package of {error.name} is missing. "
        "Install it: .venv/bin/pip install -c constraints.txt -e '.[book]'"
    )

THEME = Path(__file__).resolve().parent / "theme"
COPIED = {".html", ".js", ".css", ".svg", ".png", ".jpg", ".gif", ".webp", ".ipynb"}
WORDS = {
    "en": {"search": "Search", "contents": "Contents", "switch": "中文"},
    "zh": {"search": "搜索", "contents": "目录", "switch": "English"},
}


@dataclass
class Page:
    """A page of the site: the file that it shows, its title, and its HTML without the frame."""

    source: Path
    title: str
    body: str
    links: list[Path]


def main() -> None:
    start = time.monotonic()
    folder = ROOT / "book" / "site"
    chapters, others = build(ROOT, folder)
    seconds = time.monotonic() - start
    print(f"{chapters} pages of the book and {others} other files in {seconds:.1f} s")
    print(f"open {folder / 'index.html'}")


def build(root: Path, folder: Path) -> tuple[int, int]:
    """Writes the site of `root`/book into `folder`. Returns two numbers: pages and other files.

    Nothing is written before all pages are made, so a failed build keeps the last site.
    """
    book = root / "book"
    chapters = {language: find_chapters(book, language) for language in WORDS}
    waiting = [path for paths in chapters.values() for path in paths]
    waiting += [
        path
        for path in sorted(book.rglob("*.*"))
        if path.suffix in COPIED and path.relative_to(book).parts[0] not in ("site", "theme")
    ]
    pages, copies = {}, set()
    while waiting:
        path = waiting.pop()
        if path in pages or path in copies:
            continue
        page = None if path.suffix in COPIED else make_page(path, root)
        if page:
            pages[path] = page
            waiting += page.links
        else:
            copies.add(path)

    shutil.rmtree(folder, ignore_errors=True)
    for path, page in pages.items():
        write(folder / place(path, root), frame(page, root, pages, chapters))
    for path in copies:
        target = folder / place(path, root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    styles = (THEME / "style.css").read_text(encoding="utf-8")
    write(folder / "theme/style.css", styles + HtmlFormatter().get_style_defs(".highlight"))
    write(folder / "theme/formulas.css", formula_font())
    write(folder / "theme/search.js", (THEME / "search.js").read_text(encoding="utf-8"))
    read = [pages[path] for paths in chapters.values() for path in paths]
    write(folder / "theme/index.js", search_index(read, root))
    return len(read), len(pages) + len(copies) - len(read)


def find_chapters(book: Path, language: str) -> list[Path]:
    """Returns the pages of a language in their order: README, the numbered chapters, others."""
    paths = (book if language == "en" else book / language).glob("*.md")
    return sorted(paths, key=lambda p: (p.name != "README.md", not p.name[0].isdigit(), p.name))


def place(path: Path, root: Path) -> str:
    """Returns the path within the site of a file or folder of the repository."""
    inside = path.relative_to(root).as_posix()
    inside = inside.removeprefix("book/") if inside.startswith("book/") else f"files/{inside}"
    if path.is_dir():
        return f"{inside}/index.html"
    if path.suffix == ".md":
        return re.sub(r"README$", "index", inside.removesuffix(".md")) + ".html"
    return inside if path.suffix in COPIED or not is_text(path) else f"{inside}.html"


def is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:8192]


def make_page(path: Path, root: Path) -> Page | None:
    """Returns the page that shows a file or a folder, or None for a file that is not text."""
    name = path.relative_to(root).as_posix()
    if path.is_dir():
        inside = [p for p in sorted(path.iterdir()) if p.name[0] not in "._"]
        rows = "".join(f'<li><a href="{quote(p.name)}">{escape(p.name)}</a></li>\n' for p in inside)
        body = f'<h1 id="top">{escape(name)}</h1>\n<ul>\n{rows}</ul>'
        folder = path
    elif not is_text(path):
        return None
    else:
        text = path.read_text(encoding="utf-8")
        folder = path.parent
        try:
            body = markdown().render(text) if path.suffix == ".md" else show_source(name, text)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    links: list[Path] = []

    def site_link(match: re.Match) -> str:
        parts = urlsplit(unescape(match[2]))
        if parts.scheme or not parts.path:
            return match[0]
        target = Path(os.path.normpath(folder / unquote(parts.path)))
        if not target.exists() or not target.is_relative_to(root):
            raise UserError(f"{name}: there is no file for the link {match[2]}. Correct the link.")
        if (target / "README.md").is_file():
            target /= "README.md"
        links.append(target)
        fragment = re.sub(r"^(L\d+)-L\d+$", r"\1", parts.fragment)  # GitHub's link to some lines
        address = relative(place(target, root), place(path, root))
        if name.startswith("book/zh/") and target.suffix == ".html":
            address += "?lang=zh"  # book/figures/figure.js reads it
        return f'{match[1]}{address}{"#" + fragment if fragment else ""}"'

    body = re.sub(r'(<[^<>]*\s(?:href|src)=")([^"]*)"', site_link, body)
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", body, flags=re.DOTALL)
    return Page(path, plain(heading[1]) if heading else name, body, links)


def relative(target: str, page: str) -> str:
    return quote(os.path.relpath(target, os.path.dirname(page) or ".").replace(os.sep, "/"))


def markdown() -> MarkdownIt:
    """Returns a parser for GitHub's Markdown, with formulas and colours for code."""
    parser = MarkdownIt("commonmark", {"html": True, "highlight": color}).use(gfm_plugin)
    parser.use(anchors_plugin, max_level=6)
    names = ("allow_labels", "allow_space", "allow_digits", "allow_blank_lines")
    rules = dict.fromkeys(names, False) | {"double_inline": True, "renderer": formula}
    parser.use(dollarmath_plugin, **rules)
    fence = parser.renderer.rules["fence"]

    def fence_or_formula(self, tokens, index, options, env):
        if tokens[index].info.strip() == "math":
            return f'<div class="math block">{formula(tokens[index].content, DISPLAY)}</div>\n'
        return fence(tokens, index, options, env)

    def line_end(self, tokens, index, options, env):
        # A browser shows a line end as a space. Chinese has none between characters, nor after
        # its punctuation.
        sides = tokens[index - 1].content[-1:] + tokens[index + 1].content[:1]
        chinese = r"[\u3000-\u9fff\uff00-\uffef“”]{2}|[\u3001-\u303f\uff00-\uff1f].?"
        return "" if re.fullmatch(chinese, sides) else "\n"

    def display(self, tokens, index, options, env):
        return f'<span class="math block">{formula(tokens[index].content, DISPLAY)}</span>'

    parser.add_render_rule("fence", fence_or_formula)
    parser.add_render_rule("softbreak", line_end)
    parser.add_render_rule("math_inline_double", display)
    return parser


DISPLAY = {"display_mode": True}


def formula(latex: str, options: dict) -> str:
    """Returns a formula as MathML, which browsers draw without a script."""
    latex = latex.strip().strip("`")  # GitHub also reads $`…`$
    known = latex.replace("{aligned}", "{split}")  # the converter's name for the same thing
    try:
        if known.count("{") - known.count(r"\{") != known.count("}") - known.count(r"\}"):
            raise ValueError("its braces do not match")
        drawn = convert(known, display="block" if options["display_mode"] else "inline")
    except Exception as error:
        raise UserError(
            f"the formula {latex} is not LaTeX: {first_line(error)}. Correct the formula."
        ) from error
    if unknown := re.search(r"\\\w+|<mi>&</mi>", drawn):
        raise UserError(
            f"the formula {latex} has {unknown[0]}, which the converter does not know. "
            "Write it in another way."
        )
    return re.sub(FUNCTION, spaced, drawn)


# The converter sets log and exp as variables, without the space around a function.
FUNCTION = (
    r"(</(?!mo)\w+>)?(?<!<msub>)<mi>(log|exp|ln|tanh|sin|cos)</mi>"
    r"(?=(</mrow>|(?:<mrow>)?<mo[^>]*>&#x00028;)?)"
)


def spaced(match: re.Match) -> str:
    before, name, bracket_or_end = match.groups("")
    space = '<mspace width="0.17em"/>'
    left, right = space if before else "", "" if bracket_or_end else space
    return f"{before}<mrow>{left}<mi>{name}</mi>{right}</mrow>"


def formula_font() -> str:
    """Returns the style that draws formulas with STIX Two Math, which the package ziamath holds.

    Without such a font, roots and brackets do not grow with the formula. The font is written into
    the style, because some browsers load no font file for a page from the disk.
    """
    address = f"data:font/ttf;base64,{b64encode(FONT.read_bytes()).decode()}"
    source = f'local("STIX Two Math"), url("{address}")'
    return f"@font-face {{ font-family: Formulas; src: {source}; }}\n"


def color(code: str, language: str, _attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language or "text")
    except ClassNotFound:
        lexer = TextLexer()
    spans = highlight(code, lexer, HtmlFormatter(nowrap=True))
    return f'<pre class="highlight"><code>{spans}</code></pre>'


def show_source(name: str, text: str) -> str:
    """Returns the coloured text of a file. Its lines have GitHub's anchors: L1, L2."""
    try:
        lexer = get_lexer_for_filename(name, stripnl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False)
    lines = highlight(text, lexer, HtmlFormatter(nowrap=True)).splitlines()
    rows = [f'<span class="line" id="L{n}">{line}</span>' for n, line in enumerate(lines, 1)]
    code = "\n".join(rows)
    return f'<h1 id="top">{escape(name)}</h1>\n<pre class="highlight"><code>{code}</code></pre>'


def plain(html: str) -> str:
    """Returns the text of HTML."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def frame(page: Page, root: Path, pages: dict[Path, Page], chapters: dict[str, list]) -> str:
    """Returns a whole page: body, title, search, contents, and a link to the other language."""
    here = place(page.source, root)
    chinese = page.source in chapters["zh"] or page.source.name.endswith(".zh.md")
    language = "zh" if chinese else "en"
    book = chapters[language] or chapters["en"]

    def link(path: Path, text: str, relation: str = "") -> str:
        more = f' rel="{relation}"' if relation else ""
        return f'<a href="{relative(place(path, root), here)}"{more}>{escape(text)}</a>'

    rows = []
    for path in book:
        row = link(path, pages[path].title)
        if path == page.source:
            parts = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', page.body, flags=re.DOTALL)
            inner = "".join(f'<li><a href="#{i}">{escape(plain(h))}</a></li>' for i, h in parts)
            row = f'<span class="here">{row}</span>' + (f"<ul>{inner}</ul>" if inner else "")
        rows.append(f"<li>{row}</li>")
    turn = ["", ""]
    if page.source in book:
        at = book.index(page.source)
        if at:
            turn[0] = link(book[at - 1], f"← {pages[book[at - 1]].title}", "prev")
        if at + 1 < len(book):
            turn[1] = link(book[at + 1], f"{pages[book[at + 1]].title} →", "next")
    other = chapters["en" if chinese else "zh"]
    twin = [p for p in other if p.name == page.source.name and page.source in book] or other[:1]
    top = "../" * here.count("/")
    formulas = f'<link rel="stylesheet" href="{top}theme/formulas.css">'
    return Template((THEME / "page.html").read_text(encoding="utf-8")).substitute(
        WORDS[language],
        language=language,
        title=escape(page.title),
        root=top,
        home=link(book[0], "Poet"),
        switch=link(twin[0], WORDS[language]["switch"]) if twin else "",
        rows="\n".join(rows),
        formulas=formulas if "<math" in page.body else "",
        body=page.body,
        turn="\n".join(turn),
    )


def search_index(pages: list[Page], root: Path) -> str:
    """Returns a script with all sections, and with a map from traditional to simplified characters.

    The map lets the search find a word in both scripts: the poems are traditional.
    """
    rows = [row for page in pages for row in sections(page, place(page.source, root))]
    characters = [chr(code) for code in range(0x3400, 0xA000)]  # all that a reader may type
    simplified = to_simplified("\n".join(characters)).split("\n")
    pairs = zip(characters, simplified, strict=True)
    fold = {c: s for c, s in pairs if s != c and s < "\U00010000"}  # one unit of JavaScript
    return f"const SEARCH = {json.dumps({'fold': fold, 'rows': rows}, ensure_ascii=False)};\n"


def sections(page: Page, address: str) -> Iterator[dict[str, str]]:
    parts = re.split(r'<h[1-3] id="([^"]*)">(.*?)</h[1-3]>', page.body, flags=re.DOTALL)
    for anchor, heading, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        yield {
            "link": f"{quote(address)}#{anchor}",
            "title": page.title,
            "heading": plain(heading),
            "text": plain(text),
        }


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    errors.run(main)
