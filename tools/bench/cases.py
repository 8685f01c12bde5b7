"""The cases to measure, s5cmd and the other peers among them. What a case wrote stays until its next round."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from pathlib import Path

from tools.bench.client import BUCKET, Client, Measured, program
from tools.bench.first_chunk import FirstChunk
from tools.bench.link import LINKS, Link
from tools.bench.measure import Failed, can_empty_page_cache
from tools.bench.plans import plan_large
from tools.bench.relayed import distant, relayed, two_slow
from tools.bench.scene import BFLOAT16_MODEL, MODEL, REPOS, WIDE_MODEL, Scene
from tools.models.f5tts import MODEL_FILE

ALL = frozenset(LINKS)
DOWNLOAD, UPLOAD = "s5cmd cp", "s5cmd cp, upload"
RELAYED, TWO_SLOW, DISTANT = "cas restore, relayed", "cas restore, two slow connections", "cas restore, 40 ms away"
STREAMER = "runai streamer, to memory"
LOAD_TENSORS, LOAD_NUMPY = "cas.load_tensors, to memory", "cas.load_tensors, numpy"
BFLOAT16_DOWNLOAD, COLD_DOWNLOAD = "s5cmd cp, bfloat16", "s5cmd cp, cold page cache"


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        name: the case's name in tables.
        measure: runs the case once.
        links: names of the links to measure it over.
        needs: what `Scene.prepare` must make before.
        peer: name of the case that its wall time is divided by.
        download: whether it downloads the whole model into an empty directory.
        once: whether one of the rounds that count is enough, because it takes minutes.
        missing: returns why the case cannot run over a link, or an empty text if it can.
    """

    name: str
    measure: Callable[[Client], Measured]
    links: Set[str]
    needs: tuple[str, ...] = ("version",)
    peer: str = ""
    download: bool = False
    once: bool = False
    missing: Callable[[Scene, Link], str] = lambda scene, link: ""


def _whole(client: Client, measured: Measured) -> Measured:
    """Return the run, or raise Failed when the sizes of the downloaded files add up to less than the model's."""
    files = (path for path in (client.scene.work / "raw").rglob("*") if path.is_file() and not path.is_symlink())
    received, wanted = sum(path.stat().st_size for path in files), client.scene.facts["plain bytes"]
    if received < wanted:
        raise Failed(f"only {received} of {wanted} bytes came")
    return measured


def _restore(client: Client) -> Measured:
    return client.cas("restore", MODEL, "--cache-dir", client.empty("cache"))


def _s5cmd_download(client: Client) -> Measured:
    return _whole(client, client.s5cmd("cp", f"s3://{BUCKET}/raw/*", client.empty("raw") + "/"))


def _rclone(client: Client) -> Measured:
    access, secret = client.scene.server.credentials()
    remote = {"TYPE": "s3", "PROVIDER": "SeaweedFS", "ACCESS_KEY_ID": access, "SECRET_ACCESS_KEY": secret}
    remote |= {"ENDPOINT": client.endpoint}
    environment = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in remote.items()}
    environment["RCLONE_CONFIG"] = str(client.scene.work / "rclone.conf")
    command = [program("rclone"), "copy", f"bench:{BUCKET}/raw", client.empty("raw")]
    return _whole(client, client.run(command, environment))


def _boto3(client: Client) -> Measured:
    return _whole(client, client.python("boto3_files", BUCKET, "raw/", client.empty("raw")))


def _hub(client: Client) -> Measured:
    return _whole(client, client.python("hub_snapshots", client.empty("raw"), *REPOS))


def _streamer(client: Client) -> Measured:
    # Only this case may need PYTHONPATH, to find torch: each directory there slows the start of every Python process.
    measured = client.python("streamer", f"s3://{BUCKET}/raw/{MODEL_FILE}", packages=os.environ.get("PYTHONPATH"))
    return replace(measured, extra={"of that importing torch": measured.document["imports"]})


def _load_tensors(client: Client) -> Measured:
    return client.python("load_tensors", MODEL, MODEL_FILE, "torch", packages=os.environ.get("PYTHONPATH"))


