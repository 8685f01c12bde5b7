"""`cas serve` as a process: where it says that it listens, how it ends, and the command that it runs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cas.cli.serve import _run_command
from cas.store.store import Store
from tests.support.in_process import call_cas
from tests.support.models import COMMIT, REPO, put_model
from tests.support.processes import cas_command, run_cas, start_cas

FILES = {"config.json": b'{"a": 1}'}


@pytest.fixture
def store(directory_store: Store) -> Store:
    put_model(directory_store, {REPO: FILES})
    return directory_store


def test_it_says_where_it_listens_and_ends_when_it_is_told(store: Store, cache: Path) -> None:
    words = ("--store", store.url, "--json", "serve", "--port", "0", "--cache", str(cache), "--tag", "latest")
    with start_cas(*words) as process:
        assert process.stdout and process.stderr
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        document = json.loads(text)
        with urllib.request.urlopen(f"{document['endpoint']}/{REPO}/resolve/main/config.json") as answer:
            assert answer.read() == FILES["config.json"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        lines = process.stderr.read().splitlines()
    assert [repo["commit"] for repo in document["repos"]] == [COMMIT]
    assert document["repos"][0]["reference"] == "m:latest"
    assert lines[0].startswith(f"{REPO} is that of m:latest")
    assert lines[1:] == [
        f"serving 1 repo of {store.where} at {document['endpoint']}",
        f"export HF_ENDPOINT={document['endpoint']}",
    ]


CHILD = """
import json, os, sys, urllib.request
assert not {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"} & os.environ.keys() and os.environ["HF_TOKEN"] == "geheim:hf_own"
url = os.environ["HF_ENDPOINT"] + "/org/model/resolve/main/config.json"
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ["HF_TOKEN"]})
print(urllib.request.urlopen(request).read().decode())
sys.exit(7)
"""


def test_a_command_finds_the_hub_and_its_end_is_the_servers(store: Store, cache: Path) -> None:
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    env = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_TOKEN": "hf_own",
        "CAS_SERVE_TOKEN": "geheim",
        **proxies,
    }
    words = ("--store", store.url, "-q", "serve", "--cache", str(cache), "--", sys.executable, "-c", CHILD)
    done = run_cas(*words, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (7, '{"a": 1}\n', "")


def test_a_command_that_a_signal_ends_is_told_as_shells_do(store: Store, cache: Path) -> None:
    done = run_cas("--store", store.url, "serve", "--cache", str(cache), "--", "sh", "-c", "kill -9 $$")
    assert done.returncode == 137


def test_a_signal_reaches_the_command_however_early_it_comes(store: Store, cache: Path) -> None:
    # A session without a terminal, where an interrupt is sent to this process alone.
    for name in ("TERM", "INT"):
        script = f"trap 'exit 5' {name}; kill -{name} $PPID; while :; do sleep 0.01; done"
        words = ("--store", store.url, "serve", "--cache", str(cache), "--", "sh", "-c", script)
        done = subprocess.run(cas_command(*words), start_new_session=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 5


def test_a_second_signal_ends_the_server_when_its_command_has_ended() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        assert _run_command(["true"], {"PATH": "/usr/bin:/bin"}) == 0
        assert [signal.getsignal(number) for number in numbers] == [signal.SIG_DFL] * 3
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_a_wrong_call_is_one_clear_line(store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*words: str) -> tuple[int, str]:
        done = call_cas("--store", store.url, "serve", "--cache", str(cache), *words)
        assert done.stdout == "" and done.stderr.count("\n") == 1
        return done.returncode, done.stderr

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert refused("--port", port)[0] == 2
        assert f"port {port} of 127.0.0.1" in refused("--port", port)[1]
    assert refused("--host", "not.an.address.invalid")[0] == 2
    assert refused("--port", "70000")[0] == 2
    assert "write it as 20GB" in refused("--cache-size", "much")[1]
    assert "command absent-program is not found" in refused("--", "absent-program")[1]
    assert "write `--` before" in refused("vllm")[1]
    for token in ("", "two words", "schl\u00fcssel"):
        assert "the token for clients" in refused("--port", "0", "--token", token)[1]
    for url in ("huggingface.co", "ftp://hub", "https://user:geheim@hub.example", "https://hub.example/?token=geheim"):
        code, line = refused("--port", "0", "--upstream", url)
        assert code == 2 and "geheim" not in line
    assert refused("--port", "0", "--tag", "absent")[0] == 3
    monkeypatch.setattr("cas.api.serving._LIBRARIES", ("json", "absent_library"))
    code, line = refused("--port", "0")
    assert code == 2 and line.endswith("pip install 'model-cas[serve]'\n")


def test_a_store_without_anything_to_serve_is_told(directory_store: Store, cache: Path) -> None:
    directory_store.create()
    done = call_cas("--store", directory_store.url, "serve", "--port", "0", "--cache", str(cache))
    assert done.returncode == 3 and "nothing to serve" in done.stderr


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20 * 10**9), ("1.5k", 1500), ("512 MiB", 512 << 20), ("7", 7), ("2tib", 2 << 40)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    from cas.cli.units import Size

    assert Size().convert(text, None, None) == size
