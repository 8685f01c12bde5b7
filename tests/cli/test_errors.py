"""Wrong calls, stores and paths: one line that names the thing and the next step, and the right exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cas.bucket import Kind, open_bucket
from cas.store.store import Store
from tests.cli.conftest import Shop
from tests.support.in_process import call_cas
from tests.support.models import publish_tree, write_tree
from tests.support.processes import start_cas
from tools.servers.seaweed import SeaweedFS

CAS = [sys.executable, "-m", "cas"]


def check(done: subprocess.CompletedProcess[str], code: int, *told: str) -> None:
    """Fail unless a call ended with `code`, printed nothing on stdout, and one error line that has all of `told`."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("cas: ")
    for text in told:
        assert text in line


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        ("show m@LATEST7", 2, "too short: give at least 8 digits"),
        ("show m@xyzw1234", 2, "after @ write a digest: 8 to 64 hex digits"),
        ("show m@blake3:1234", 2, "too short: give at least 8 digits"),
        ("show pin:eu", 3, "eu has no pins in"),
        ("show -m:latest", 2, "No such option"),
        ("show m:a:b", 2, "is not a name"),
        ("ls a/b", 3, "holds the repo a/b: publish it with `cas publish b --repo a/b`"),
        ("show m --store ftp://x/y", 2, "use s3://, https://, file:// or a path"),
        ("show m --store s3://", 2, "write s3://bucket/prefix"),
        ("show m --store s3://[", 2, "write s3://bucket/prefix"),
        ("show m --store https://[::1/x", 2, "store: write https:// and the host"),
        ("show m --store ~nobody-of-this-name/x", 2, "begins with the name of no user of this machine"),
        ("restore m --cache-dir ~nobody-of-this-name/hub", 2, "begins with the name of no user of this machine"),
        ("restore m --seed ~nobody-of-this-name", 2, "begins with the name of no user of this machine"),
        ("publish m --dir nowhere --as a/b", 2, "nowhere is not a directory"),
        ("gc --grace 9999999w", 2, "'9999999w' is longer than 36500 days"),
        ("gc --grace 59m", 2, "--grace 3540s is below an hour"),
        ("gc --wait 36501d", 2, "is longer than 36500 days"),
        ("run m", 2, "Missing argument"),
        ("tag m", 2, "Missing argument"),
        ("tag m bad/tag", 2, "is not a name"),
        ("run m no-such-command", 127, "command no-such-command is not found"),
        ("run m -- ./no/such", 127, "command ./no/such is not found"),
        ("run m -- TREE", 126, "is a folder, and no command"),
        ("run m -- TREE/config.json", 126, "is not executable: allow it with chmod +x"),
        ("show none", 3, "the store's models are m"),
        ("show m:none", 3, "its tags are latest, v1"),
        ("show m@00000000", 3, "see `cas ls m`"),
        ("show m@blake3:" + "0" * 64, 3, "see `cas ls m`"),
        ("show pin:eu/m", 3, "pin:eu/m is not in"),
        ("ls none", 3, "the store's models are m"),
        ("restore none", 3, "the store's models are m"),
        ("show m --store /nowhere/at/all", 3, "there is no store at /nowhere/at/all: check --store or CAS_STORE"),
        ("restore m --refuse-pickle", 5, "weights.bin"),
        ("restore m --cache-dir /dev/null/hub", 7, "/dev/null"),
        ("show m --store /dev/null", 7, "/dev/null is a file: name a directory"),
        ("show m --store /" + "a" * 300, 7, "cannot be used: File name too long"),
        ("publish m --dir TREE --as a/b --store /proc/nowhere/cas", 7, "/proc/nowhere/cas cannot be created"),
    ],
)
def test_a_bad_call_is_one_line_and_an_exit_code(shop: Shop, call: str, code: int, told: str) -> None:
    words = call.replace("LATEST7", shop.latest[9:16]).replace("TREE", str(Path(shop.url).parent / "tree"))
    check(shop.cas(*words.split()), code, told)


def test_an_ambiguous_prefix_asks_for_more_digits(shop: Shop) -> None:
    for end in "12":
        write_tree(Path(shop.url), {f"manifests/m/{'ab' * 31}0{end}.json": b"{}"})
    check(shop.cas("show", "m@abababab"), 2, "m@abababab is ambiguous", "give more digits")


def test_a_damaged_chunk_is_exit_code_4_and_names_the_cure(shop: Shop) -> None:
    chunk = max(Path(shop.url).glob("chunks/*/*"), key=lambda path: path.stat().st_size)
    chunk.write_bytes(b"\0" * chunk.stat().st_size)
    done = shop.cas("-q", "restore", "m")
    check(done, 4, chunk.name, shop.url, "cas publish --force")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("format.json", {"format": "cas", "version": 2}, "version 2; this program knows cas version 1: upgrade"),
        ("format.json", ["x"], "is this the right URL?"),
    ],
)
def test_a_store_of_another_format_is_exit_code_5(shop: Shop, file: str, content: object, told: str) -> None:
    (Path(shop.url) / file).write_text(json.dumps(content))
    check(shop.cas("ls"), 5, told)
    check(shop.cas("publish", "m", "--dir", str(Path(shop.url).parent / "tree"), "--as", "a/b"), 5, told)


