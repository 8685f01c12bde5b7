"""Every command as a user calls it: start-up, help, global options, JSON, closed pipes, `run` and `env`."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cas.cli.commands import COMMANDS, GROUPS
from tests.cli.conftest import Shop
from tests.support.in_process import call_cas
from tests.support.models import write_tree
from tests.support.processes import run_cas
from tests.support.signed_stores import key_files

CAS = [sys.executable, "-m", "cas"]
HEAVY = {"boto3", "huggingface_hub", "msgspec", "numpy", "obstore", "rich", "zstandard", "blake3", "asyncio", "ssl"}


def loaded_by(words: list[str], **env: str) -> set[str]:
    """Run a command, and return the modules that it imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *CAS[1:], *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["--help"], ["publish", "--help"], ["tag", "--help"]])
def test_the_command_starts_without_heavy_imports(words: list[str]) -> None:
    loaded = loaded_by(words)
    assert "click" in loaded
    assert not loaded & HEAVY


def test_a_warm_restore_imports_nothing_that_errors_tables_or_a_configuration_need(shop: Shop) -> None:
    assert shop.cas("restore", "m").returncode == 0
    loaded = loaded_by(["restore", "m"], CAS_STORE=shop.url, HF_HUB_CACHE=str(shop.cache))
    assert "cas.ops.restore.restorer" in loaded
    unused = {
        "difflib",
        "shlex",
        "tomllib",
        "cas.cli.display.table",
        "cas.cli.failures",
        "cas.refs.likely",
        "cas.refs.meaning",
    }
    assert not loaded & (unused | {"huggingface_hub", "numpy", "opentelemetry"})


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help_fits_the_screen_and_names_every_option(command: str) -> None:
    for word in ("--help", "-h"):
        done = call_cas(*filter(None, [command, word]), env={"COLUMNS": "200"})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: cas {command}".rstrip())
        assert max(map(len, done.stdout.splitlines())) <= 100
        for option in ("--store URL", "--json", "-q, --quiet", "-v, --verbose", "-h, --help"):
            assert option in done.stdout


def test_without_a_command_the_help_is_shown_and_the_call_is_wrong() -> None:
    done = call_cas()
    assert (done.returncode, done.stdout) == (2, "")
    assert all(f"\n{group}:\n" in done.stderr for group in GROUPS)
    assert all(f"\n  {name} " in done.stderr for name in COMMANDS)


def test_global_options_stand_before_or_after_the_command(shop: Shop) -> None:
    wanted = shop.json("ls")
    for words in (["--store", shop.url, "--json", "ls"], ["ls", "--json", "--store", shop.url]):
        done = call_cas(*words)
        assert (done.returncode, json.loads(done.stdout)) == (0, wanted)
    after = shop.cas("--store", "/nowhere", "ls", "--store", shop.url)
    assert (after.returncode, after.stderr) == (0, "")
    both = shop.cas("-q", "ls", "-v")
    assert both.returncode == 2
    assert "-q and -v exclude each other" in both.stderr


def test_json_prints_one_document_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "other", {"a.txt": b"a"})
    folder = ["--dir", str(tree), "--as", "org/other"]
    dry = shop.json("publish", "-n", "other", *folder)
    assert (dry["reference"], dry["uploaded"], dry["dry_run"]) == (None, 1, True)
    published = shop.json("publish", "other", *folder)
    assert published["reference"].startswith("other@blake3:")
    assert [version["model"] for version in shop.json("ls")] == ["m", "m", "other"]
    assert [version["tags"] for version in shop.json("ls", "m")] in ([["latest"], ["v1"]], [["v1"], ["latest"]])
    assert shop.json("show", "m")["manifest"]["model"] == "m"
    assert shop.json("tag", "m:v1", "stable", "v1")["moved"] == ["stable"]
    assert shop.json("restore", "m", "-n")["changed"] is True
    assert shop.json("restore", "m")["reference"] == shop.latest
    assert shop.json("env", "m")["CAS_MODEL"] == shop.latest
    assert shop.json("verify", "m")["sound"] is True
    assert "cas" in shop.json("completion", "bash")["script"]
    next(shop.cache.glob("models--*/blobs/*")).unlink()
    broken = shop.cas("verify", "m", "--json")
    assert (broken.returncode, json.loads(broken.stdout)["sound"]) == (4, False)


