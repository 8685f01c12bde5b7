"""A copy between two stores beside `rclone sync` of the same objects: two SeaweedFS on this machine, over loopback.

Run `python -m tools.bench.between` (6 GB of disk; `--shrink 8` for a try). Each run is a process of its own, into a
bucket that is empty; a round that is not counted comes first. rclone runs with its defaults.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cas
from tools.bench.client import program
from tools.bench.measure import Run, run, settle
from tools.models.f5tts import hub_folder
from tools.servers.seaweed import REGION, SeaweedFS

_MODEL = "f5-tts"
_MIB = 1024 * 1024


def main() -> None:
    """Publish F5-TTS to one server, copy it to another in each way, and print a table."""
    parser = argparse.ArgumentParser("python -m tools.bench.between", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default: 3)")
    parser.add_argument("--shrink", type=int, default=1, help="divide the model's dimensions by this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cas-between-") as name:
        folder = Path(name)
        with SeaweedFS(folder / "first") as first, SeaweedFS(folder / "second") as second:
            first.create_bucket("models")
            environment = {**os.environ, **_profiles(folder, second), **first.env("models")}
            _publish(folder, environment, args.shrink)
            ways: dict[str, Callable[[str], Run]] = {
                "cas copy": lambda bucket: _copy(environment, bucket),
                "cas copy --verify": lambda bucket: _copy(environment, bucket, "--verify"),
                "rclone sync": lambda bucket: _rclone(folder, environment, first, second, bucket),
            }
            measured: dict[str, list[Run]] = {way: [] for way in ways}
            for _ in range(args.rounds + 1):
                for way, copy in ways.items():
                    bucket = f"copy-{secrets.token_hex(4)}"
                    second.create_bucket(bucket)
                    settle(folder, 1 << 30)
                    measured[way].append(copy(bucket))
                    second.delete_bucket(bucket)
            _report({way: runs[1:] for way, runs in measured.items()})


def _profiles(folder: Path, second: SeaweedFS) -> dict[str, str]:
    """Write the profile of the second server, and return the variables that name the files."""
    access, secret = second.credentials()
    (folder / "config").write_text(f"[profile second]\nregion = {REGION}\nendpoint_url = {second.endpoint}\n")
    (folder / "credentials").write_text(f"[second]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
    return {
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }


def _publish(folder: Path, environment: dict[str, str], shrink: int) -> None:
    os.environ.update(environment)
    hub_folder(folder / "models", shrink=shrink)
    done = cas.publish(_MODEL, cas.Source.from_folder(folder / "models", "org/f5-tts"))
    shutil.rmtree(folder / "models")
    print(f"{done.total:,} bytes in {done.chunks} chunks, stored as {done.wire:,}", flush=True)


def _copy(environment: dict[str, str], bucket: str, *words: str) -> Run:
    command = [sys.executable, "-m", "cas", "--quiet", "copy", _MODEL, f"s3://second@{bucket}/cas", *words]
    return run(command, environment)


def _rclone(folder: Path, environment: dict[str, str], first: SeaweedFS, second: SeaweedFS, bucket: str) -> Run:
    remotes: dict[str, str] = {"RCLONE_CONFIG": str(folder / "rclone.conf")}
    for name, server in (("FIRST", first), ("SECOND", second)):
        access, secret = server.credentials()
        settings = {"TYPE": "s3", "PROVIDER": "SeaweedFS", "ACCESS_KEY_ID": access, "SECRET_ACCESS_KEY": secret}
        settings |= {"ENDPOINT": server.endpoint, "REGION": REGION}
        remotes |= {f"RCLONE_CONFIG_{name}_{key}": value for key, value in settings.items()}
    command = [program("rclone"), "sync", "first:models/cas", f"second:{bucket}/cas"]
    return run(command, {**environment, **remotes})


def _report(measured: dict[str, list[Run]]) -> None:
    peer = statistics.median(one.wall for one in measured["rclone sync"])
    print(f"{'':<20} {'s':>18} {'/ rclone':>9} {'CPU s':>6} {'MiB':>5}")
    for way, runs in measured.items():
        walls = [one.wall for one in runs]
        median = statistics.median(walls)
        shown = f"{median:.2f} ({min(walls):.2f}-{max(walls):.2f})"
        cpu, peak = statistics.median(one.cpu for one in runs), max(one.peak for one in runs) / _MIB
        print(f"{way:<20} {shown:>18} {median / peer:>9.2f} {cpu:>6.1f} {peak:>5.0f}")


if __name__ == "__main__":
    main()
