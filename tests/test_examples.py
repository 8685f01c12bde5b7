"""The examples run, or are what the guides show and tests run there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.support.in_process import call_cas
from tests.support.processes import until
from tests.support.served import nothing_outside
from tools.models.minilm import model_dir
from tools.servers.process import free_ports

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
REPO = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.timeout(300)
def test_the_embedding_worker_answers_a_job_of_the_real_sdk(clients_python: Path, tmp_path: Path) -> None:
    variables = {"CAS_STORE": str(tmp_path / "store"), "HF_HOME": str(tmp_path / "hf")}
    published = call_cas("publish", "minilm", "--dir", str(model_dir()), "--as", REPO, env=variables)
    version = published.stdout.strip()
    assert call_cas("pin", "my-endpoint", version, env=variables).returncode == 0
    (port,) = free_ports(1)
    worker = [clients_python, EXAMPLES / "runpod-embeddings/handler.py", "--rp_serve_api", "--rp_api_port", str(port)]
    with nothing_outside() as proxies, open(tmp_path / "log", "w+b") as log:
        environment = {**os.environ, **variables, **proxies, "CAS_DEPLOYMENT": "my-endpoint", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(worker, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            output = _answer(process, port, {"texts": ["a cat", "a kitten", "double-entry bookkeeping"]}, tmp_path)
            refused = _answer(process, port, {"texts": "a cat"}, tmp_path)
        finally:
            process.kill()
            process.wait()
    cat, kitten, books = output["embeddings"]
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, books))
    assert len(cat) == 384 and near > 0.5 > far
    assert refused == "texts: a list of strings is wanted"
    assert output["version"] == version


def _answer(process: subprocess.Popen[bytes], port: int, given: dict[str, Any], folder: Path) -> Any:
    """Return what the worker answers to a job, as soon as it takes jobs; its error, where that is the answer."""
    body = json.dumps({"input": given}).encode()
    request = Request(f"http://127.0.0.1:{port}/runsync", body, {"Content-Type": "application/json"})
    answers: list[Any] = []

    def answered() -> bool:
        assert process.poll() is None, (folder / "log").read_text("utf-8")
        with contextlib.suppress(URLError), build_opener(ProxyHandler({})).open(request, timeout=60) as response:
            answers.append(json.load(response))
        return bool(answers)

    until(answered, timeout=180)
    return answers[0].get("output") or answers[0]["error"]


def test_the_worker_is_short() -> None:
    assert len((EXAMPLES / "runpod-embeddings/handler.py").read_text("utf-8").splitlines()) <= 60


@pytest.mark.parametrize("folder", ["vllm", "transformers", "diffusers", "comfyui"])
def test_an_example_is_what_its_guide_shows(folder: str) -> None:
    guide = (ROOT / f"docs/guides/{folder}.md").read_text("utf-8")
    commands = [
        line for line in (EXAMPLES / folder / "start.sh").read_text("utf-8").splitlines()[2:] if line != "set -e"
    ]
    assert commands and {f"$ {command}" for command in commands} <= set(guide.splitlines())
    for program in (EXAMPLES / folder).glob("*.py"):
        assert f"```python\n{program.read_text('utf-8')}```" in guide


def test_every_example_is_listed() -> None:
    index = (EXAMPLES / "README.md").read_text("utf-8")
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(
        re.findall(r"^\| \[([\w-]+)\]", index, re.MULTILINE)
    )