def test_quiet_leaves_results_and_errors(shop: Shop, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "other", {"a.txt": b"a"})
    for words in (["publish", "o", "--dir", str(tree), "--as", "org/o"], ["restore", "m"], ["verify", "m"]):
        done = shop.cas("-q", *words)
        assert (done.returncode, done.stderr) == (0, "")
        loud = shop.cas(*words)
        assert loud.stdout == done.stdout
        assert loud.stderr
    assert shop.cas("-q", "show", "none").stderr.startswith("cas: none:latest is not in")


def test_verbose_shows_the_traceback_and_then_the_line(shop: Shop) -> None:
    plain, verbose = shop.cas("show", "none"), shop.cas("-v", "show", "none")
    assert len(plain.stderr.splitlines()) == 1
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.splitlines()[-1] == plain.stderr.strip()


def test_looking_at_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    done = call_cas("ls", "--store", str(tmp_path / "none"))
    assert done.returncode == 3
    assert f"`cas --store {tmp_path / 'none'} publish`" in done.stderr
    write_tree(tmp_path / "store", {"format.json": b'{"format": "cas", "version": 1}'})
    done = call_cas("ls", "--store", str(tmp_path / "store"))
    assert (done.returncode, done.stdout) == (0, "")
    assert f"is empty: publish a model with `cas --store {tmp_path / 'store'} publish`" in done.stderr
    assert call_cas("ls", "--json", "--store", str(tmp_path / "store")).stdout == "[]\n"


