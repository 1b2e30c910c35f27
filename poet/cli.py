"""The command `poet`: writes poems, and measures checkpoints.

    poet write 春夜喜雨 -n 4 --seed 7
    poet evaluate runs/tang/sft runs/tang/dpo --json

It knows options and the terminal. Poems and tables go to stdout, everything else to stderr.
Slow imports wait inside functions, so that `poet --help` answers at once.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poet import errors
from poet.errors import UserError
from poet.text import HAN, visible

if TYPE_CHECKING:
    from dataclasses import Field

    from poet.data.options import DataOptions
    from poet.prosody.request import FormRequest

_MODELS = ("runs/tang/dpo", "runs/sample/dpo")
_MODELS_BEFORE_ALIGNMENT = ("runs/tang/sft", "runs/sample/sft")
_LINE_ENDS = "，。？！；\n"


def main() -> None:
    """Runs the command and exits."""
    errors.run(_main)


def _main() -> None:
    options = _parse(sys.argv[1:])
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `poet write … | head -1`
        errors.close_stdout()


# ---------------------------------------------------------------------------------------- options

_EXAMPLES = """\
examples:
  poet write 春夜喜雨                           # title: "Joyful Rain on a Spring Night"
  poet write 春夜喜雨 --form wuyan-jueju -n 3   # three poems of four lines of five characters
  poet evaluate runs/tang/sft runs/tang/dpo     # two models and the real poets in one table

Each command has its own help: `poet write --help`.
This package writes and measures. To train a model, clone the repository and run `make run`,
`make tang`, or one of the scripts train_*.py there.
"""

_WRITE_EXAMPLES = """\
examples:
  poet write 春夜喜雨                        # title: "Joyful Rain on a Spring Night"
  poet write --theme 秋 雁 故鄉              # about autumn, wild geese and the home village
  poet write 寄友人 --form qiyan-jueju       # "To a Friend", four lines of seven characters
  poet write 山居 --form 五律 --rhyme yang   # "Living in the Hills", regulated verse, rhyme 陽
"""

_EVALUATE_EXAMPLES = """\
examples:
  poet evaluate runs/tang/sft runs/tang/dpo --figure rates.png
  poet evaluate --poems my_poems.txt     # poems that anyone wrote
  poet evaluate runs/own/sft --corpus texts.csv --lines_column body
