"""`cas diff`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cas.cli.display import output, paint, terminal
from cas.cli.display.times import ago
from cas.cli.options import Settings, common
from cas.formats.printable import printable

if TYPE_CHECKING:
    from cas.formats.safetensors import Tensor
    from cas.ops.inspect.comparison import ComparedFile, ComparedRepo, Comparison
    from cas.refs.reference import Resolved

_MAX_TENSORS = 40  # lines of a file's tensors that are shown without -v


class _Line(NamedTuple):
    """A line of the tree.

    Attributes:
        depth: how deep it is indented; 0 for the name of a repo.
        before: text before the name.
        name: a name, which loses its middle where the terminal is narrow.
        after: text after the name.
    """

    depth: int
    before: str
    name: str = ""
    after: str = ""


@click.command(short_help="Show what differs between two versions.")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@common
def diff(settings: Settings, a: str, b: str) -> None:
    """Show what differs from version A to B by repo, file and tensor, and what a restore of B downloads where A is.

    A and B may be of different models. -v shows every tensor, however many differ.
    """
    from cas.cli.display.progress import reporter_for
    from cas.ops.inspect.comparison import compare

    with reporter_for(settings) as reporter:
        found = compare(a, b, settings.store, on_event=reporter.listen)
    if found.download.missing:
        paint.warn(
            sys.stderr,
            f"{found.download.missing} chunks of {found.b.exact} are not in the store: "
            "publish it again with `cas publish --force`",
        )
    if settings.json:
        output.document(_document(found))
        return
    limit, whole = output.limit(settings), settings.no_trunc
    for name, version, created in zip("ab", (found.a, found.b), found.created, strict=True):
        terminal.print_line(terminal.fitted(f"{name}  ", _heading(version, created, limit, whole=whole), limit=limit))
    if found.same:
        totals = "no difference"
    else:
        lines = [line for repo in found.repos for line in _repo(repo, every=settings.verbose, whole=whole)]
        _print(lines, limit)
        for name in found.other:
            terminal.print_line(terminal.fitted("", _other(found, name, whole=whole), limit=limit))
        totals = _totals(found)
    for text in terminal.wrapped(totals, limit):
        terminal.print_line(text)


def _print(lines: list[_Line], limit: int | None) -> None:
    # Each repo's files make a tree of their own. If the name of a repo were a line of one tree, the drawing would
    # connect its files with the repo before it.
    depths: list[list[int]] = []
    for line in lines:
        if line.depth:
            depths[-1].append(line.depth - 1)
        else:
            depths.append([])
    branches = (branch for tree in depths for branch in terminal.branches(tree))
    for line in lines:
        before = f"{next(branches)}{line.before}" if line.depth else line.before
        terminal.print_line(terminal.fitted(before, line.name, line.after, limit))


def _heading(version: Resolved, created: str, limit: int | None, *, whole: bool) -> str:
    exact = output.short(version.exact, whole=whole)
    asked = "" if version.reference.digest else f"{version.reference}  "
    return f"{asked}{exact}  {created if limit is None else ago(created)}"


def _repo(repo: ComparedRepo, *, every: bool, whole: bool) -> Iterator[_Line]:
    change, before, after = repo.pair.change, repo.pair.before, repo.pair.after
    if change is None:
        return
    either = after or before
    if either is None:
        yield _Line(0, "", "below HF_HOME")
    elif before and after:
        moved = output.short(f"  {before.commit} -> {after.commit}", whole=whole)
        commits = "" if before.commit == after.commit else moved
        refs = "" if set(before.refs) == set(after.refs) else f"  refs {_refs(before.refs)} -> {_refs(after.refs)}"
        yield _Line(0, "", either.repo_id, f"{commits}{refs}")
    else:
        yield _Line(0, f"{change} ", either.repo_id, output.short(f"  {either.commit}", whole=whole))
    for file in repo.files:
        yield from _file(file, every=every)
    if repo.pair.unchanged:
        yield _Line(1, _counted(repo.pair.unchanged, "file", "unchanged"))


def _refs(refs: tuple[str, ...]) -> str:
    return ", ".join(refs) or "none"


def _file(file: ComparedFile, *, every: bool) -> Iterator[_Line]:
    before, after, change = file.pair.before, file.pair.after, file.pair.change
    either = after or before
    assert either is not None, "a pair has a side"
    sizes = [output.size(side.file.size) for side in (before, after) if side]
    name = either.file.path
    if change == "renamed" and before and after:
        origin = f"{before.repo}/{before.file.path}" if before.repo != after.repo else before.file.path
        name = f"{origin} -> {name}"
    yield _Line(1, f"{change:<8} ", name, f"  {' -> '.join(dict.fromkeys(sizes))}")
    if file.note:
        yield _Line(2, printable(file.note))
    if not file.tensors:
        return
    pairs = file.tensors.pairs
    shown = pairs if every or len(pairs) <= _MAX_TENSORS else pairs[: _MAX_TENSORS - 1]
    for pair in shown:
        forms = [_form(tensor) for tensor in (pair.before, pair.after) if tensor]
        yield _Line(2, f"{pair.change:<8} ", printable(pair.name), f"  {' -> '.join(dict.fromkeys(forms))}")
    if len(shown) < len(pairs):
        counts = Counter(pair.change for pair in pairs[len(shown) :])
        yield _Line(2, f"{', '.join(f'{count} more {what}' for what, count in counts.items())}: see them with -v")
    if file.tensors.metadata:
        yield _Line(2, "changed  __metadata__ of the header")
    if file.tensors.unchanged:
        yield _Line(2, _counted(file.tensors.unchanged, "tensor", "unchanged"))


def _form(tensor: Tensor) -> str:
    return f"{printable(tensor.dtype)} {list(tensor.shape)}"


def _counted(count: int, noun: str, what: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'} {what}"


def _other(found: Comparison, name: str, *, whole: bool) -> str:
    derived = [version.manifest.derived for version in (found.a, found.b)]
    if name != "derived":
        return f"{name} differ"
    shown = [f"{variant.transform} of {variant.parent}" if variant else "no variant" for variant in derived]
    return output.short(" -> ".join(shown), whole=whole)


def _totals(found: Comparison) -> str:
    files = Counter(file.pair.change for repo in found.repos for file in repo.files)
    tensors = Counter(
        pair.change for repo in found.repos for file in repo.files if file.tensors for pair in file.tensors.pairs
    )
    pieces = [
        f"{noun}s: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}"
        for noun, counts in (("file", files), ("tensor", tensors))
        if counts
    ]
    download = found.download
    pieces.append(
        f"to download: {output.size(download.plain)} in {_counted(download.chunks, 'chunk', '').rstrip()}, "
        f"stored as {output.size(download.stored)}"
        if download.chunks
        else "nothing to download"
    )
    return "; ".join(pieces)


def _document(found: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "a": found.a.exact,
        "b": found.b.exact,
        "same": found.same,
        "repos": [_repo_document(repo) for repo in found.repos],
        "other": list(found.other),
        "download": asdict(found.download),
    }


def _repo_document(compared: ComparedRepo) -> dict[str, Any]:
    before, after = compared.pair.before, compared.pair.after
    either = after or before
    return {
        "repo_id": either.repo_id if either else None,
        "repo_type": either.repo_type if either else None,
        "change": compared.pair.change,
        "commit": [repo.commit if repo else None for repo in (before, after)],
        "refs": [repo.refs if repo else None for repo in (before, after)],
        "files": [_file_document(file) for file in compared.files],
        "unchanged": compared.pair.unchanged,
    }


def _file_document(file: ComparedFile) -> dict[str, Any]:
    sides = [
        {"repo_id": side.repo or None, "path": side.file.path, "size": side.file.size} if side else None
        for side in (file.pair.before, file.pair.after)
    ]
    found = file.tensors
    return {
        "change": file.pair.change,
        "before": sides[0],
        "after": sides[1],
        "note": file.note or None,
        "tensors": None
        if found is None
        else {
            "changes": [
                {
                    "name": pair.name,
                    "change": pair.change,
                    "before": _tensor_document(pair.before),
                    "after": _tensor_document(pair.after),
                }
                for pair in found.pairs
            ],
            "unchanged": found.unchanged,
            "metadata": found.metadata,
        },
    }


def _tensor_document(tensor: Tensor | None) -> dict[str, Any] | None:
    return tensor and {"dtype": tensor.dtype, "shape": list(tensor.shape), "size": tensor.size}