def test_show_and_ls_of_a_large_version_are_columns(shop: Shop, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "large", {f"part-{number:04}/w.bin": b"%d" % number for number in range(1500)})
    shop.cas("publish", "large", "--dir", str(tree), "--as", "org/large")
    shown = shop.cas("show", "large").stdout.splitlines()
    assert sum("part-" in line for line in shown) == 1500
    assert len({line.index("part-") for line in shown if "part-" in line}) == 1
    (line,) = (line for line in shop.cas("ls").stdout.splitlines() if line.startswith("large"))
    assert line.split()[-1] == "1500"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_the_command_without_a_word(shop: Shop, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "CAS_STORE": shop.url, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([*CAS, "ls"], stdout=writer, stderr=subprocess.PIPE, env=env, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_an_error(shop: Shop, unbuffered: str) -> None:
    env = {**os.environ, "CAS_STORE": shop.url, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*CAS, "ls"], stdout=full, stderr=subprocess.PIPE, env=env, check=False)
    assert (done.returncode, done.stderr) == (7, b"cas: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_no_harm(shop: Shop, closed: str) -> None:
    script = f"{shlex.join(CAS)} publish again --dir {shop.url}/../tree --as org/m {closed}"
    done = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "CAS_STORE": shop.url}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert shop.json("show", "again")["manifest"]["model"] == "again"


def test_run_becomes_the_command_with_its_arguments_environment_and_exit_code(shop: Shop) -> None:
    script = "import json, os, sys; print(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)])); sys.exit(42)"
    words = [*CAS, "-q", "run", "m", "--cache-dir", str(shop.cache), sys.executable, "-c", script, "-v", "--", "--x=1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "CAS_STORE": shop.url, "MINE": "1"}) as run:
        output, _ = run.communicate()
    pid, arguments, environment = json.loads(output)
    assert (run.returncode, pid, arguments) == (42, run.pid, ["-v", "--", "--x=1"])
    (view,) = shop.cache.glob(".locks/.cas/m@*/view/hub")
    wanted = {"HF_HUB_CACHE": str(view), "HF_HOME": str(shop.cache.parent), "HF_HUB_OFFLINE": "1", "MINE": "1"}
    assert wanted | {"CAS_MODEL": shop.latest} == {name: environment[name] for name in [*wanted, "CAS_MODEL"]}
    assert list(shop.cache.glob("models--org--model/snapshots/*/weights.bin"))


@pytest.mark.parametrize(
    "words", [["m", "--", "printf", "%s", "-q"], ["m", "printf", "%s", "-q"], ["m", "-q", "printf", "%s", "-q"]]
)
def test_run_leaves_the_options_behind_the_command_to_it(shop: Shop, words: list[str]) -> None:
    done = shop.run("run", *words)
    assert (done.returncode, done.stdout) == (0, "-q"), done.stderr


def test_run_gives_the_command_ordinary_signals(shop: Shop) -> None:
    done = shop.run("-q", "run", "m", "--", "sh", "-c", "yes | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


def test_run_looks_for_the_command_before_it_restores(shop: Shop, tmp_path: Path) -> None:
    done = shop.cas("run", "m", "--", "no-such-command")
    assert done.returncode == 127
    assert "no-such-command is not found" in done.stderr
    assert not shop.cache.exists()
    script = write_tree(tmp_path, {"script": b"\0\1\2"}) / "script"
    script.chmod(0o755)
    done = shop.run("-q", "run", "m", "--", str(script))
    assert (done.returncode, done.stderr) == (126, f"cas: {script} cannot be run: Exec format error\n")


def test_run_keeps_the_keys_that_sign_to_itself(shop: Shop, tmp_path: Path) -> None:
    signs = {**key_files(tmp_path), "CAS_SIGNING_PASSPHRASE": "b", "CAS_ATTEST_KEY": "c"}
    shop.cas("sign", "m:latest", **signs)
    env = {"CAS_STORE": shop.url, "HF_HUB_CACHE": str(shop.cache), **signs}
    done = run_cas("-q", "run", "m", "--", "env", env=env)
    assert done.returncode == 0, done.stderr
    named = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert {"CAS_STORE", "CAS_TRUSTED_KEYS", "CAS_MODEL"} <= named
    assert not named & {"CAS_SIGNING_KEY", "CAS_SIGNING_PASSPHRASE", "CAS_ATTEST_KEY"}


@pytest.mark.parametrize("name", ["plain", "with space", "quo'te", 'dou"ble', "$HOMELESS `id` \\n", "ümlaut"])
def test_env_lines_survive_a_shell(shop: Shop, tmp_path: Path, name: str) -> None:
    cache = tmp_path / name.replace("/", "") / "hub"
    lines = shop.cas("env", "m", HF_HUB_CACHE=str(cache), HF_HOME=str(cache.parent))
    assert lines.returncode == 0
    assert "is not in" in lines.stderr
    assert "`cas restore m`" in lines.stderr
    script = lines.stdout + 'printf "%s\\n" "$HF_HOME" "$HF_HUB_CACHE" "$HF_HUB_OFFLINE" "$CAS_MODEL"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(cache.parent), str(cache), "1", shop.latest]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    script = call_cas("completion", shell)
    assert (script.returncode, script.stderr) == (0, "")
    assert "_CAS_COMPLETE" in script.stdout
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script.stdout, text=True, check=True)
    assert call_cas("completion", "csh").returncode == 2


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("cas res", "restore"),
        ("cas publish --no-d", "--no-download"),
        ("cas completion z", "zsh"),
        ("cas --st", "--store"),
    ],
)
def test_completion_of_words(words: str, wanted: str) -> None:
    env = {"_CAS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = call_cas(env=env)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [f"plain,{wanted}"], "")


def test_a_typing_error_is_answered_with_the_next_step(shop: Shop) -> None:
    wrong = {"publsh": "publish", "ls --jsn": "--json", "show": "cas show --help", "tag m": "cas tag --help"}
    for call, told in wrong.items():
        done = shop.cas(*call.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