def _load_numpy(client: Client) -> Measured:
    return client.python("load_tensors", MODEL, MODEL_FILE, "numpy")


def _float16(client: Client) -> Measured:
    return client.cas("restore", f"{MODEL}:fp16", "--cache-dir", client.empty("float16"))


def _bfloat16(client: Client) -> Measured:
    return client.cas("restore", BFLOAT16_MODEL, "--cache-dir", client.empty("bfloat16-cache"))


def _s5cmd_bfloat16(client: Client) -> Measured:
    return client.s5cmd("cp", f"s3://{BUCKET}/{BFLOAT16_MODEL}/*", client.empty("bfloat16-raw") + "/")


def _cold(measure: Callable[[Client], Measured], client: Client) -> Measured:
    """Measure with an empty page cache, and no memory filled beforehand: so a cold start finds its machine."""
    return measure(Client(client.scene, client.link, cold=True))


def _update(tag: str, client: Client) -> Measured:
    """Restore another version into a cache that holds exactly the first one."""
    cache = client.empty("update")
    client.scene.at(LINKS["none"]).document("restore", MODEL, "--cache-dir", cache)
    return client.cas("restore", f"{MODEL}:{tag}", "--cache-dir", cache)


def _warm(client: Client) -> Measured:
    cache = str(client.scene.work / "cache")
    client.document("restore", MODEL, "--cache-dir", cache)
    return client.cas("restore", MODEL, "--cache-dir", cache)


def _publish(client: Client) -> Measured:
    with client.scene.fresh_bucket() as bucket:
        words = ["publish", *client.scene.publish_words(), "--no-download"]
        return client.cas(*words, store=f"s3://{bucket}/cas")


def _s5cmd_upload(client: Client) -> Measured:
    with client.scene.fresh_bucket() as bucket:
        return client.s5cmd("cp", f"{client.scene.models}/", f"s3://{bucket}/raw/")


def _unchanged_hub(client: Client) -> Measured:
    return client.cas("publish", *client.scene.publish_words())


def _unchanged_folder(client: Client) -> Measured:
    return client.cas("publish", *client.scene.folder_words())


def _publish_wide(client: Client) -> Measured:
    with client.scene.fresh_bucket() as bucket:
        return client.cas("publish", *client.scene.wide_words(), store=f"s3://{bucket}/cas")


def _restore_wide(client: Client, store: str | None = None) -> Measured:
    return client.cas("restore", WIDE_MODEL, "--cache-dir", client.empty("wide-cache"), store=store)


def _restore_from_directory(client: Client) -> Measured:
    return _restore_wide(client, client.scene.directory)


def _first_chunk(client: Client) -> Measured:
    """Restore through a relay; the figure is the time from the process's start to its first request for a chunk."""
    with client.scene.network.server(), FirstChunk(client.scene.server.port) as relay:
        via_relay = Client(client.scene, client.link)
        via_relay.environment["AWS_ENDPOINT_URL"] = relay.url
        measured = via_relay.cas("restore", MODEL, "--cache-dir", via_relay.empty("first"))
        via_relay.empty("first")
        return replace(measured, extra={"first chunk": relay.first_request - measured.run.begun})


def _plan(client: Client) -> Measured:
    return Measured(plan_large(Path(client.empty("plan")), client.environment))


def _no_cold(scene: Scene, link: Link) -> str:
    return "" if can_empty_page_cache() else "only root may empty the page cache, on Linux"


def _no_hub(scene: Scene, link: Link) -> str:
    return "the local hub speaks plain http only" if link.tls else ""


def _no_program(name: str, scene: Scene, link: Link) -> str:
    return "" if shutil.which(program(name)) else f"{name} is not installed: see requirements/bench.lock"


def _no_package(names: tuple[str, ...], scene: Scene, link: Link) -> str:
    gone = [name for name in names if importlib.util.find_spec(name) is None]
    return f"no {' and no '.join(gone)} in this Python" if gone else ""


@functools.cache
def _no_command(command: str) -> str:
    help_ = [sys.executable, "-m", "cas", command, "--help"]
    return "" if subprocess.run(help_, capture_output=True, check=False).returncode == 0 else f"no `cas {command}` yet"


