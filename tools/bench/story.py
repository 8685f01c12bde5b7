"""Play the story of `tools.story` with F5-TTS v1 Base on a CPU: `python -m tools.bench.story`.

Worker, SDK, F5-TTS code and clients are real, servers are local, weights are random. The command prints the phases of
every cold start, and ends with exit code 1 when a chapter did not end as it should.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cas.store.store import open_store
from tools import worker_env
from tools.deployment import Deployment
from tools.models.f5tts import hub_folder
from tools.servers.hub import Hub
from tools.servers.runpod_platform import Platform
from tools.servers.seaweed import SeaweedFS
from tools.story import Chapter, chapters

_BUCKET = "story"
_PHASES = ("imports", "wait", "load", "warm-up")
_NUDGE = 1e-3


def main() -> int:
    """Play the story once, and return 1 when a chapter did not end as it should, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.story", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("build/bench-story.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cas-story-") as folder, _deployment(Path(folder)) as (deployment, url):
        newer = Path(folder) / "newer"
        hub_folder(newer, nudge=_NUDGE)
        played = []
        for chapter in chapters(deployment, open_store(url), newer):
            played.append(chapter)
            print(_line(chapter), flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    receipts = {chapter.title: chapter.receipt for chapter in played}
    options.json.write_text(json.dumps(receipts, indent=1) + "\n")
    wrong = list(_wrong(played))
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    return bool(wrong)


@contextlib.contextmanager
def _deployment(folder: Path) -> Iterator[tuple[Deployment, str]]:
    """Start a deployment with a full-size model on its hub and an empty bucket, set the bucket's variables, and yield
    it with the URL of its store.
    """
    hub_folder(folder / "hub")
    with SeaweedFS(folder / "seaweed") as server, Platform() as platform, Hub(folder / "hub") as hub:
        server.create_bucket(_BUCKET)
        environment = {**server.env(_BUCKET, "publisher"), "S3_BUCKET": _BUCKET}
        url = environment.pop("CAS_STORE")
        python = worker_env.python(worker_env.folder())
        client = worker_env.python(worker_env.reference_folder())
        deployment = Deployment(python, client, folder, platform, hub, environment)
        os.environ.update(environment)
        try:
            yield deployment, url
        finally:
            deployment.kill()


def _line(chapter: Chapter) -> str:
    receipt, answer = chapter.receipt, chapter.answer
    if answer is None:
        return f"{chapter.title:28} exit code {chapter.exit_code}: {len(receipt['causes'])} causes told"
    steps = ", ".join(f"{name} {_seconds(receipt, name):.2f}" for name in _PHASES)
    moved = (receipt["bytes_fetched"] + receipt["bytes_downloaded"]) / 1e9
    return (
        f"{chapter.title:28} ready {receipt['seconds_ready']:6.2f} s from {receipt['source']:6} ({moved:.2f} GB; "
        f"{steps}); {answer['seconds']:.1f} s of audio in {sum(answer['timings'].values()):.1f} s"
    )


def _seconds(receipt: dict[str, Any], phase: str) -> float:
    return float(sum(step["seconds"] for step in receipt["phases"] if step["name"] == phase))


def _wrong(played: list[Chapter]) -> Iterator[str]:
    """Yield a text for each chapter that did not end as it should."""
    first = played[0].answer or {}
    for chapter, source in zip(played, ("hub", "store", "store", "store", "hub", None), strict=True):
        answer = chapter.answer or {}
        if source is None:
            if chapter.exit_code != 6 or len(chapter.receipt["causes"]) < 2:
                yield f"{chapter.title}: exit code {chapter.exit_code}, causes {chapter.receipt['causes']}"
            continue
        if chapter.receipt["source"] != source:
            yield f"{chapter.title}: the model came from {chapter.receipt['source']}, not from {source}"
        if chapter is played[0]:
            continue
        if source == "store" and answer["model"] != f"blake3:{chapter.version}":
            yield f"{chapter.title}: {answer['model']} spoke, not {chapter.version}"
        same = source == "hub" or chapter.version == played[0].version
        if (answer["audio"] == first["audio"]) is not same:
            yield f"{chapter.title}: its audio is {'not ' if same else ''}that of the first worker"


if __name__ == "__main__":
    sys.exit(main())
