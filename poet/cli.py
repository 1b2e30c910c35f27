"""The command `poet`.

    poet write 春夜喜雨 -n 4 --seed 7
    poet evaluate runs/tang/sft runs/tang/dpo --json

Knows arguments and the terminal: poems and figures on stdout, everything else on stderr. What takes long to import
waits until it is needed, so that `poet --help` is instant.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from poet import errors
from poet.errors import UserError

_MODELS = ("runs/tang/dpo", "runs/sample/dpo")
_BEFORE_ALIGNMENT = (
    "runs/tang/sft",
    "runs/sample/sft",
)  # for seven characters: the others have unlearned them


def main() -> None:
    errors.run(_main)


def _main() -> None:
    options = _parse(sys.argv[1:])
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `poet write … | head -1`: whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --------------------------------------------------------------------------------------------------------- options


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="poet", description="Writes classical Chinese verse, and measures it."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    writer = commands.add_parser("write", help="write poems for a title", allow_abbrev=False)
    writer.add_argument("title", nargs="?", help="in traditional or simplified characters")
    writer.add_argument(
        "--theme",
        nargs="+",
        metavar="WORD",
        help="words to speak of, in place of a title: 秋 雁 故鄉",
    )
    writer.add_argument(
        "-n", type=int, default=1, help="how many poems, the likeliest first (%(default)s)"
    )
    writer.add_argument("--seed", type=int, help="the same seed gives the same poems")
    writer.add_argument(
        "--model",
        metavar="DIR",
        help=f"a checkpoint folder ({', else '.join(_MODELS)}; for 七言 sft in place of dpo)",
    )
    writer.add_argument("--script", choices=["traditional", "simplified"], default="traditional")
    writer.add_argument(
        "--temperature", type=float, help="below 1 likelier, above 1 rarer characters"
    )
    writer.add_argument(
        "--guidance",
        type=float,
        metavar="G",
        dest="guidance_scale",
        help="above 1 closer to the title (1), or to the theme's words (2)",
    )
    form = writer.add_argument_group(
        "a form, kept to the letter; the model's likeliest poem comes first"
    )
    form.add_argument("--form", help="五言 or 七言 with 絕句, 律詩, 排律 or 古體")
    form.add_argument("--rhyme", metavar="GROUP", help="a rhyme group of 平水韻, like 東")
    form.add_argument(
        "--acrostic", metavar="CHARACTERS", help="they head the lines, or the couplets"
    )
    form.add_argument("--first-line", metavar="LINE", help="the poem begins with it")
    form.add_argument("--lines", type=int, help="how many, for 排律 (12) and 古體 (8)")
    writer.set_defaults(run=_write)

    evaluator = commands.add_parser(
        "evaluate", help="measure checkpoints, or poems of a file", allow_abbrev=False
    )
    evaluator.add_argument(
        "checkpoints", nargs="*", metavar="CHECKPOINT", help="a stage of a run, like runs/tang/dpo"
    )
    evaluator.add_argument(
        "--poems", metavar="FILE", help="verse from anywhere: .txt (blank lines between), .jsonl, …"
    )
    evaluator.add_argument(
        "--corpus", metavar="PATH", help="whose held-out part measures; else that of the run"
    )
    evaluator.add_argument(
        "--titles", type=int, default=500, metavar="N", help="poems a checkpoint (%(default)s)"
    )
    evaluator.add_argument(
        "--seed", type=int, default=0, help="of the titles and of the drawing (%(default)s)"
    )
    evaluator.add_argument(
        "--figure", metavar="FILE.png", help="draw the forms and rates of the verse too"
    )
    evaluator.add_argument(
        "--json", action="store_true", help="one JSON object in place of a table"
    )
    evaluator.set_defaults(run=_evaluate)

    for each in (parser, writer, evaluator):
        each.error = errors.refuse  # type: ignore[method-assign]
    command = next((word for word in arguments if not word.startswith("-")), None)
    if command is not None and command not in commands.choices:
        raise UserError(f"there is no command {command}{_nearest(command, commands.choices)}")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        chosen: argparse.ArgumentParser = commands.choices[options.command]
        option = unknown[0].split("=")[0]
        if not option.startswith("-"):
            raise UserError(
                f"{option} is one word too many; put a title of several words between quotes"
            )
        raise UserError(
            f"there is no option {option}{_nearest(option, chosen._option_string_actions)}"
        )
    return options


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return (
        f"; the nearest is {near[0]}"
        if near
        else f"; there are {', '.join(k for k in known if k != '-h')}"
    )


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**63:
        raise UserError(f"--seed is a number from 0 to 2**63, not {seed}")


def _quiet() -> None:
    """Neither progress bars of loading nor advice for programmers beside the verse."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


# -------------------------------------------------------------------------------------------------------- commands


