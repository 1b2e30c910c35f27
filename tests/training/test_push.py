"""`--push_to_hub` against a hub on this machine: the files that are pushed, and those that stay."""

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import SMALL, call


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's protocol as one commit of small files takes."""

    received: dict[str, bytes]

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
    Hub.received = {}
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