_S5CMD = functools.partial(_no_program, "s5cmd")
_RCLONE = functools.partial(_no_program, "rclone")
_TORCH = functools.partial(_no_package, ("torch",))
_STREAMER = functools.partial(_no_package, ("runai_model_streamer", "runai_model_streamer_s3", "torch"))

CASES = (
    Case("cas restore", _restore, ALL, peer=DOWNLOAD, download=True),
    Case(
        "cas restore, float16",
        _float16,
        {"1gbit", "2.5gbit"},
        ("float16",),
        peer=DOWNLOAD,
        download=True,
        missing=lambda scene, link: _no_command("derive"),
    ),
    Case(DOWNLOAD, _s5cmd_download, ALL, ("files",), download=True, missing=_S5CMD),
    Case(
        "rclone copy",
        _rclone,
        ALL,
        ("files",),
        peer=DOWNLOAD,
        download=True,
        missing=_RCLONE,
    ),
    Case("boto3 download_file", _boto3, ALL, ("files",), peer=DOWNLOAD, download=True),
    Case("hf snapshot_download", _hub, ALL, (), peer=DOWNLOAD, download=True, missing=_no_hub),
    Case(STREAMER, _streamer, ALL, ("files",), peer=DOWNLOAD, download=True, missing=_STREAMER),
    Case(LOAD_TENSORS, _load_tensors, ALL, peer=STREAMER, download=True, missing=_TORCH),
    Case(LOAD_NUMPY, _load_numpy, {"none"}),
    Case(BFLOAT16_DOWNLOAD, _s5cmd_bfloat16, {"1gbit", "2.5gbit", "none"}, ("bfloat16",), missing=_S5CMD),
    Case("cas restore, bfloat16", _bfloat16, {"1gbit", "2.5gbit", "none"}, ("bfloat16",), peer=BFLOAT16_DOWNLOAD),
    Case(COLD_DOWNLOAD, functools.partial(_cold, _s5cmd_download), {"2.5gbit"}, ("files",), missing=_no_cold),
    Case(
        "cas restore, cold page cache",
        functools.partial(_cold, _restore),
        {"2.5gbit"},
        peer=COLD_DOWNLOAD,
        missing=_no_cold,
    ),
    Case("cas restore, 15 % changed", functools.partial(_update, "tuned"), {"1gbit", "none"}, ("tuned",)),
    Case("cas restore, all nudged", functools.partial(_update, "nudged"), {"none"}, ("nudged",)),
    Case("cas restore, warm", _warm, {"none"}),
    Case("cas restore, 8 MiB chunks", _restore_wide, {"none"}, ("wide",)),
    Case("cas restore, 8 MiB, directory", _restore_from_directory, {"none"}, ("wide",)),
    Case("cas publish, 8 MiB chunks", _publish_wide, {"none"}, ("wide",)),
    Case(RELAYED, relayed(_restore), {"1gbit", "none"}),
    Case(TWO_SLOW, two_slow(_restore), {"1gbit", "none"}, peer=RELAYED),
    Case("s5cmd cp, two slow connections", two_slow(_s5cmd_download), {"1gbit"}, ("files",), once=True, missing=_S5CMD),
    Case("rclone copy, two slow connections", two_slow(_rclone), {"1gbit"}, ("files",), once=True, missing=_RCLONE),
    Case("boto3, two slow connections", two_slow(_boto3), {"1gbit"}, ("files",), once=True),
    Case(DISTANT, distant(_restore), {"1gbit"}, peer=RELAYED),
    Case("cas restore, to first chunk", _first_chunk, {"none"}),
    Case("cas restore, plan of 20,000", _plan, {"none"}, ()),
    Case("cas publish", _publish, {"1gbit", "none"}, peer=UPLOAD),
    Case(UPLOAD, _s5cmd_upload, {"1gbit", "none"}, (), missing=_S5CMD),
    Case("cas publish, unchanged hub cache", _unchanged_hub, {"none"}),
    Case("cas publish, unchanged folder", _unchanged_folder, {"none"}, ("folder",)),
)
