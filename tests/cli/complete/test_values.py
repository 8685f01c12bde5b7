"""What each word of each command may be, asked as the shells' scripts ask."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cas.cli.complete import store_names
from cas.cli.complete.positions import NOT_COMPLETED, values_of
from cas.cli.main import root
from tests.cli.complete.conftest import Named
from tests.support.in_process import call_cas


def values(named: Named, line: str, **env: str) -> list[str]:
    """Return what may stand where a line ends, as fish is told it, without the help."""
    done = call_cas(env={"_CAS_COMPLETE": "fish_complete", "COMP_WORDS": line, "CAS_STORE": named.url, **env})
    assert (done.returncode, done.stderr) == (0, "")
    return [each.partition("\t")[0].removeprefix("plain,") for each in done.stdout.splitlines()]


def commands() -> Iterator[tuple[str, str, click.Command]]:
    """All commands, and those below them: what is typed, the own name, the command."""
    ctx = click.Context(root)
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        assert command is not None
        yield name, name, command
        if isinstance(command, click.Group):
            for below in command.commands:
                yield f"{name} {below}", below, command.commands[below]


def test_every_parameter_is_completed_or_is_anybodys_text() -> None:
    texts = [
        (typed, parameter.name)
        for typed, name, command in [("cas", "", root), *commands()]
        for parameter in command.params
        if isinstance(parameter.type, click.types.StringParamType | click.types.UnprocessedParamType)
        and values_of(name, parameter) is None
    ]
    assert [(typed, name) for typed, name in texts if name not in NOT_COMPLETED] == []
    assert {name for _, name in texts} == NOT_COMPLETED


@pytest.mark.parametrize("line", ["restore", "run", "env", "export", "copy", "derive", "show", "diff", "tag", "pin p"])
def test_a_reference_is_a_model_or_what_follows_it(named: Named, line: str) -> None:
    short = named.minilm[:12]
    assert values(named, f"cas {line} ") == ["minilm", "whisper", "part,pin:"]
    assert values(named, f"cas {line} mini") == ["minilm", "minilm:fp16", "minilm:latest"]
    assert values(named, f"cas {line} minilm:") == ["minilm:fp16", "minilm:latest"]
    assert values(named, f"cas {line} minilm@") == [f"minilm@{short}"]
    assert values(named, f"cas {line} minilm:fp16@") == [f"minilm:fp16@{short}"]
    assert values(named, f"cas {line} minilm@blake3:") == [f"minilm@blake3:{named.minilm}"]
    assert values(named, f"cas {line} minilm@{named.minilm[:20]}") == [f"minilm@{named.minilm[:20]}"]
    assert values(named, f"cas {line} {short[:4]}") == [short]
    assert values(named, f"cas {line} p") == ["pin:eu-prod/minilm"]


def test_words_of_other_kinds(named: Named) -> None:
    lines = {
        "cas publish ": ["minilm", "whisper"],
        "cas publish minilm --tag ": ["fp16", "latest"],
        "cas copy minilm whisper --tag l": ["latest"],
        "cas tag minilm fp": ["fp16"],
        "cas tag minilm minilm:l": ["minilm:latest"],
        "cas untag ": ["minilm:fp16", "minilm:latest", "whisper:latest"],
        "cas serve --tag mini": ["minilm:fp16", "minilm:latest"],
        "cas pins ": ["eu-prod"],
        "cas unpin eu-prod ": ["minilm", "whisper"],
        "cas import x --pin ": ["eu-prod"],
        "cas pin eu-prod --expect ": sorted([named.minilm[:12], named.whisper[:12]]),
        "cas mirror mini": ["minilm"],
        "cas sources voc": ["vocos"],
        "cas publish m --source voc": ["file,voc", "vocos"],
        "cas restore --cache-dir ": ["dir,"],
        "cas restore --to=x": ["dir,x"],
        "cas derive --cast=b": ["--cast=bfloat16"],
        "cas run minilm -- pyth": ["file,pyth"],
        "cas trust a": ["add"],
        "cas ls --js": ["--json"],
        "cas tag minilm x --by ": [],
        "cas show x y z ": [],
        "cas receipts sh": ["show"],
        "cas receipts show ": ["latest"],
        "cas receipts show latest ": [],
    }
    assert {line: sorted(values(named, line)) for line in lines} == lines


def test_the_store_is_the_one_on_the_line(named: Named, tmp_path: Path) -> None:
    assert values(named, f"cas --store {tmp_path}/none show ") == []
    assert values(named, f"cas show --store {tmp_path}/none ") == []
    assert not (tmp_path / "none").exists()
    assert values(named, f"cas show --store {named.url} w", CAS_STORE=f"{tmp_path}/none")[0] == "whisper"
    assert values(named, "cas show ", CAS_STORE="  ") == []
    assert values(named, "cas show ", CAS_STORE="unknown://x") == []


def test_what_bash_is_told_begins_where_its_word_begins(named: Named) -> None:
    def told(line: str, breaks: str = "\"'@><=;|&(:") -> str:
        env = {"_CAS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_BREAKS": breaks, "CAS_STORE": named.url}
        return call_cas(env=env).stdout.strip()

    assert told("cas show minilm:f") == "plain,fp16"
    assert told("cas show minilm:f", breaks=" ") == "plain,minilm:fp16"
    assert told("cas show 'minilm:f") == "plain,minilm:fp16"
    assert told("cas show minilm@") == f"plain,@{named.minilm[:12]}"
    assert told("cas derive --cast=b") == "plain,bfloat16"


def test_a_store_that_does_not_answer_is_answered_for_by_what_it_held(
    named: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr("cas.store.choice.store_url", lambda _: "s3://bucket/cas")
    held = tmp_path / "held"
    shutil.copytree(named.url, held)
    monkeypatch.setattr("cas.bucket.open_bucket", lambda _: opened(str(held)))
    from cas.bucket.factory import open_bucket as opened

    assert store_names.names_of(None).models() == ["minilm", "whisper"]
    shutil.rmtree(held)
    assert store_names.names_of(None).models() == ["minilm", "whisper"]  # asked within a few seconds
    (kept,) = (tmp_path / "caches/model-cas/completion").iterdir()
    os.utime(kept, (kept.stat().st_atime, kept.stat().st_mtime - 3600))

    def never(_: str) -> None:
        raise OSError("no such server")

    monkeypatch.setattr("cas.bucket.open_bucket", never)
    assert store_names.names_of(None).models() == ["minilm", "whisper"]
    os.utime(kept, (kept.stat().st_atime, kept.stat().st_mtime - 30 * 86400))
    assert store_names.names_of(None).models() == []
    kept.write_text("damaged")
    assert store_names.names_of(None).models() == []
