"""Whatever a command prints as an id can be typed back, in every place that takes one."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from cas.refs.reference import resolve
from tests.refs.conftest import Desk, stock

_ID = re.compile(
    r"pin:[a-z0-9.-]+(?:/[a-z0-9.-]+)?"
    r"|\b(?:m|other|new)(?::[a-z0-9.-]+)?@(?:blake3:)?[0-9a-f]{8,64}\b"
    r"|\b(?:m|other|new):[a-z0-9.-]+"
    r"|\b(?:blake3:)?[0-9a-f]{8,64}\b"
)

_FILE = re.compile(r"weights\.bin|number|^org/")
"""In lines about files and repos stand digests and commits of their own, which name no version."""

_PRINTS = (
    "tag m prod",
    "tag m@{0} old",
    "pin eu-prod m:old",
    "ls",
    "ls m",
    "show m:old",
    "history m",
    "history pin:eu-prod/m",
    "tree",
    "du m",
    "pins",
    "diff m:old m",
    "rollback m --to {0}",
    "publish new --dir {folder}/tree --as org/new",
    "untag m:prod",
    "tag m prod",
    "rollback m --to {2}",
    "lock m -o {folder}/m.lock",
    "copy m:old {folder}/copy",
    "audit",
)

_TAKES = (
    "show {}",
    "diff {} {}",
    "ls {}",
    "tree {}",
    "du {}",
    "tag {} typed-back",
    "pin typed-back {}",
    "lock {} -o {folder}/typed-back",
    "restore -n {}",
    "copy -n {} {folder}/another",
    "export {} -o {folder}/typed-back.tar",
    "fsck {}",
    "env {}",
)


@dataclass
class Printed:
    """A store, and the ids that commands print of it.

    Attributes:
        desk: the store.
        folder: for files that commands write.
        ids: each id, with the commands that print it.
    """

    desk: Desk
    folder: str
    ids: dict[str, set[str]]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Printed:
    folder = tmp_path_factory.mktemp("printed")
    desk = stock(str(folder / "store"), folder)
    ids: dict[str, set[str]] = {}
    for command in _PRINTS:
        words = command.format(*(digest[:12] for digest in desk.versions), folder=folder).split()
        done = desk.cas(*words)
        assert done.returncode == (8 if command == "audit" else 0), done.stderr  # no keys are trusted here
        text = "\n".join(line for line in done.stdout.partition("\n\n")[0].splitlines() if not _FILE.search(line))
        for found in _ID.findall(text.replace(str(folder), "")):
            ids.setdefault(found, set()).add(command.split()[0])
    return Printed(desk, str(folder), ids)


def test_every_command_prints_ids(printed: Printed) -> None:
    told = set().union(*printed.ids.values())
    assert told == {command.split()[0] for command in _PRINTS}
    first = printed.desk.versions[0]
    assert {f"m@blake3:{first}", first[:12], "m:old", "pin:eu-prod", "pin:eu-prod/m"} <= printed.ids.keys()


@pytest.mark.parametrize("command", _TAKES)
def test_what_is_printed_can_be_typed_back(printed: Printed, command: str) -> None:
    for text, told in printed.ids.items():
        done = printed.desk.cas(*command.format(text, text, folder=printed.folder).split())
        assert done.returncode == 0, (text, told, done.stderr)


@pytest.mark.parametrize("command", ["history {}", "audit {}", "sign -n {}"])
def test_a_command_about_refs_takes_them_back_and_tells_which_name_a_version(printed: Printed, command: str) -> None:
    for text in printed.ids:
        done = printed.desk.cas(*command.format(text).split())
        if re.search("(^|@|blake3:)[0-9a-f]{8,64}$", text):
            assert (done.returncode, "is one version" in done.stderr) == (2, True), (text, done.stderr)
        elif command.startswith("sign") and text == "pin:eu-prod":
            # Which pin of a deployment is the only one lies in the store, which has no say in what is signed.
            assert (done.returncode, "write pin:deployment/model" in done.stderr) == (2, True), done.stderr
        else:
            assert done.returncode == (8 if "audit" in command else 0), (text, done.stderr)  # no keys are trusted here


def test_it_is_the_version_that_was_meant(printed: Printed) -> None:
    for text in printed.ids:
        digest = resolve(printed.desk.store, text).digest
        digits = re.search("[0-9a-f]{8,}$", text)
        assert digest.startswith(digits[0]) if digits else True, text
    assert resolve(printed.desk.store, "pin:eu-prod").digest == printed.desk.versions[0]
