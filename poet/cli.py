"""The command `poet`: `poet write TITLE`."""

import argparse
import sys
from pathlib import Path

from poet import errors
from poet.errors import UserError

_MODELS = ("runs/tang/dpo", "runs/sample/dpo")


def main() -> None:
    errors.run(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="poet", description="Writes classical Chinese verse.")
    commands = parser.add_subparsers(dest="command", required=True)
    writer = commands.add_parser("write", help="write poems for a title")
    writer.add_argument("title")
    writer.add_argument("-n", type=int, default=1, help="how many poems")
    writer.add_argument("--seed", type=int, help="the same seed gives the same poems")
    writer.add_argument("--model", help=f"a checkpoint folder; {' or '.join(_MODELS)} if left out")
    writer.add_argument("--script", choices=["traditional", "simplified"], default="traditional")
    for each in (parser, writer):
        each.error = errors.refuse
    options = parser.parse_args()
    if options.n < 1:
        raise UserError(f"-n is {options.n}: ask for at least one poem")
    folder = options.model or next((name for name in _MODELS if Path(name).is_dir()), None)
    if folder is None:
        raise UserError(f"there is no model in {' or '.join(_MODELS)}; make one by `make run`, or pass --model")

    import transformers

    from poet import script, write

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, tokenizer = write.load(folder)
    title = script.to_traditional(options.title)
    show = script.to_simplified if options.script == "simplified" else str
    write.stream_poem(model, tokenizer, title, lambda piece: print(show(piece), end="", flush=True), seed=options.seed)
    print()
    seed = None if options.seed is None else options.seed + 1
    for poem in write.write_poems(model, tokenizer, [title] * (options.n - 1), seed=seed):
        print(f"\n{show(poem)}")
    sys.stdout.flush()
