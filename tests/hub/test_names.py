"""Names that a hub sends become no path outside its repo's folder, in any version of huggingface_hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cas.errors import FormatError, StoreError
from cas.hub import names
from tests.hub.hostile_hub import COMMIT, ETAG, LIES, hostile_hub
from tests.support.hub import HUBS, ROOT
from tests.support.processes import run_cas

GATHER = """
import json, sys
from pathlib import Path
from cas import events
from cas.config import CacheDirs
from cas.errors import CasError
from cas.hub.download import ErrorWording, download_file
from cas.hub.gather import gather
from cas.hub.source import RepoSource, Source
home, repos = Path(sys.argv[1]), sys.argv[2:]
found = {}
def attempt(name, work):
    try:
        found[name] = ["taken", str(work())]
    except CasError as error:
        found[name] = [type(error).__name__, str(error)]
for repo in repos:
    dirs = CacheDirs(home / repo / "hub", home / repo)
    attempt(repo, lambda: gather(Source.from_repos(["o/" + repo]), dirs, events.ignore, download=True))
    one = RepoSource("o/" + repo, revision="c" * 40)
    if not repo.startswith(("path", "sha")):
        attempt("file " + repo, lambda: download_file(one, "config.json", dirs.hub, ErrorWording(subject=repo)))
import huggingface_hub
found["version"] = huggingface_hub.__version__
print(json.dumps(found))
"""

TRUE = {f"blobs/{ETAG}", f"snapshots/{COMMIT}/config.json", f"trees/{COMMIT}.json", "refs/main"}


def gather(version: str, home: Path, endpoint: str, *repos: str) -> dict[str, list[str]]:
    """What became of the download of each repo, by one version of huggingface_hub: an error's class and text."""
    (client,) = (ROOT / ".venv/hubs" / version).glob("lib/python3*/site-packages")
    env = {**os.environ, "PYTHONPATH": f"{client}:{ROOT}", "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", GATHER, str(home), *repos],
        env={**env, "HF_HOME": str(home / "none")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[str]] = json.loads(ran.stdout.splitlines()[-1])
    assert found.pop("version")[: len(version)] == version  # type: ignore[comparison-overlap]
    return found


@pytest.mark.parametrize("version", HUBS)
def test_no_lie_of_a_hub_is_written_anywhere(version: str, tmp_path: Path) -> None:
    home = tmp_path / "deep/er/and/deeper"
    with hostile_hub() as url:
        found = gather(version, home, url, "true", *LIES)
    assert found["true"][0] == found["file true"][0] == "taken"
    assert {name: kind for name, (kind, _) in found.items() if kind != "FormatError"} == {
        "true": "taken",
        "file true": "taken",
    }
    assert all(url in text and "\n" not in text for kind, text in found.values() if kind != "taken")
    for repo in LIES:
        root = (home / repo / "hub" / f"models--o--{repo}").resolve()
        written = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}
        assert written <= TRUE, repo
        assert not any(path.is_file() for path in (root / "blobs").glob("*")), repo
    assert not [path for path in tmp_path.rglob("*") if "pwned" in path.name]
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and home not in path.parents]
    assert (outside, Path("/tmp/pwned").exists()) == ([], False)


@pytest.mark.parametrize("repo", ["etag-up", "commit-absent", "path-backslash"])
def test_a_publish_says_which_hub_it_is_and_leaves_no_store(repo: str, tmp_path: Path) -> None:
    with hostile_hub() as url:
        env = {"HF_ENDPOINT": url, "HF_HUB_CACHE": str(tmp_path / "hub"), "CAS_STORE": str(tmp_path / "store")}
        done = run_cas("publish", "m", "--repo", f"o/{repo}", env=env)
    assert (done.returncode, done.stdout) == (5, "")
    assert url in done.stderr
    assert "check HF_ENDPOINT" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", [None, "", "d" * 41, "d" * 40 + "\n", "D" * 40, "g" * 40, "d" * 39 + "/", b"d" * 40])
def test_commits_and_etags_are_hex_digits_and_no_more(name: object) -> None:
    with pytest.raises(FormatError, match="hex digits"):
        names.check_commit(name)
    with pytest.raises(FormatError, match="hex digits"):
        names.check_etag(name)


@pytest.mark.parametrize("path", ["", "/", "a//b", "a/", "./a", "a/..", "..", "c:/x", "\\\\host\\x", "a\x7f", "a\nb"])
def test_paths_that_leave_their_folder(path: str) -> None:
    with pytest.raises(FormatError, match="leads out of the repo") as raised:
        names.check_file_path(path)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("path", ["a", "a/b.c", "..a", "a..", "...", "a b", "é/ü", "ab:c", "-", "~", "con.txt"])
def test_paths_that_do_not(path: str) -> None:
    names.check_file_path(path)


def test_a_huggingface_hub_of_another_make_is_not_used() -> None:
    import types

    class Api:
        def repo_info(self) -> None:
            """Exists."""

        list_repo_tree = repo_info

    with pytest.raises(StoreError, match="has no get_hf_file_metadata"):
        names.guard(types.ModuleType("file_download"), Api)
