"""The wheel and the source archive: two builds of one commit are equal, whoever makes them, wherever and when."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from cas.version import __version__
from tools import dist
from tools.dist import DistError

EPOCH = 1_700_000_000
OTHERS = ("CHANGELOG.md", "LICENSE", "README.md", "hatch_build.py", "pyproject.toml", ".gitignore")
FILES = ("cas", "docs/man", "manifests", *OTHERS)


def copied(folder: Path) -> Path:
    """Return a copy of what the project's own archives are made of."""
    folder.mkdir(parents=True)
    for name in FILES:
        source = dist.ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)
    return folder


def git(folder: Path, *words: str) -> None:
    at = f"{EPOCH} +0900"
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
    variables = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at, "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(
        ["git", *identity, *words], cwd=folder, env={**os.environ, **variables}, check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit, and a file beside it that belongs to no commit."""
    folder = copied(tmp_path_factory.mktemp("clone") / "model-cas")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=all")
    (folder / "cas/notes.py").write_text("TOKEN = 'mine'\n")
    return folder


@pytest.fixture(scope="module")
def files(clone: Path) -> dict[str, bytes]:
    """The wheel and the source archive of the clone's commit."""
    return dist.of_commit("HEAD", clone)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another machine: time zone, language, order of hashes."""
    for name, value in {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "USER": "other"}.items():
        monkeypatch.setenv(name, value)
    yield


@pytest.mark.usefixtures("elsewhere")
def test_somebody_else_builds_the_same_bytes(files: dict[str, bytes], tmp_path: Path) -> None:
    other = copied(tmp_path / "of another name")
    for path in other.rglob("*"):
        os.utime(path, (EPOCH + 12345, EPOCH + 12345))
        path.chmod(0o777 if path.is_dir() else 0o666)
    (other / "cas/__pycache__").mkdir()
    (other / "cas/__pycache__/errors.cpython-311.pyc").write_bytes(b"compiled")
    (tmp_path / "dist").mkdir()
    assert dist.build(other, tmp_path / "dist", EPOCH, umask=0o077) == files


def test_the_source_archive_makes_the_same_wheel(files: dict[str, bytes], tmp_path: Path) -> None:
    archive, wheel = sorted(files, key=lambda name: name.endswith(".whl"))
    (tmp_path / archive).write_bytes(files[archive])
    shutil.unpack_archive(tmp_path / archive, tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    (tmp_path / "dist").mkdir()
    assert dist.build(source, tmp_path / "dist", EPOCH)[wheel] == files[wheel]


def test_they_hold_the_commit_and_no_file_beside_it(files: dict[str, bytes]) -> None:
    assert sorted(files) == [f"model_cas-{__version__}-py3-none-any.whl", f"model_cas-{__version__}.tar.gz"]
    with zipfile.ZipFile(BytesIO(files[f"model_cas-{__version__}-py3-none-any.whl"])) as wheel:
        assert "cas/errors.py" in wheel.namelist() and "cas/notes.py" not in wheel.namelist()
        names = set(wheel.namelist())
        assert f"model_cas-{__version__}.data/data/share/man/man1/cas-restore.1" in names
        report = dist.ROOT / "cas/ops/report/page"
        assert {f"cas/ops/report/page/{path.name}" for path in report.iterdir()} <= names
        about = f"model_cas-{__version__}.dist-info"
        metadata = wheel.read(f"{about}/METADATA").decode()
        assert "License-Expression: Apache-2.0 AND MIT\n" in metadata
        assert {f"{about}/licenses/{name}" for name in ("LICENSE", "cas/ops/report/page/chart.LICENSE.md")} <= names
        assert {"cas/py.typed", "cas/hub/sources/f5-tts.toml"} <= names
        assert not [name for name in names if name.startswith(("tests", "tools", "worker", "docs", "examples"))]
        # Zip files count seconds by two, in a time without a zone: it is UTC here.
        assert {info.date_time for info in wheel.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_the_sums_are_those_that_sha256sum_reads(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    checked = subprocess.run(
        ["sha256sum", "-c", "-"], input=dist.sums(files), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.stdout.count(": OK\n") == 2 and checked.returncode == 0


def test_builds_that_differ_are_an_error(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "build", lambda source, into, epoch, umask: {"wheel": bytes([umask % 251])})
    with pytest.raises(DistError, match=hashlib.sha256(bytes([0o022])).hexdigest()):
        dist.of_commit("HEAD", clone)


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    with pytest.raises(DistError, match="hatchling failed"):
        dist.build(tmp_path, tmp_path, EPOCH)
    with pytest.raises(DistError, match="git log"):
        dist.of_commit("HEAD", tmp_path)


def test_a_tag_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tools.dist", "--tag", "v0.0.1"])
    with pytest.raises(SystemExit, match=rf"the tag is v0\.0\.1 and cas/version\.py says {__version__}"):
        dist.main()
