"""The workflow that makes releases, and that of a guide: actions are named by digest; unsigned tags end a release."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/release.yml"
TAG = "v9.9.9"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]["release"]
    return found


def git(folder: Path, *words: str, **variables: str) -> None:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", **variables}
    subprocess.run(["git", *identity, *words], cwd=folder, env=environment, check=True, capture_output=True)


def key(path: Path) -> str:
    """Make a key of OpenSSH and return the line of its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository with tags that are signed, signed by somebody else, annotated and plain; and the allowed signer."""
    folder = tmp_path_factory.mktemp("clone")
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=one")
    git(folder, "tag", "v-plain")
    git(folder, "tag", "--annotate", "--message=no", "v-annotated")
    allowed = key(folder / "maintainer")
    key(folder / "somebody")
    for name, signer in ((TAG, "maintainer"), ("v-foreign", "somebody")):
        settings = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={folder / signer}"]
        git(folder, *settings, "tag", "--sign", "--message=a release", name)
    return folder, f"maintainer@example.com {allowed}"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH makes the keys")
@pytest.mark.parametrize(
    ("tag", "goes_on"), [(TAG, True), ("v-foreign", False), ("v-annotated", False), ("v-plain", False)]
)
def test_only_a_tag_that_a_maintainer_signed_goes_on(
    job: dict[str, Any], clone: tuple[Path, str], tmp_path: Path, tag: str, goes_on: bool
) -> None:
    folder, allowed = clone
    (step,) = [step for step in job["steps"] if step.get("name") == "A maintainer signed the tag"]
    variables = {"TAG": tag, "ALLOWED_SIGNERS": allowed, "RUNNER_TEMP": str(tmp_path), "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]  # as a runner calls it
    done = subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True, check=False)
    assert (done.returncode == 0) is goes_on, done.stderr


def test_nothing_is_built_or_published_before_the_tag_was_looked_at(job: dict[str, Any]) -> None:
    names = [step.get("name") or step["uses"].partition("@")[0] for step in job["steps"]]
    first = names.index("A maintainer signed the tag")
    assert set(names[:first]) == {"actions/checkout", "actions/setup-python"}
    assert names.index("actions/attest") < names.index("Publish") == len(names) - 1


def test_actions_are_named_by_digest_and_get_no_more_than_they_need(job: dict[str, Any]) -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {}
    assert job["permissions"] == {"contents": "write", "id-token": "write", "attestations": "write"}
    assert job["steps"][0]["with"]["persist-credentials"] is False
    named: dict[str, str] = {}
    for text in (WORKFLOW.read_text(), (ROOT / "docs/guides/signing.md").read_text()):
        used = re.findall(r"uses: (.*)", text)
        assert len(used) >= 2
        for action in used:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", action), action
            name, _, version = action.partition("@")
            assert named.setdefault(name, version) == version, "one version of each"


def test_its_commands_take_no_text_of_the_event_and_name_targets_that_there_are(job: dict[str, Any]) -> None:
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    assert "${{" not in commands, "a tag's name would become a part of the script"
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", commands, re.MULTILINE)
    assert targets == ["dist", "sbom"] and all(f"\n{target}:" in makefile for target in targets)
