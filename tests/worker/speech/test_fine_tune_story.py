"""The story of a deployment with a private fine-tune: published from its folder, pinned, spoken, and rolled back."""

from __future__ import annotations

from typing import Any

import pytest

from cas.store.store import Store
from tests.support.processes import run_cas
from tests.worker.speech.conftest import FineTunes
from tools.deployment import ENDPOINT, Deployment


@pytest.mark.timeout(600)
def test_a_private_fine_tune_runs_from_its_own_name(deployment: Deployment, shop: Store, fine_tunes: FineTunes) -> None:
    def operator(*words: str) -> str:
        environment = {**deployment.environment, "CAS_STORE": shop.url, "HF_ENDPOINT": deployment.hub.url}
        done = run_cas(*words, env={**environment, "HF_HUB_CACHE": f"{deployment.folder}/operator"})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    operator("publish", "vocos", "--source", "vocos")
    deployment.hub.down = True
    versions = []
    for folder in fine_tunes.plain["answers"]:
        words = ["--source", "fine-tune", "--dir", folder, "--as", "my-org/my-voice"]
        versions.append(operator("publish", "my-voice", *words))
        operator("pin", ENDPOINT, "my-voice")
    first, second = fine_tunes.plain["answers"].values()

    def spoken() -> dict[str, Any]:
        # The deployment names the tiny config of the hub's model: here it is the version's own that counts.
        deployment.start(CAS_MODEL=f"pin:{ENDPOINT}/my-voice", CAS_F5_CONFIG="")
        return deployment.run_job(**fine_tunes.plain["job"])

    answer = spoken()
    assert (answer["model"], answer["audio"]) == (versions[1].partition("@")[2], second)
    receipt = deployment.receipt()
    assert receipt["source"] == "store"
    assert set(receipt["snapshots"]) == {"my-org/my-voice", "charactr/vocos-mel-24khz"}
    assert (receipt["bytes_downloaded"], receipt["warnings_count"]) == (0, 0)
    assert receipt["files"]["weights"].endswith("/model_last.pt")

    operator("rollback", f"pin:{ENDPOINT}/my-voice")
    deployment.lose_machine()
    answer = spoken()
    assert (answer["model"], answer["audio"]) == (versions[0].partition("@")[2], first)
    assert first != second
