"""`cas tree`, and what `cas ls` and `cas show` tell of pins and variants."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import pytest

import cas
from cas.formats.digest import named
from cas.formats.manifest import Derived1
from cas.refs.reference import resolve
from cas.refs.reflog import Ref, RefLog
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.support.by_hand import put, repo, version
from tests.support.in_process import call_cas, cas_json, cas_lines
from tests.support.models import publish_tree, write_tree
from tests.support.processes import on_terminal
from tests.support.safetensors import Tensor, safetensors
from tests.support.web import QuietFiles


def family(store: Store) -> dict[str, str]:
    """Digests by name: a line of three, a variant of its middle, another branch, and one whose parent is gone."""
    made: dict[str, str] = {}

    def add(name: str, day: int, parent: str | None = None, derived: str | None = None) -> None:
        reference = version(
            store,
            [repo("o/r", {"f": put(store, name.encode())})],
            created=f"2026-01-{day:02}T00:00:00Z",
            parent=named(made.get(parent, "f" * 64)) if parent else None,
            derived=Derived1(named(made[derived]), "cast:float16", "proven") if derived else None,
        )
        made[name] = reference.rpartition(":")[2]

    add("one", 1)
    add("two", 2, "one")
    add("branch", 3, "one")
    add("branch's child", 4, "branch")
    add("half", 5, derived="two")
    add("three", 6, "branch's child")
    add("orphan", 7, "gone")
    add("alone", 8)
    RefLog(store, Ref("tags", "m", "latest")).append(made["three"], "test")
    RefLog(store, Ref("tags", "m", "removed")).append(made["one"], "test")
    RefLog(store, Ref("tags", "m", "removed")).append(None, "test")
    RefLog(store, Ref("pins", "eu-prod", "m")).append(made["two"], "test")
    RefLog(store, Ref("pins", "eu-test", "m")).append(made["three"], "test")
    return made


def test_versions_stand_below_the_ones_they_came_from(directory_store: Store) -> None:
    made = family(directory_store)
    short = {name: digest[:12] for name, digest in made.items()}
    at = "  2026-01-{:02}T00:00:00Z  {} B"
    assert cas_lines(directory_store, "tree") == [
        "m",
        f"├── {short['one']}{at.format(1, 3)}",
        f"│   └── {short['two']}  pin:eu-prod{at.format(2, 3)}",
        f"│       └── {short['half']}  float16 of {short['two']}{at.format(5, 4)}",
        f"├── {short['branch']}{at.format(3, 6)}",
        f"├── {short['branch' + chr(39) + 's child']}{at.format(4, 14)}",
        f"├── {short['three']}  latest, pin:eu-test{at.format(6, 5)}",
        f"├── {short['orphan']}{at.format(7, 6)}  (after ffffffffffff, which is not here)",
        f"└── {short['alone']}{at.format(8, 5)}  (without a parent)",
    ]
    (document,) = cas_json(directory_store, "tree", "m")
    below = {one["digest"]: one["below"] for one in document["versions"]}
    assert below[named(made["two"])] == below[named(made["branch"])] == named(made["one"])
    assert below[named(made["half"])] == named(made["two"])
    assert below[named(made["orphan"])] is None


def test_what_cannot_be_read_is_marked(directory_store: Store, tmp_path: Path) -> None:
    made = family(directory_store)
    (tmp_path / "store" / manifest_key("m", made["branch"])).write_text("{}")
    (line,) = (
        line for line in cas_lines(directory_store, "tree") if made["branch"][:12] in line and "after" not in line
    )
    assert "unreadable: ManifestCorrupt" in line
    (document,) = cas_json(directory_store, "tree")
    assert [one["digest"] for one in document["versions"] if not one["readable"]] == [named(made["branch"])]


@pytest.mark.parametrize("columns", [1, 20, 60])
def test_the_tree_fits_the_terminal(directory_store: Store, columns: int) -> None:
    family(directory_store)
    lines = on_terminal(columns, directory_store, "tree")
    assert len(lines) == 9
    assert max(map(len, lines)) <= columns


def test_a_line_of_two_thousand_versions_is_drawn_flat() -> None:
    from cas.ops.inspect.tree import tree
    from cas.ops.inspect.versions import ListedVersion

    digests = [f"{number:064x}" for number in range(2001)]
    listed = [
        ListedVersion("m", digest, (), f"{number:06}", 1, 1, parent=digests[number - 1] if number else None)
        for number, digest in enumerate(digests)
    ]
    lines = tree(listed)
    assert [line.version.digest for line in lines] == digests
    assert {line.depth for line in lines} == {0}


def test_versions_in_a_circle_are_all_shown_the_oldest_as_a_root() -> None:
    from cas.ops.inspect.tree import tree
    from cas.ops.inspect.versions import ListedVersion

    above = {"a": "c", "b": "a", "c": "b", "d": "b", "e": "e", "f": None}
    listed = [ListedVersion("m", name, (), f"{order}", 1, 1, parent=above[name]) for order, name in enumerate("bcadef")]
    lines = {line.version.digest: line.parent for line in tree(listed)}
    assert lines == {"b": None, "c": "b", "a": "c", "d": "b", "e": None, "f": None}


def test_ls_shows_pins_and_variants(store: Store, tmp_path: Path) -> None:
    data = safetensors({"w": Tensor("F32", (1,), b"\0\0\x80?")})
    first = publish_tree(store, write_tree(tmp_path / "t", {"m.safetensors": data})).reference
    assert "VARIANT" not in cas_lines(store, "ls")[0]
    variant = cas.derive("m", store, cast="float16", tags=["half"]).reference
    original = resolve(store, first).digest
    RefLog(store, Ref("pins", "eu-prod", "m")).append(original, "test")
    lines = cas_lines(store, "ls")
    assert lines[0].split() == ["MODEL", "TAGS", "VERSION", "CREATED", "SIZE", "FILES", "VARIANT"]
    (line,) = (line for line in lines if "half" in line)
    assert line.endswith(f"  float16 of {original[:12]}")
    assert any("latest, pin:eu-prod  " in line for line in lines)
    listed = {one["digest"]: one for one in cas_json(store, "ls")}
    assert listed[named(original)]["pins"] == ["eu-prod"]
    assert listed[named(original)]["variant"] is None
    assert listed[named(resolve(store, variant).digest)]["variant"] == {
        "transform": "cast:float16",
        "from": named(original),
    }


def test_a_version_that_only_a_pin_names_is_listed(directory_store: Store) -> None:
    made = family(directory_store)
    listed = {one["digest"]: one for one in cas_json(directory_store, "ls")}
    assert listed.keys() == {named(made["two"]), named(made["three"])}
    assert listed[named(made["two"])]["tags"] == []


def test_show_tells_which_refs_name_the_version(directory_store: Store) -> None:
    made = family(directory_store)
    assert "named by   latest, pin:eu-test" in cas_lines(directory_store, "show", "m")
    assert "named by   -" in cas_lines(directory_store, "show", f"m@{named(made['one'])}")
    document = cas_json(directory_store, "show", "pin:eu-prod/m")
    assert (document["tags"], document["pins"]) == ([], ["eu-prod"])


def test_show_and_diff_go_on_where_refs_cannot_be_listed(directory_store: Store, tmp_path: Path) -> None:
    made = family(directory_store)
    one, two = (f"m@{named(made[name])}" for name in ("one", "two"))
    handler = functools.partial(QuietFiles, directory=str(tmp_path / "store"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        shown = call_cas("--store", url, "show", one)
        differs = call_cas("--store", url, "diff", one, two)
        server.shutdown()
    assert "named by   ?" in shown.stdout.splitlines()
    assert "warning: which tags and pins name this version is not known" in shown.stderr
    assert (shown.returncode, differs.returncode) == (0, 0)
    assert differs.stdout.splitlines() == cas_lines(directory_store, "diff", one, two)


def test_a_pin_that_cannot_be_read_is_listed_as_such(directory_store: Store, tmp_path: Path) -> None:
    family(directory_store)
    (entry,) = (tmp_path / "store/refs/pins/eu-prod/m").iterdir()
    entry.write_text("{")
    unreadable = [one for one in cas_json(directory_store, "ls") if one["digest"] is None]
    assert [(one["pins"], one["created"]) for one in unreadable] == [
        (["eu-prod"], "unreadable: its last entry is malformed")
    ]
    assert any(line.startswith("└── ????????") or "????????" in line for line in cas_lines(directory_store, "tree"))


def test_the_tree_of_an_empty_store_says_what_to_do(directory_store: Store) -> None:
    directory_store.create()
    done = call_cas("--store", directory_store.url, "tree")
    assert (done.returncode, done.stdout) == (0, "")
    assert "is empty: publish a model" in done.stderr
