"""The whole story of a deployment: the real worker, SDK, F5-TTS and clients, on this machine."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cas.store.receipt import Interval, covered
from cas.store.receipts import read_receipts
from cas.store.store import Store
from tools.deployment import ENDPOINT, JOB, Deployment, write_tiny_models
from tools.servers.process import free_ports
from tools.servers.seaweed import SeaweedFS
from tools.story import chapters

GUARDED = Path(__file__).with_name("guarded")
"""In PYTHONPATH it writes down each connection of a process."""


def named_share(line: dict[str, Any]) -> float:
    """Return which share of a boot's wall time some phase of its cold-start line covers."""
    phases = [Interval(each["name"], each["at"], each["at"] + each["seconds"]) for each in line["phases"]]
    return covered(phases) / (line["seconds_ready"] - min(phase.begun for phase in phases))


@pytest.mark.timeout(600)
def test_from_an_empty_bucket_to_a_pinned_version_and_without_bucket_or_hub(
    deployment: Deployment, shop: Store, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = deployment.folder / "connections"
    monkeypatch.setenv("PYTHONPATH", f"{GUARDED}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("CONNECTIONS_LOG", str(connections))
    write_tiny_models(deployment.python, deployment.folder / "newer", 2)
    story = chapters(deployment, shop, deployment.folder / "newer")

    first = next(story)
    assert first.answer and "error" not in first.answer, first
    assert first.receipt["source"] == "hub"

    offline = next(story)
    assert offline.answer and offline.receipt["source"] == "store"
    assert offline.receipt["bytes_downloaded"] == 0
    assert "no pin of deployment" in offline.receipt["version_reason"]
    assert (offline.answer["audio"], offline.answer["seed"]) == (first.answer["audio"], first.answer["seed"])
    assert offline.answer["model"] == f"blake3:{first.version}"

    # Boots from the hub and from the store, jobs and a publish: nobody else was asked for anything, or told anything.
    ours = {urlsplit(url).netloc for url in (deployment.platform.url, deployment.hub.url, seaweed.endpoint)}
    noted = [json.loads(line) for line in connections.read_text().splitlines()]
    assert {f"{host}:{port}" for _, host, port in noted} - ours == set()
    for url in (deployment.platform.url, deployment.hub.url):
        assert ["socket.connect", urlsplit(url).hostname, urlsplit(url).port] in noted

    pinned = next(story)
    assert pinned.answer and pinned.answer["model"] == f"blake3:{pinned.version}"
    assert pinned.version != first.version
    assert pinned.answer["audio"] != first.answer["audio"]
    assert pinned.receipt["version_reason"] == f"pin of deployment {ENDPOINT}"

    moved_back = next(story)
    assert moved_back.answer and moved_back.answer["model"] == f"blake3:{first.version}"
    assert moved_back.answer["audio"] == first.answer["audio"]
    kept = [stored.receipt for stored in read_receipts(shop, ENDPOINT).receipts]
    assert len(kept) == 3
    for receipt in kept:
        assert receipt.ok and receipt.named / receipt.wall >= 0.98, receipt.phases
        assert {"imports", "wait", "load", "warm-up", "handler", "fitness"} <= {each.name for each in receipt.phases}
    for line in (first.receipt, offline.receipt, pinned.receipt, moved_back.receipt):
        assert named_share(line) >= 0.98, line["phases"]

    from_hub = next(story)
    assert from_hub.answer and from_hub.answer["audio"] == first.answer["audio"]
    assert from_hub.receipt["source"] == "hub"
    assert any("no connection could be made" in warning for warning in from_hub.receipt["warnings"])

    nothing = next(story)
    assert nothing.exit_code == 6
    causes = " ".join(nothing.receipt["causes"])
    assert "no connection could be made" in causes
    assert "Hugging Face: " in causes


@pytest.mark.timeout(200)
def test_the_sdks_own_server_answers(deployment: Deployment) -> None:
    (port,) = free_ports(1)
    quiet = {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true"}
    words = ["--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)]
    server = deployment.run("served.log", {**deployment.variables(), **quiet}, *words)
    body = json.dumps({"input": JOB}).encode()
    deadline = time.monotonic() + 120
    while True:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/runsync", body, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = json.load(response)
            break
        except OSError:
            assert time.monotonic() < deadline and server.poll() is None, (deployment.folder / "served.log").read_text()
            time.sleep(0.3)
    assert answer["status"] == "COMPLETED", answer
    assert answer["output"]["sample_rate"] == 24_000
