"""Without huggingface_hub: what needs it says so in one line, and everything else works."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import cas
from cas.errors import InputError
from cas.ops.doctor.findings import Findings
from cas.ops.doctor.hub import examine_hub
from tests.support.models import write_tree

INSTALL = r"huggingface_hub, which is not installed: pip install 'model-cas\[hub\]'"


@pytest.fixture(autouse=True)
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


def test_a_publish_that_downloads_names_the_extra_and_leaves_the_store_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=INSTALL):
        cas.publish(
            "m", cas.Source.from_repos(["org/model"]), cas.open_store(str(tmp_path / "store")), cache_dir=tmp_path
        )
    assert not (tmp_path / "store").exists()


def test_folders_are_published_and_restored_and_a_restore_needs_no_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.random.default_rng(1).standard_normal(100_000, np.float32).tobytes()
    tree = write_tree(tmp_path / "tree", {"weights.bin": weights})
    store = cas.open_store(str(tmp_path / "store"))
    cas.publish("m", cas.Source.from_folder(tree, "org/model"), store)
    monkeypatch.setitem(sys.modules, "numpy", None)
    done = cas.restore("m", store, cache_dir=tmp_path / "cache")
    assert Path(done.snapshots["org/model"], "weights.bin").read_bytes() == weights


def test_the_doctor_names_the_extra() -> None:
    findings = Findings(lambda finding: None)
    examine_hub(findings, None)
    (hub,) = [finding for finding in findings.found if finding.name == "hub"]
    assert (hub.status, hub.found) == ("warning", "huggingface_hub is not installed")
    assert hub.advice.startswith("pip install 'model-cas[hub]'")