def test_no_network_is_exit_code_6_and_names_the_endpoint() -> None:
    env = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = call_cas("ls", "--store", "s3://bucket/cas", env=env)
    check(done, 6, "s3://bucket/cas at http://127.0.0.1:9", "check the endpoint and the network")


def test_missing_credentials_are_told_before_any_request() -> None:
    check(call_cas("ls", "--store", "s3://bucket/cas"), 6, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    half = call_cas("ls", "--store", "s3://bucket/cas", env={"AWS_ACCESS_KEY_ID": "me"})
    check(half, 6, "AWS_SECRET_ACCESS_KEY is not set beside its twin")
    wrong = call_cas(
        "ls",
        "--store",
        "s3://b/cas",
        env={"AWS_ENDPOINT_URL": "host", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "x"},
    )
    check(wrong, 2, "https://")


def test_a_real_server_refuses_and_no_secret_is_shown(s3_url: str, seaweed: SeaweedFS, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"w.bin": b"w" * 100})
    publish_tree(s3_url, tree)
    bucket = s3_url.split("/")[2]
    reader = seaweed.env(bucket, "reader")
    publish = ["publish", "other", "--dir", str(tree), "--as", "a/b", "--store"]
    calls = [
        (["ls", "--store", "s3://no-such-bucket/cas"], seaweed.env(bucket), "does not exist"),
        (["ls", "--store", f"s3://{bucket}/none"], seaweed.env(bucket), "there is no store at"),
        (["ls", "--store", s3_url], reader | {"AWS_SECRET_ACCESS_KEY": "WRONG-SECRET"}, "access denied"),
        ([*publish, s3_url], reader, "the key needs the permission PutObject"),
        ([*publish, f"s3://{bucket}/new"], reader, "the key needs the permission PutObject"),
        ([*publish, s3_url], reader | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "no connection could be made"),
    ]
    for words, env, told in calls:
        done = call_cas(*words, env=env)
        check(done, 3 if "no store" in told else 6, told)
        verbose = call_cas("-v", *words, env=env)
        assert "Traceback" in verbose.stderr
        for shown in (done.stderr, verbose.stderr):
            assert env["AWS_SECRET_ACCESS_KEY"] not in shown
            assert "Signature=" not in shown
    assert len(Store(open_bucket(s3_url)).digests("m")) == 1


def test_an_interrupted_publish_says_how_to_go_on_and_publishes_nothing(tmp_path: Path) -> None:
    """Press Ctrl-C while a chunk is sent to a server that accepts connections and never responds."""
    import socket

    tree = write_tree(tmp_path / "tree", {"w.bin": b"w" * 100})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "AWS_ENDPOINT_URL": endpoint}
        words = [*CAS, "publish", "m", "--dir", str(tree), "--as", "a/b", "--store", "s3://bucket/cas"]
        publish = subprocess.Popen(words, env={**os.environ, **env}, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # it is in a request now
            publish.send_signal(signal.SIGINT)
            _, told = publish.communicate(timeout=10)
    assert publish.returncode == 130
    (line,) = told.splitlines()
    assert line.endswith("nothing half-done is visible. Run the same command again to go on where it stopped")


def test_ctrl_c_during_the_upload_keeps_the_old_version(shop: Shop, tmp_path: Path) -> None:
    script = """
import os, signal, sys
from cas import cli
from cas.cli.display.progress import Reporter
from cas.events import Moved

listen = Reporter.listen
def interrupted(self, event):
    listen(self, event)
    if isinstance(event, Moved) and event.source == "store":
        os.kill(os.getpid(), signal.SIGINT)
Reporter.listen = interrupted
sys.argv[0] = "cas"
cli.main()
"""
    tree = write_tree(tmp_path / "new", {f"{number}.bin": b"%d" % number * 100 for number in range(200)})
    words = [sys.executable, "-c", script, "publish", "m", "--dir", str(tree), "--as", "org/model"]
    done = subprocess.run(words, env={**os.environ, "CAS_STORE": shop.url}, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("cas: interrupted")
    assert shop.json("show", "m")["digest"] == shop.latest[2:]
    again = shop.json("publish", "m", "--dir", str(tree), "--as", "org/model")
    assert again["uploaded_chunks"] < 200


def test_a_hostile_document_in_the_store_is_no_traceback(shop: Shop) -> None:
    bucket = open_bucket(shop.url)
    bucket.put("refs/tags/m/latest/00000009-ffffffffffffffff.json", b"\xff{", Kind.DOCUMENT)
    check(shop.cas("show", "m"), 5, "is malformed", "set m:latest again")
    fixed = shop.cas("tag", "m:v1", "latest")
    assert fixed.returncode == 0, fixed.stderr
    assert shop.json("show", "m")["digest"] == shop.v1[2:]


def test_a_panic_of_a_library_is_one_line(shop: Shop) -> None:
    before = """
import cas.store.manifests
class PanicException(BaseException): pass
def fail(*_): raise PanicException("slice index starts at 8")
cas.store.manifests.hex_of = fail
"""
    done = start_cas("--store", shop.url, "restore", "m", "--dry-run", before=before)
    _, told = done.communicate(timeout=60)
    assert done.returncode == 1
    assert told.endswith("cas: a library failed (slice index starts at 8): report it, with what it printed above\n")
