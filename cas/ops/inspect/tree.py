"""Makes a tree of a model's versions: each stands below the one that it came from.

The tree is made of a list alone. It reads nothing more, so the tree and the list that it is made of never disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cas.ops.inspect.versions import ListedVersion


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One line of `cas tree`: a version in the tree of its model.

    A version's children follow it. One child, the successor, has the depth of its parent: the newest child that is no
    variant or, below a variant, the newest child. The others are branches: they are one level deeper and come first.

    Attributes:
        version: the version.
        depth: how deep the line is indented; 0 for a root.
        parent: the version (64 hex) that this one stands below; None for a root.
    """

    version: ListedVersion
    depth: int
    parent: str | None


def tree(listed: Sequence[ListedVersion]) -> list[TreeLine]:
    """Return the versions of one model as a tree: parents before their children, the newest version last.

    A version whose parent is not listed stands below the original that it was derived from. Without one, it is a root.
    """
    oldest_first = sorted(listed, key=lambda version: (version.readable, version.created, version.digest))
    above = _above(oldest_first)
    children: dict[str | None, list[ListedVersion]] = {}
    for version in oldest_first:
        children.setdefault(above.get(version.digest), []).append(version)
    lines: list[TreeLine] = []
    waiting: list[TreeLine] = [TreeLine(root, 0, None) for root in reversed(children.get(None, []))]
    # A loop and no recursion: a tag that moves every day makes a chain of hundreds of versions.
    while waiting:
        line = waiting.pop()
        lines.append(line)
        below = children.get(line.version.digest, []) if line.version.digest else []
        if not below:
            continue
        successor = _successor(line.version, below)
        waiting += [
            *([TreeLine(successor, line.depth, line.version.digest)] if successor else []),
            *(
                TreeLine(child, line.depth + 1, line.version.digest)
                for child in reversed(below)
                if child is not successor
            ),
        ]
    return lines


def _above(oldest_first: Sequence[ListedVersion]) -> dict[str, str]:
    """Return the version (64 hex) below which each version stands, without those that are roots.

    The logs of several tags, moved by machines whose clocks differ, may make two versions each other's parents. The
    oldest version of such a circle becomes a root, so that every version is in the tree.
    """
    known = {version.digest for version in oldest_first if version.digest}
    above: dict[str, str] = {}
    for version in oldest_first:
        parents = [version.parent, version.variant.original if version.variant else None]
        parent = next((digest for digest in parents if digest in known and digest != version.digest), None)
        if version.digest and parent:
            above[version.digest] = parent
    settled: set[str] = set()
    for version in oldest_first:
        path: dict[str, None] = {}  # a set that keeps its order
        at: str | None = version.digest
        while at in above and at not in settled and at not in path:
            path[at] = None
            at = above[at]
        if at in path:
            steps = list(path)
            circle = set(steps[steps.index(at) :])
            del above[next(one.digest for one in oldest_first if one.digest in circle)]
        settled.update(path)
    return above


def _successor(parent: ListedVersion, children: Sequence[ListedVersion]) -> ListedVersion | None:
    """The child that continues at the depth of its parent, if any does."""
    alike = [child for child in children if parent.variant or not child.variant]
    return alike[-1] if alike else None
