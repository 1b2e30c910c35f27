"""`--push_to_hub` against a hub on this machine: the files that are pushed, and those that stay."""

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from helpers import SMALL, call
from huggingface_hub import HfApi

from poet.errors import UserError
from poet.training.publishing import push as push_folder


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's protocol as one commit of small files takes."""

    received: dict[str, bytes]
    commits = 0
    fault: int | str | None = None
    """A status that answers a commit, or "break"."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/repos/create"):
            self.answer({"url": f"{self.server.url}/me/poet", "name": "me/poet"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for f in files
                    ]
                }
            )
        elif "/commit/" in self.path and self.fault:
            Hub.commits += 1
            if self.fault != "break":
                self.send_response(self.fault)
                self.send_header("Content-Length", "0")
                self.end_headers()
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.received[line["value"]["path"]] = base64.b64decode(
                        line["value"]["content"]
                    )
            self.answer({"commitUrl": f"{self.server.url}/me/poet/commit/0", "commitOid": "0" * 40})
        else:
            self.answer({})

    def do_GET(self):
        self.answer({})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"
    Hub.received, Hub.commits = {}, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def push(run, folder, endpoint):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, "--output_dir", str(run / folder)]
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_x"}
    asked = ["--push_to_hub", "true", "--hub_model_id", "me/poet"]
    return call("train_pretrain.py", *config, *asked, env=environment)


def test_the_checkpoint_goes_to_the_hub_and_nothing_of_this_machine(run, hub):
    done = push(run, "pushed", hub.url)
    assert done.returncode == 0, done.stderr
    assert {
        "model.safetensors",
        "tokenizer.json",
        "config.json",
        "README.md",
        "curves.png",
    } <= Hub.received.keys()
    assert not [name for name in Hub.received if name.endswith((".bin", ".pt", ".pth"))]
    for name, content in Hub.received.items():
        assert str(run).encode() not in content, name
    assert Hub.received["README.md"].startswith(b"---\nlanguage: zh\n")


def test_without_a_hub_the_wish_to_push_is_refused_at_the_start(run):
    done = push(run, "alone", "http://127.0.0.1:9")
    assert done.returncode == 2, done.stderr
    assert "push_to_hub" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("fault", [401, 429, 500, "break"])
def test_a_failed_push_is_one_message_and_leaves_the_folder(hub, tmp_path, monkeypatch, fault):
    (tmp_path / "README.md").write_text("whole", encoding="utf-8")
    monkeypatch.setattr(Hub, "fault", fault)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    api = HfApi(endpoint=hub.url, token="hf_x")
    trainer = SimpleNamespace(
        push_to_hub=lambda: api.upload_folder(folder_path=tmp_path, repo_id="me/poet")
    )
    with pytest.raises(UserError, match=r"the push failed .*is complete. To push it later: `hf up"):
        push_folder(tmp_path, trainer)
    assert Hub.commits == (1 if fault == 401 else 6)  # the library tries five times more
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
