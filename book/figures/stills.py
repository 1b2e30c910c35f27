"""Takes stills of each interactive figure: NN-name.html becomes NN-name.png and NN-name.zh.png.

    python book/figures/stills.py                           # all figures
    python book/figures/stills.py 02-next-character         # one figure

It needs Chromium or Chrome, and weights.js, which `make book` writes. The pages show the stills in
the place of the figures, because Markdown cannot run a script. The second still is for the Chinese
pages.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

FOLDER = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
WIDTH, HEIGHT = 720, 2000  # the picture is cut below the last line of the page
SCALE = 2  # for screens with small pixels
MAX_BYTES = 60_000
LANGUAGES = {"": "", ".zh": "?lang=zh"}  # the end of a still's name, and that of the page's address


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="figures without .html (default: all)")
    names = parser.parse_args().names or sorted(
        page.stem for page in FOLDER.glob("[0-9][0-9]-*.html")
    )
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser found. Install one of: {', '.join(BROWSERS)}.")
    if not (FOLDER / "weights.js").is_file():
        sys.exit("book/figures/weights.js is missing. Type `make run`, then `make book`.")
    for name, (mark, query) in itertools.product(names, LANGUAGES.items()):
        address = (FOLDER / f"{name}.html").as_uri() + query
        still = FOLDER / f"{name}{mark}.png"
        with tempfile.TemporaryDirectory() as scratch:
            size = save(take(browser, address, Path(scratch), WIDTH, HEIGHT), still)
        print(f"book/figures/{still.name}: {size / 1000:.0f} kB")
        if size > MAX_BYTES:
            sys.exit(f"the picture is larger than {MAX_BYTES / 1000:.0f} kB. Show less.")


def take(browser: str, address: str, scratch: Path, width: int, height: int) -> Image.Image:
    """Returns a screenshot of a page in the light style."""
    command = [
        browser,
        *FLAGS,
        f"--user-data-dir={scratch / 'profile'}",
        f"--window-size={width},{height}",
        f"--force-device-scale-factor={SCALE}",
        f"--screenshot={scratch / 'shot.png'}",
        "--virtual-time-budget=10000",  # until timers and animations have ended
        address,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return Image.open(scratch / "shot.png").convert("RGB")


def save(shot: Image.Image, file: Path) -> int:
    """Saves a picture without the empty part below. Returns its size in bytes."""
    background = Image.new("RGB", shot.size, shot.getpixel((0, 0)))
    _, _, _, bottom = ImageChops.difference(shot, background).getbbox() or (0, 0, *shot.size)
    shot = shot.crop((0, 0, shot.width, min(bottom + 16 * SCALE, shot.height)))
    shot.quantize(32, dither=Image.Dither.NONE).save(file, optimize=True)
    return file.stat().st_size


if __name__ == "__main__":
    main()
