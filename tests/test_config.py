"""Variables are read in one place, each in the same way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cas import config
from cas.errors import InputError
from cas.local.variables import VARIABLES

ROOT = Path(__file__).parent.parent
READ_ELSEWHERE = {
    "cas/bucket/clouds/google.py": "refuses what the client would read beside its key",
    "cas/cli/main.py": "click's own protocol for completion",
    "cas/cli/complete/shells.py": "the same: the line as it was typed, whose blanks count",
    "cas/ops/inspect/settings.py": "lists which variables are set",
    "cas/store/choice.py": "tells an empty name of a store from none",
    "cas/bucket/forked.py": "hands the environment on",
    "cas/cli/options.py": "hands the environment on",
    "worker/model/ref_reader.py": "hands the environment on",
    "worker/model/source_chain.py": "hands the environment on",
    "worker/boot/settings.py": "hands the environment on",
    "worker/boot/process.py": "hands the environment on",
    "worker/__main__.py": "finds what the worker set itself",
}


def test_one_module_reads_the_environment() -> None:
    reading = re.compile(r"os\.environ(?!\.update|\.setdefault|\[[^]]*\] = )|os\.getenv")
    modules = [path for folder in ("cas", "worker") for path in (ROOT / folder).rglob("*.py")]
    readers = {path.relative_to(ROOT).as_posix() for path in modules if reading.search(path.read_text())}
    assert readers - {"cas/config.py"} <= READ_ELSEWHERE.keys()


def test_every_variable_is_listed() -> None:
    named = re.compile(r'"((?:AWS|AZURE|CAS|GOOGLE|HF|HUGGINGFACE|REQUESTS|RUNPOD|S3|SSL|XDG)_[A-Z0-9_]+)"')
    found = {name for path in (ROOT / "cas").rglob("*.py") for name in named.findall(path.read_text())}
    written = {"HF_HUB_DISABLE_SHARED_BLOBS"}  # for a library or a command; not read
    unset = {"HF_DATASETS_OFFLINE"}  # for the command of `cas serve`
    assert found - {variable.name for variable in VARIABLES} - written - unset == set()


@pytest.mark.parametrize(
    ("given", "name"),
    [("b", "b"), (" b\n", "b"), ("s3://b", "b"), ("S3://b/", "b"), ("", ""), (" ", "")],
)
def test_the_bucket_s_name(monkeypatch: pytest.MonkeyPatch, given: str, name: str) -> None:
    monkeypatch.setenv("S3_BUCKET", given)
    assert config.bucket_name() == name


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("b/cas", r"S3_BUCKET is 'b/cas': write the bucket's name alone, or CAS_STORE=s3://b/cas for a store"),
        ("s3://b/x/y", r"or CAS_STORE=s3://b/x/y"),
        ("key:secret@b", r"^S3_BUCKET: write the bucket's name alone$"),
        ("https://b.example", r"S3_BUCKET is 'https://b.example': write the bucket's name alone$"),
        ("two words", r"S3_BUCKET is 'two words'"),
    ],
)
def test_what_is_no_bucket_s_name(monkeypatch: pytest.MonkeyPatch, given: str, says: str) -> None:
    monkeypatch.setenv("S3_BUCKET", given)
    with pytest.raises(InputError, match=says):
        config.bucket_name()


def test_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, meant in (("", None), (" TRUE\n", True), ("1", True), ("off", False), ("No", False)):
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", given)
        assert config.switch("AWS_SKIP_SIGNATURE") is meant
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "maybe")
    with pytest.raises(InputError, match="AWS_SKIP_SIGNATURE is 'maybe': write true or false"):
        config.switch("AWS_SKIP_SIGNATURE")


def test_a_clean_environment() -> None:
    code = (
        "import os; from cas import config; was = dict(os.environ); config.clean_environment();"
        "print(*(f'{name}={os.environ.get(name)!r}' for name in was if was[name] != os.environ.get(name)), sep=';');"
        "assert config.inherited() == was"
    )
    given = {
        "HF_TOKEN": "t\n",
        "AWS_PROFILE": "",
        "http_proxy": "",
        "HTTPS_PROXY": " http://p\n",
        "CAS_SEEDS": "a ",
        "X": " ",
    }
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given}
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert set(ran.stdout.strip().split(";")) == {"HF_TOKEN='t'", "AWS_PROFILE=None", "HTTPS_PROXY='http://p'"}