"""


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the words of the command line.

    Raises:
        UserError: For a word that no command or option accepts.
    """
    parser = errors.Parser(
        prog="poet",
        description="Writes classical Chinese poems with a model that you trained, and measures "
        "how well a model writes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    command = next((word for word in arguments if not word.startswith("-")), None)
    parsers = {
        "write": _add_write(commands),
        "evaluate": _add_evaluate(commands, is_chosen=command == "evaluate"),
    }
    parser.set_defaults(run=lambda options: _about(parser, options), chosen=parser)
    if command is not None and command not in parsers:
        raise UserError(f"there is no command {command}. {_nearest(command, parsers)}")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        word = unknown[0].split("=")[0]
        if not word.startswith("-"):
            raise UserError(f"{word} is one word too many. Put a title with spaces in quotes.")
        known = re.findall(r"(?<=\[)--?[\w-]+", options.chosen.format_usage())
        raise UserError(f"there is no option {word}. {_nearest(word, known)}")
    return options


def _add_write(commands: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "write",
        help="write poems with a given title",
        description="Writes poems with a given title, or about given words.",
        epilog=f"{_forms_help()}\n{_WRITE_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "title",
        nargs="?",
        metavar="TITLE",
        help="the title of the poem, in traditional or simplified Chinese characters",
    )
    parser.add_argument(
        "--theme",
        nargs="+",
        metavar="WORD",
        help='what the poem is about, instead of a title: 秋 雁 ("autumn", "wild goose")',
    )
    parser.add_argument(
        "-n",
        type=int,
        default=1,
        metavar="N",
        help="the number of poems, most likely first (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="K", help="a number; the same seed gives the same poems"
    )
    parser.add_argument(
        "--model",
        type=os.path.expanduser,
        metavar="DIR",
        help="the folder of a model or of an author's adapter "
        f"(default: {_MODELS[0]}, else {_MODELS[1]}; for lines of seven characters "
        f"{_MODELS_BEFORE_ALIGNMENT[0]}, else {_MODELS_BEFORE_ALIGNMENT[1]})",
    )
    parser.add_argument(
        "--script",
        choices=["traditional", "simplified"],
        help="the Chinese characters to print (default: those of the model)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="below 1: more common characters; above 1: rarer ones (default: the checkpoint's)",
    )
    parser.add_argument(
        "--guidance",
        type=float,
        metavar="G",
        dest="guidance_scale",
        help="above 1, the poem stays closer to the title or theme, and takes twice the time "
        "(default: 2 with --theme, else 1)",
    )
    form = parser.add_argument_group(
        "a form",
        "With a form, every poem keeps the rules of that form: number of lines, characters per "
        "line,\ntones and rhyme.",
    )
    form.add_argument(
        "--form",
        metavar="F",
        help="one of the forms below, by its Chinese, pinyin or English name",
    )
    form.add_argument(
        "--rhyme",
        metavar="GROUP",
        help="the rhyme group, by its character (東), its pinyin (yang) or, if several groups "
        "share a pinyin, its number and pinyin (1-dong); docs/verse.md lists them",
    )
    form.add_argument(
        "--acrostic",
        metavar="CHARACTERS",
        help="the first characters of the lines, or of the couplets (two lines each): "
        '春風化雨 ("spring wind turns to rain")',
    )
    form.add_argument(
        "--first-line",
        metavar="LINE",
        help='the first line: 石徑幽泉細 ("by a stone path, a thin hidden spring")',
    )
    form.add_argument(
        "--lines",
        type=int,
        metavar="N",
        help="the number of lines, for long regulated verse and old style",
    )
    parser.set_defaults(run=_write, chosen=parser)
    return parser


def _forms_help() -> str:
    """Returns the table of forms for the help of `poet write`."""
    from poet.prosody.names import forms_table

    rows = ["forms, with their number of lines:"]
    for form in forms_table():
        lines = f"{form.lines}" + (f" ({form.min_lines} or more)" if form.min_lines else "")
        rows.append(f"  {form.chinese}  {form.pinyin:12}  {form.english:36}  {lines}")
    return "\n".join(rows) + "\n"


def _add_evaluate(commands: Any, is_chosen: bool) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "evaluate",
        help="measure models, or poems of a file",
        description="Measures how well models predict held-out poems, and how well their own "
        "poems keep\nthe rules. The real poets are measured in the same way. Other texts are "
        "measured too,\nwithout the rules of verse.",
        epilog=_EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "checkpoints",
        nargs="*",
        type=os.path.expanduser,
        metavar="CHECKPOINT",
        help="the folder of a model, such as runs/tang/dpo",
    )
    parser.add_argument(
        "--poems",
        type=os.path.expanduser,
        metavar="FILE",
        help="a file of poems to measure: .txt with blank lines between the poems, .jsonl, .csv",
    )
    parser.add_argument(
        "--corpus",
        type=os.path.expanduser,
        metavar="PATH",
        help="a corpus whose held-out poems are used (default: the data of the checkpoint's run)",
    )
    parser.add_argument(
        "--titles",
        type=int,
        default=500,
        metavar="N",
        help="the number of poems per checkpoint (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="K",
        help="the random seed for choosing titles and writing poems (default: %(default)s)",
    )
    parser.add_argument(
        "--figure",
        type=os.path.expanduser,
        metavar="FILE.png",
        help="also draw a figure into this file: the share of rhymed poems, of each form, …",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    if is_chosen:
        _add_data_options(parser)
    parser.set_defaults(run=_evaluate, chosen=parser)
    return parser


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds every key of data.yaml that says which texts a run is made from, and how."""
    group = parser.add_argument_group(
        "the data",
        "Give the values of a recipe's data.yaml to hold out the same texts as the recipe's runs.",
    )
    for field in _data_fields():
        if field.name == "corpus":
            continue
        settings: dict[str, Any] = {"nargs": "+"} if "list" in str(field.type) else {}
        group.add_argument(
            f"--{field.name}",
            metavar="VALUE",
            help=field.metadata["help"].replace("%", "%%"),
            **settings,
        )


def _data_fields() -> "tuple[Field, ...]":
    from dataclasses import fields

    from poet.data.options import DataOptions

    return fields(DataOptions)


def _about(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Prints the version or, for `poet` alone, the help."""
    if options.version:
        import poet

        print(f"poet {poet.__version__}")
    else:
        parser.print_help()


def _nearest(word: str, known: Iterable[str]) -> str:
    if near := errors.nearest(word, known):
        return f"Did you mean {near}?"
    return f"There are {', '.join(name for name in known if name != '-h')}."


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**63:
        raise UserError(f"--seed must be a number from 0 to 2**63 - 1, not {seed}")


def _quiet() -> None:
    """Hides the progress bars and warnings of transformers."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


# ------------------------------------------------------------------------------------------ write


def _write(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise UserError(f"-n is {options.n}. Ask for at least one poem.")
    _check_seed(options.seed)
    title = _title(options)
    request = _form_request(options)
    folder = options.model or _default_model(request)

    from poet.generation.load import check_sampling, check_template, checkpoint_kind, load
    from poet.generation.write import write
    from poet.prosody import script

    settings: dict[str, Any] = {"seed": options.seed, "form": request}
    if options.theme:
        from poet.alignment import themes

        settings["guidance_scale"] = themes.GUIDANCE
    if options.guidance_scale is not None:
        settings["guidance_scale"] = options.guidance_scale
        check_sampling(guidance_scale=options.guidance_scale)
    if options.temperature is not None:
        settings |= {"temperature": options.temperature, "do_sample": True}
        check_sampling(options.temperature)
    _quiet()
    model, tokenizer = load(folder)
    check_template(tokenizer, folder)
    _check_chinese(options, folder, tokenizer.get_vocab())
    if checkpoint_kind(folder) == "continues text":
        _note(
            f"{folder} is only pretrained: it continues text and does not answer titles. "
            "Use the folder sft or dpo of the same run."
        )
    vocabulary = tokenizer.get_vocab()
    title = script.to_script_of(vocabulary, title)
    if options.theme:
        settings["instruction"] = themes.instruction(vocabulary)
    convert = {
        None: None,
        script.script_of(vocabulary): None,
        script.SIMPLIFIED: script.to_simplified,
        script.TRADITIONAL: script.from_simplified,
    }
    printer = _Printer(convert[options.script])
    if options.n == 1:
        write(model, tokenizer, title, stream=printer.show, **settings)
        printer.end()
        return
    # The likeliest poem is known only when all are written, so nothing is streamed.
    for number, poem in enumerate(write(model, tokenizer, title, n=options.n, **settings)):
        if number:
            print()
        printer.show(poem)
        printer.end()


def _check_chinese(options: argparse.Namespace, folder: str, vocabulary: Iterable[str]) -> None:
    """Refuses options of Chinese verse for a model that knows no Chinese characters.

    Raises:
        UserError: --form or --theme was given for such a model.
    """
    given = [f"--{name}" for name in ("form", "theme") if getattr(options, name)]
    if given and not any(map(HAN.fullmatch, vocabulary)):
        advice = "Leave --form out." if options.form else "Give a title instead."
        raise UserError(
            f"the model {folder} knows no Chinese characters, and {given[0]} is for Chinese poems. "
            f"{advice}"
        )


def _title(options: argparse.Namespace) -> str:
    """Returns the title, or the words of the theme as one text."""
    if options.theme and options.title is not None:
        raise UserError("give either TITLE or --theme, not both")
    title = (" ".join(options.theme) if options.theme else options.title or "").strip()
    if not title:
        raise UserError(
            'the title is empty. Give one, such as 春夜喜雨 ("Joyful Rain on a Spring Night"), '
            "or words with --theme."
        )
    try:
        title.encode()
    except UnicodeEncodeError as error:
        raise UserError("the title is not UTF-8. Set your terminal to UTF-8.") from error
    return title


def _form_request(options: argparse.Namespace) -> "FormRequest | None":
    """Returns what --form and the options that depend on it ask for."""
    details = {key: getattr(options, key) for key in ("rhyme", "acrostic", "first_line", "lines")}
    if options.form is None:
        given = [key for key, value in details.items() if value is not None]
        if given:
            name = given[0].replace("_", "-")
            raise UserError(f"--{name} needs a form. Add one, such as --form 五言律詩.")
        return None

    from poet.prosody.request import read_form

    return read_form(options.form, **details)


def _default_model(request: "FormRequest | None") -> str:
    """Returns the folder of the model that `make` left here, and prints its name on stderr.

    Aligned models no longer write lines of seven characters well. A request for such lines gets
    the model before alignment.
    """
    seven = request is not None and request.length == 7
    folders = _MODELS_BEFORE_ALIGNMENT if seven else _MODELS
    for folder in folders:
        if Path(folder, "config.json").is_file():
            _note(
                f"the model is {folder}"
                + (", because the aligned one prefers lines of five characters" if seven else "")
            )
            return folder
    raise UserError(
        f"there is no model in {' or '.join(folders)}. "
        "Make one with `make run` in a clone of the repository, or name a folder with --model."
    )


def _note(message: str) -> None:
    print(visible(f"note: {message}"), file=sys.stderr, flush=True)


class _Printer:
    """Prints a poem in pieces. It leaves out blank lines, which separate two poems.

    If `convert` changes the script, it prints whole lines. How a character is converted depends on
    the characters next to it.
    """

    def __init__(self, convert: Callable[[str], str] | None):
        self.convert = convert
        self.waiting, self.begun = "", False

    def show(self, piece: str) -> None:
        self.waiting += piece
        if self.convert is None or piece[-1:] in _LINE_ENDS:
            self._print()

    def end(self) -> None:
        self._print()
        print(flush=True)
        self.waiting, self.begun = "", False

    def _print(self) -> None:
        text = "\n".join(filter(None, self.waiting.split("\n")))
        if not text:
            return
        if self.begun and self.waiting.startswith("\n"):
            text = "\n" + text
        print(visible(self.convert(text) if self.convert else text), end="", flush=True)
        # A line break is printed only when text follows it.
        self.waiting, self.begun = "\n" if self.waiting.endswith("\n") else "", True


# --------------------------------------------------------------------------------------- evaluate


def _evaluate(options: argparse.Namespace) -> None:
    if not options.checkpoints and not options.poems:
        raise UserError(
            "name the folder of a model, such as runs/tang/dpo, or a file of poems with --poems"
        )
    if options.titles < 1:
        raise UserError(f"--titles is {options.titles}. Ask for at least one poem.")
    _check_seed(options.seed)
    figure = None if options.figure is None else Path(options.figure)
    if figure is not None and (
        figure.suffix != ".png" or figure.is_dir() or not figure.parent.is_dir()
    ):
        raise UserError(
            f"--figure is {figure}. Name a file that ends in .png, in a folder that exists."
        )
    import json

    from poet.evaluation.checkpoints import evaluate_checkpoints
    from poet.evaluation.held_out import find_held_out, read_poems
    from poet.evaluation.table import table

    _quiet()
    held_out = find_held_out(_data_options(options), options.checkpoints)
    poems, kind = read_poems(options.poems) if options.poems else ([], None)
    result = evaluate_checkpoints(
        options.checkpoints, held_out, options.titles, options.seed, poems, kind
    )
    if options.json:
        print(json.dumps(result.to_json(), ensure_ascii=False, indent=1))
    else:
        print(visible(table(result.columns(), result.kind)))
    if figure is not None:
        from poet.evaluation import figures

        rows = {name: row.to_json() for name, row in result.columns().items()}
        try:
            figures.draw_rates(rows, figure)
        except OSError as error:
            raise UserError(
                f"cannot write the figure {figure}: {error.strerror}. Pass another --figure."
            ) from error


def _data_options(options: argparse.Namespace) -> "DataOptions | None":
    """Returns what the command line says about the texts, or None if it says nothing."""
    words = []
    for field in _data_fields():
        value = getattr(options, field.name)
        if isinstance(value, list):
            words += [f"--{field.name}", *value]
        elif value is not None:
            words.append(f"--{field.name}={value}")
    if not words:
        return None

    from poet.data.options import DataOptions
    from poet.training.command_line import parse

    return parse(DataOptions, argv=words)[0]


if __name__ == "__main__":
    main()
