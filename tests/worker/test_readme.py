"""The worker's documents are true: the ten lines work in their order, and the policies let a worker do its work."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import write_tree
from tools.servers import seaweed_identities
from tools.servers.hub import Hub
from worker.jobs import references, schema, shapes, upload, voices

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "worker/README.md").read_text()


def _lines() -> list[str]:
    """Each `cas` command of the ten lines, in their order."""
    steps = re.findall(r"^\d+\. (.*)$", README.partition("\n## Jobs")[0], re.MULTILINE)
    assert len(steps) == 10
    commands = [command for step in steps for command in re.findall(r"`(cas [^`]+)`", step)]
    return [command for command in commands if " " in command[4:]]


def _safetensors() -> bytes:
    header = json.dumps({"ema_model.w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


@pytest.mark.timeout(120)
def test_the_ten_lines_work_in_their_order(tmp_path: Path) -> None:
    hub = tmp_path / "models"
    write_tree(hub / "SWivid/F5-TTS/F5TTS_v1_Base", {"model_1250000.safetensors": _safetensors(), "vocab.txt": b"a\n"})
    write_tree(hub / "charactr/vocos-mel-24khz", {"config.yaml": b"a: 1\n", "pytorch_model.bin": b"v" * 5000})
    environment = {**os.environ, "CAS_STORE": str(tmp_path / "store"), "HF_HUB_CACHE": str(tmp_path / "cache")}
    said = []
    with Hub(hub) as server:
        for line in _lines():
            words = shlex.split(line.replace("<endpoint id>", "my-endpoint"))
            ran = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env={**environment, "HF_ENDPOINT": server.url},
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, f"{line}\n{ran.stderr}"
            said.append((words[1], re.findall(r"@(\w{12})", ran.stdout)))
    assert [verb for verb, _ in said] == ["publish", "pin", "derive", "pin", "rollback"]
    (_, pinned), (_, moved), (_, back) = (found for found in said if found[0] in ("pin", "rollback"))
    assert pinned == back and moved != pinned, "the last line goes back to what was pinned first"


def test_every_field_and_format_of_a_job_is_described() -> None:
    jobs = README.partition("\n## Jobs\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", jobs, re.MULTILINE) == list(schema.FIELDS)
    (formats,) = re.findall(r"^\| `format` \| (.*) \| `wav` \|$", jobs, re.MULTILINE)
    assert re.findall(r"`(\w+)`", formats) == list(schema.FORMATS)
    for names in (shapes._RUNPOD, shapes._RUNPOD_IGNORED, shapes._OPENAI, shapes._OPENAI_IGNORED):
        assert [name for name in names if f"`{name}`" not in jobs] == []
    for number in (f"{schema.MAX_TEXT:,} characters", f"{references.MAX_VOICES} at most"):
        assert number in jobs


def test_the_job_that_is_shown_is_one() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    request = schema.parse(json.loads(block))
    assert [turn.voice for turn in request.turns] == ["main", "town", "main", "country"]


def test_a_worker_may_do_what_it_does_and_no_more() -> None:
    policies = _policies()
    assert list(policies) == ["Reader", "Publisher", "Worker", "Collector", "SignedWorker"]
    worker = policies["Worker"]
    for action, key in (
        ("s3:GetObject", "cas/format.json"),
        ("s3:PutObject", "cas/leases/x"),
        ("s3:GetObject", f"{voices.FOLDER}/ann/ann.wav"),
        ("s3:PutObject", f"{upload.FOLDER}/job.wav"),
        ("s3:GetObject", f"{upload.FOLDER}/job.wav"),  # for who has its URL
    ):
        assert _allows(worker, action, key), (action, key)
    for prefix in ("cas", "cas/refs/", voices.FOLDER, f"{voices.FOLDER}/ann/"):
        listing = [one for one in worker if "s3:ListBucket" in one["Action"]]
        assert any(
            fnmatchcase(prefix, given) for one in listing for given in one["Condition"]["StringLike"]["s3:prefix"]
        )
    for action, key in (
        ("s3:PutObject", f"{voices.FOLDER}/ann/ann.wav"),
        ("s3:DeleteObject", "cas/chunks/x"),
        ("s3:GetObject", "other"),
    ):
        assert not _allows(worker, action, key), (action, key)


def test_a_worker_of_signed_releases_moves_no_ref_and_does_the_rest() -> None:
    """The same policy is that of an identity of the local S3 server: tests/refs/test_roles.py restores with it."""
    worker, signed = (_policies()[name] for name in ("Worker", "SignedWorker"))
    assert signed[:2] == [{**worker[0], "Sid": "SignedWorker"}, worker[1]], "it reads the same"
    written = [f"cas/{folder}/x" for folder in ("chunks", "manifests", "leases", "receipts")]
    for key in (*written, f"{upload.FOLDER}/job.wav"):
        assert _allows(signed, "s3:PutObject", key), key
    for key in ("cas/refs/tags/m/latest/x", "cas/refs/pins/d/m/x", "cas/format.json", f"{voices.FOLDER}/ann/ann.wav"):
        assert not _allows(signed, "s3:PutObject", key), key
    own = [resource for resource in signed[2]["Resource"] if "/cas/" in resource]
    assert [resource.replace("my-models", "*") for resource in own] == seaweed_identities.SIGNED_WORKER_WRITES


def _policies() -> dict[str, list[dict[str, Any]]]:
    text = (ROOT / "docs/operations/permissions.md").read_text()
    blocks = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return {block["Statement"][0]["Sid"]: block["Statement"] for block in blocks if "Statement" in block}


def _allows(statements: list[dict[str, Any]], action: str, key: str) -> bool:
    def several(given: str | list[str]) -> list[str]:
        return [given] if isinstance(given, str) else given

    return any(
        action in several(one["Action"])
        and any(fnmatchcase(f"arn:aws:s3:::my-models/{key}", resource) for resource in several(one["Resource"]))
        for one in statements
    )
