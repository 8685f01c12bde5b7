"""The whole story of a deployment: the real worker, SDK, F5-TTS and clients, on this machine."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request

import pytest

import cas
from cas.refs.reflog import Ref, RefLog
from cas.store import Store
from tests.worker.deployment import ENDPOINT, JOB, Deployment, tiny
from tools.child import free_ports, spawn


def _published(store: Store, seconds: float = 120) -> str:
    """The digest of f5-tts:latest, once there is one."""
    log, deadline = RefLog(store, Ref("tags", "f5-tts", "latest")), time.monotonic() + seconds
    while (digest := log.current_digest()) is None:
        assert time.monotonic() < deadline, "nothing was published in the background"
        time.sleep(0.2)
    return digest


@pytest.mark.timeout(600)
def test_from_an_empty_bucket_to_a_pinned_version(deployment: Deployment, shop: Store) -> None:
    # An empty bucket: from the hub, and published once a job was answered.
    deployment.start()
    first = deployment.ask()
    assert "error" not in first, first
    assert deployment.receipt()["source"] == "hub"
    one = _published(shop)
    deployment.kill()

    # A new worker with an empty disk, and no hub: from the bucket, the same audio.
    shutil.rmtree(deployment.models)
    deployment.hub.down = True
    deployment.start()
    second = deployment.ask()
    assert (second["audio"], second["seed"]) == (first["audio"], first["seed"])
    assert second["model"] == f"blake3:{one}"
    receipt = deployment.receipt()
    assert (receipt["source"], receipt["bytes_downloaded"]) == ("store", 0)
    assert deployment.hub.requests[-1][0] and "no pin of deployment" in receipt["version_reason"]
    deployment.kill()

    # A newer version is published, and the endpoint is pinned to the older one.
    shutil.rmtree(deployment.models)
    root = deployment.folder / "newer"
    tiny(deployment.python, root, 2)
    newer = root / "SWivid/F5-TTS"
    (newer / "F5TTS_v1_Base/config.yaml").unlink()
    two = cas.publish("f5-tts", cas.Source.from_folder(newer, "SWivid/F5-TTS"), shop).reference
    RefLog(shop, Ref("pins", ENDPOINT, "f5-tts")).append(one, "it hissed")
    deployment.start()
    third = deployment.ask()
    assert (third["audio"], third["model"]) == (first["audio"], f"blake3:{one}")
    assert two.partition("@")[2] != third["model"]
    assert deployment.receipt()["version_reason"] == f"pin of deployment {ENDPOINT}"
    assert len(shop.bucket.list(f"receipts/{ENDPOINT}")) == 2


@pytest.mark.timeout(300)
def test_without_the_bucket_it_starts_from_the_hub_and_without_both_it_says_so(deployment: Deployment) -> None:
    (port,) = free_ports(1)
    nowhere = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    deployment.start(**nowhere)
    answer = deployment.ask()
    assert "error" not in answer, answer
    receipt = deployment.receipt()
    assert receipt["source"] == "hub"
    assert any("no connection could be made" in warning for warning in receipt["warnings"])
    deployment.kill()

    shutil.rmtree(deployment.models)
    deployment.hub.down = True
    worker = deployment.start(**nowhere)
    assert worker.wait(timeout=120) == 6
    causes = " ".join(deployment.receipt()["causes"])
    assert "no connection could be made" in causes
    assert "Hugging Face: " in causes


@pytest.mark.timeout(200)
def test_the_sdks_own_server_answers(deployment: Deployment) -> None:
    (port,) = free_ports(1)
    environment = {
        **deployment.environment,
        "HF_ENDPOINT": deployment.hub.url,
        "CAS_CACHE_DIRS": str(deployment.models),
        "CAS_F5_CONFIG": str(deployment.hub.root / "SWivid/F5-TTS/F5TTS_v1_Base/config.yaml"),
        "HOME": str(deployment.folder),
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }
    command = [str(deployment.python), "-m", "worker", "--rp_serve_api", "--rp_api_host", "127.0.0.1"]
    log = deployment.folder / "served.log"
    server = spawn([*command, "--rp_api_port", str(port)], log, environment)
    deployment.workers.append(server)
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
            assert time.monotonic() < deadline and server.poll() is None, log.read_text()
            time.sleep(0.3)
    assert answer["status"] == "COMPLETED", answer
    assert answer["output"]["sample_rate"] == 24_000