def _write(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise UserError(f"-n is {options.n}: ask for at least one poem")
    _check_seed(options.seed)
    if options.theme and options.title is not None:
        raise UserError(
            "a title and a theme are two wishes, and a poem answers one: leave one of them out"
        )
    title = (" ".join(options.theme) if options.theme else options.title or "").strip()
    if not title:
        raise UserError(
            "the title is empty: give the poem a subject, like 春夜喜雨, or words to speak of with --theme"
        )
    try:
        title.encode()
    except UnicodeEncodeError as error:
        raise UserError("the title is not UTF-8, which this command reads") from error
    wishes = {key: getattr(options, key) for key in ("rhyme", "acrostic", "first_line", "lines")}
    asked = next((key for key, value in wishes.items() if value is not None), None)
    if asked and options.form is None:
        raise UserError(
            f"--{asked.replace('_', '-')} needs a form to stand in: add --form 五言律詩, say"
        )
    folder = options.model or _default_model(seven=(options.form or "").startswith("七"))

    from poet.alignment import themes
    from poet.generation.load import check_sampling, check_template, load
    from poet.generation.write import write
    from poet.prosody import forms, script

    settings: dict[str, Any] = {
        key: getattr(options, key)
        for key in ("temperature", "guidance_scale")
        if getattr(options, key) is not None
    }
    check_sampling(**settings)
    if options.temperature is not None:
        settings["do_sample"] = True
    if options.form is not None:
        settings["form"] = forms.read_form(options.form, **wishes)
    if options.theme:
        settings = {
            "instruction": themes.INSTRUCTION,
            "guidance_scale": themes.GUIDANCE,
            **settings,
        }
    _quiet()
    model, tokenizer = load(folder)
    check_template(tokenizer, folder)
    printer = _Printer(script.to_simplified if options.script == "simplified" else None)
    poems = write(
        model,
        tokenizer,
        script.to_traditional(title),
        n=options.n,
        stream=printer.show if options.n == 1 else None,  # of several, the first is known last
        seed=options.seed,
        **settings,
    )
    if options.n == 1:
        printer.end()
        return
    for number, poem in enumerate(poems):
        if number:
            print()
        printer.show(poem)
        printer.end()


def _default_model(seven: bool) -> str:
    """Returns the folder of the first model that `make` left here, and prints its name."""
    usual = _BEFORE_ALIGNMENT if seven else _MODELS
    folder = next((name for name in usual if Path(name, "config.json").is_file()), None)
    if folder is None:
        raise UserError(
            f"there is no model in {' or '.join(usual)}. "
            "Make one with `make run`, or name one with --model."
        )
    reason = " (the aligned model writes lines of five characters)" if seven else ""
    print(f"model: {folder}{reason}", file=sys.stderr)
    return folder


class _Printer:
    """Prints a poem piece by piece: no line of it is blank, since a blank line parts two poems.

    With a conversion, it is printed verse by verse: how a character is converted depends on those beside it.
    """

    def __init__(self, convert: Callable[[str], str] | None):
        self.convert, self.held, self.begun = convert, "", False

    def show(self, piece: str) -> None:
        self.held += piece
        if self.convert is None or piece[-1:] in "，。？！；\n":
            self._print()

    def end(self) -> None:
        self._print()
        print(flush=True)
        self.held, self.begun = "", False

    def _print(self) -> None:
        lines = list(filter(None, self.held.split("\n")))
        if not lines:
            return
        text = "\n".join(lines)
        if self.begun and self.held.startswith("\n"):
            text = "\n" + text
        print(self.convert(text) if self.convert else text, end="", flush=True)
        self.held, self.begun = "\n" if self.held.endswith("\n") else "", True


def _evaluate(options: argparse.Namespace) -> None:
    if not options.checkpoints and not options.poems:
        raise UserError("name a checkpoint, like runs/tang/dpo, or a file of poems with --poems")
    if options.titles < 1:
        raise UserError(f"--titles is {options.titles}: ask for at least one poem")
    _check_seed(options.seed)
    figure = None if options.figure is None else Path(options.figure)
    if figure is not None and (
        figure.suffix != ".png" or figure.is_dir() or not figure.parent.is_dir()
    ):
        raise UserError(
            f"--figure is {figure}: name a file that ends in .png, in a folder that there is"
        )
    import json

    from poet.evaluation.checkpoints import evaluate_checkpoints
    from poet.evaluation.held_out import find_held_out, read_poems
    from poet.evaluation.table import table
    from poet.training import plots

    _quiet()
    result = evaluate_checkpoints(
        options.checkpoints,
        find_held_out(options.corpus, options.checkpoints),
        options.titles,
        options.seed,
        read_poems(options.poems) if options.poems else (),
    )
    if options.json:
        print(json.dumps(result.to_json(), ensure_ascii=False, indent=1))
    else:
        print(table(result.columns()))
    if figure is not None:
        rows = {name: row.to_json() for name, row in result.columns().items()}
        try:
            plots.draw_verse(rows, figure)
        except OSError as error:
            raise UserError(f"cannot write the figure {figure} ({error.strerror})") from error


if __name__ == "__main__":
    main()
