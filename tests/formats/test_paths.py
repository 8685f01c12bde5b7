"""Paths that a manifest may not name: each is refused, and none of them reaches the disk."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cas
from cas.bucket import Kind
from cas.errors import FormatError
from cas.formats.digest import hex_of, named
from cas.formats.paths import MAX_PATH, check_path, check_tree
from cas.store.layout import manifest_key
from cas.store.store import Store
from tests.support.documents import document, encoded
from tests.support.models import read_tree

PART = st.text(min_size=1, max_size=8)
DEVICES = ["con", "prn", "aux", "Nul.txt", "com1", "LPT9", "COM0", "CONIN$", "com¹", "con.tar.gz", "aux .txt"]

HOSTILE = {
    "empty": "",
    "parent": "../x",
    "parent within": "a/../../x",
    "parent at the end": "a/..",
    "here": "./a",
    "absolute": "/etc/passwd",
    "home": "a//b",
    "trailing slash": "a/",
    "backslash": "..\\x",
    "unc": "\\\\server\\share",
    "unc with slashes": "//server/share",
    "drive": "C:/x",
    "drive relative": "c:x",
    "stream": "model.bin:hidden",
    "nul": "a\0b",
    "newline": "a\nb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "c1 control": "a\x9b2Jb",
    "wildcard": "*.bin",
    "quote": 'a"b',
    "pipe": "a|b",
    "device": "aux",
    "device below": "a/nul/b",
    "device with an extension": "COM1.safetensors",
    "device with spaces": "con  .txt",
    "trailing dot": "a./b",
    "trailing space": "a ",
    "only dots": ".../x",
    "long": "a/" * (MAX_PATH // 2) + "b",
    "long in bytes": "/".join(["é" * 100] * 6),
    "long part": "é" * 128,
}  # fmt: skip

CLASHES = {
    "same": ["a/b", "a/b"],
    "case": ["Model.bin", "model.BIN"],
    "case of a folder": ["Weights/a", "weights/b"],
    "sharp s": ["straße", "STRASSE"],
    "long s": ["\u017f", "s"],
    "nfc and nfd": ["caf\u00e9", "cafe\u0301"],
    "nfc and nfd of a folder": ["caf\u00e9/a", "cafe\u0301/b"],
    "case and marks": ["\u1fb3\u0301", "\u0391\u0301\u0345"],
    "hangul": ["\uac00", "\u1100\u1161"],
    "file and folder": ["a", "a/b"],
    "file and folder, apart": ["a", "a!", "a-b", "a/b/c/d"],
    "file and folder by case": ["A", "b", "a/x"],
    "folder deep below": ["a/B/c/d", "a/b/x/y"],
}

ELSEWHERE = (
    *("hub", "HUB/x", "hub/models--org--m/refs/main", "token", "Stored_Tokens", ".cas/verified.json"),
    *("x", "x/y", ".bashrc", ".ssh/authorized_keys", "bin/ls", "modules/transformers_modules/x.py", "xet/log"),
    *("accelerate/default_config.yaml", ".cas-worker/f5-tts.json", ".locks/x", "torch", "torchx/y", "a/torch/x"),
    *(
        "Torch/x",
        "TORCH/x",
        "torch /x",
        "\uff54orch/x",
        "torc\u0266/x",
        "tor\u200bch/x",
        "\u200dtorch/x",
        "t\u043erch/x",
    ),
    *("torch/.netrc", "torch/.cas/verified.json", "torch/hub/.ssh/x", "torch/a/..b", "torch/...x/y"),
    *("torch/\u200d.bashrc", "torch/\ufeff.ssh/x", "torch/\uff0ebashrc", "torch/x/\u2024profile", "torch/\u2025x"),
)
"""Paths where no version may have a plain file."""

BENIGN = [
    ["config.json", "model-00001-of-00002.safetensors", ".gitattributes", "a b/c d.txt"],
    ["модель.bin", "模型/权重.safetensors", "🤗/emoji 👩‍🚀.txt", "caf\u00e9", "cafe", "ﬁ.txt"],
    ["a", "a-b/c", "a.b/c", "a b", "a!", "aa/b"],
    ["con-fig", "auxiliary", "com10", "nullable.txt", "console/x", "lpt", "conx"],
    ["a/b/c", "a/b/d", "a/bb", "b/a/c"],
    ["é" * 127, "x" * 255, "/".join(["x"] * 512), f"{'/'.join(['x'] * 511)}/xx"],
]


@pytest.mark.parametrize("path", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_path_is_refused(path: str) -> None:
    with pytest.raises(FormatError, match="refusing the manifest"):
        check_path(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/../b", "has the part '..':"),
        ("./a", "has the part '.':"),
        ("/a", "has the part '':"),
        ("a/b.", "whose end Windows drops"),
        ("a/nul", "a device name on Windows"),
    ],
)
def test_the_reason_of_a_refusal_is_the_true_one(path: str, reason: str) -> None:
    with pytest.raises(FormatError) as caught:
        check_path(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize("paths", CLASHES.values(), ids=CLASHES)
def test_paths_that_clash_somewhere_are_refused_in_any_order(paths: list[str]) -> None:
    for some in (paths, paths[::-1], [*paths, "zzz"], ["!", *paths]):
        with pytest.raises(FormatError, match="refusing the manifest"):
            check_tree(some)


@pytest.mark.parametrize("paths", BENIGN)
def test_benign_paths_pass(paths: list[str]) -> None:
    check_tree(paths)
    check_tree(reversed(paths))


def test_a_refusal_shows_no_control_characters() -> None:
    with pytest.raises(FormatError) as caught:
        check_path("\x1b]0;owned\x07/\ud800")
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@given(st.lists(PART, min_size=1, max_size=4).map("/".join))
def test_what_passes_stays_below_its_root_on_posix_and_windows(path: str) -> None:
    try:
        check_path(path)
    except FormatError:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        pure = kind(path)
        assert not pure.is_absolute()
        assert not pure.drive
        assert pure.as_posix() == path
        assert ".." not in pure.parts
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in path)


@given(st.text(max_size=5), st.sampled_from(DEVICES), st.sampled_from('\0\n\x7f\x85\\:*?<>|"'), st.text(max_size=5))
def test_no_neighbour_makes_a_bad_part_good(before: str, device: str, forbidden: str, after: str) -> None:
    for path in (f"{before}{forbidden}{after}", f"{before}/{device}", f"{before}/../{after}", f"{before} /{after}"):
        with pytest.raises(FormatError):
            check_path(path)


def test_folding_leaves_decomposed_text_decomposed() -> None:
    """So the comparison of paths needs no second normalisation, as D145 of the Unicode standard has it."""
    folding = [char for char in map(chr, range(sys.maxunicode + 1)) if char.casefold() != char]
    assert len(folding) > 1400
    for char in folding:
        for marks in ("", "\u0301", "\u0323\u0301", "\u0345", "\u0345\u0323", "\u0334", "\u0345\u0334\u0301"):
            folded = unicodedata.normalize("NFD", char + marks + char).casefold()
            assert unicodedata.is_normalized("NFD", folded), ascii(char + marks)
            assert folded == folded.casefold()


def naive(paths: Sequence[str]) -> bool:
    """Whether no two paths clash, found with a table of all files and directories."""
    nodes: dict[str, str] = {}
    for path in paths:
        *folders, file = accumulate(path.split("/"), "{}/{}".format)
        for folder in folders:
            if nodes.setdefault(folder.casefold(), f"{folder}/") != f"{folder}/":
                return False
        if nodes.setdefault(file.casefold(), path) != path or paths.count(path) > 1:
            return False
    return True


@given(st.lists(st.lists(st.sampled_from(["a", "A", "b", "b!", "b-", "é", "É"]), min_size=1, max_size=3), max_size=5))
def test_clashes_are_those_of_a_naive_check(parts: list[list[str]]) -> None:
    paths = ["/".join(some) for some in parts]
    if naive(paths):
        check_tree(paths)
    else:
        with pytest.raises(FormatError):
            check_tree(paths)


def attacks() -> dict[str, bytes]:
    """Manifests with a hostile path in each field that becomes a name on disk."""
    found: dict[str, bytes] = {}
    for name, path in HOSTILE.items():
        found[f"repo: {name}"] = encoded(document(repo=["a", path]))
        found[f"plain: {name}"] = encoded(document(plain_files=["torch/a", path]))
        found[f"plain, below torch: {name}"] = encoded(document(plain_files=["torch/a", f"torch/{path}"]))
        found[f"ref: {name}"] = encoded(document(refs=["a", path]))
    for name, paths in CLASHES.items():
        found[f"repo: {name}"] = encoded(document(repo=paths))
        found[f"plain: {name}"] = encoded(document(plain_files=[f"torch/{path}" for path in paths]))
        found[f"ref: {name}"] = encoded(document(refs=paths))
    for path in ELSEWHERE:
        found[f"plain: {path}"] = encoded(document(plain_files=["torch/a", path]))
    found["repo: surrogate"] = encoded(document(repo=["x"])).replace(b'"x"', b'"\\ud800"')
    return found


def test_what_the_attacks_are_made_from_is_sound(directory_store: Store, tmp_path: Path) -> None:
    data = encoded(document(repo=["a", "b/c"], plain_files=["torch/x/y"], refs=["main", "pr/1"]))
    restored = restore_by_hand(directory_store, data, tmp_path / "home" / "hub")
    assert read_tree(Path(restored.snapshots["org/model"])) == {"a": b"", "b/c": b""}
    assert (tmp_path / "home" / "torch" / "x" / "y").read_bytes() == b""


@pytest.mark.parametrize("name", attacks())
def test_nothing_of_a_hostile_manifest_reaches_the_disk(name: str, directory_store: Store, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        restore_by_hand(directory_store, attacks()[name], tmp_path / "home" / "hub")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def restore_by_hand(store: Store, data: bytes, hub: Path) -> cas.Restored:
    """Restore a manifest that may be hostile, under its right digest."""
    store.create()
    digest = hex_of(data)
    store.bucket.put(manifest_key("m", digest), data, Kind.MANIFEST)
    return cas.restore(f"m@{named(digest)}", store, cache_dir=hub)
