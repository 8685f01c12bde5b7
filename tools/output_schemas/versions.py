"""What is printed of versions: `ls`, `tree`, `show`, `diff`."""

from __future__ import annotations

from typing import Any, TypedDict

from cas.ops.derive.variant import VariantRecord
from cas.ops.inspect.comparison import Download
from cas.ops.inspect.diff_files import Change


class Origin(TypedDict):
    """The version that a variant was made from.

    Attributes:
        transform: what was done to it.
    """

    transform: str
    # `from` is a keyword of Python: `table.py` adds it.


class RefSignature(TypedDict):
    """Who signed a tag or pin.

    Attributes:
        ref: the tag or pin.
        keys: ids of keys whose signatures lie beside its entry.
        verified: whether they were verified; else nothing says that they are true.
        problem: why the entry does not count; null for none.
    """

    ref: str
    keys: list[str]
    verified: bool
    problem: str | None


class Version(TypedDict):
    """A version in a list.

    Attributes:
        model: the model.
        digest: the version; null where the entry of a ref cannot be read.
        tags: tags that name it now.
        created: when it was made (RFC 3339), or why it cannot be read.
        size: plain bytes of all files.
        files: how many files it has.
        pins: deployments whose pins name it now.
        variant: what it was derived from; null for what was published.
        signatures: who signed the refs that name it.
    """

    model: str
    digest: str | None
    tags: list[str]
    created: str
    size: int
    files: int
    pins: list[str]
    variant: Origin | None
    signatures: list[RefSignature]


class TreeVersion(Version):
    """A version in a tree.

    Attributes:
        model: the model.
        digest: the version; null where the entry of a ref cannot be read.
        tags: tags that name it now.
        created: when it was made (RFC 3339), or why it cannot be read.
        size: plain bytes of all files.
        files: how many files it has.
        pins: deployments whose pins name it now.
        variant: what it was derived from; null for what was published.
        signatures: who signed the refs that name it.
        by: who made it; null where that is not known.
        parent: the version that the tag named before.
        below: the version that it stands below in the tree.
        depth: how deep it is indented; 0 for a root.
        readable: whether it could be read.
    """

    by: str | None
    parent: str | None
    below: str | None
    depth: int
    readable: bool


class Tree(TypedDict):
    """The versions of a model, parents before their children.

    Attributes:
        model: the model.
        versions: its versions.
    """

    model: str
    versions: list[TreeVersion]


class Shown(TypedDict):
    """What a version consists of.

    Attributes:
        digest: the version.
        tags: tags that name it now; null where the refs cannot be read.
        pins: deployments whose pins name it now; null likewise.
        signatures: who signed these; null likewise.
        created: when it was made (RFC 3339).
        by: who made it.
        program: the program that did.
        first_tag: the tag that named it first.
        parent: the version that this tag named before.
        variant: what it was derived from, and how that was proven; null for what was published.
        manifest: the manifest as it is stored (manifests/schema/manifest-2.json).
    """

    digest: str
    tags: list[str] | None
    pins: list[str] | None
    signatures: list[RefSignature] | None
    created: str | None
    by: str | None
    program: str | None
    first_tag: str | None
    parent: str | None
    variant: VariantRecord | None
    manifest: dict[str, Any]


class DiffSide(TypedDict):
    """A file on one side of a comparison.

    Attributes:
        repo_id: its repo; null for a plain file.
        path: its path there.
        size: bytes.
    """

    repo_id: str | None
    path: str
    size: int


class DiffTensorSide(TypedDict):
    """A tensor on one side of a comparison.

    Attributes:
        dtype: the type of its elements.
        shape: its dimensions.
        size: bytes.
    """

    dtype: str
    shape: list[int]
    size: int


class DiffTensor(TypedDict):
    """A tensor that differs.

    Attributes:
        name: of the tensor.
        change: what happened to it.
        before: as it is in A; null where it is not there.
        after: as it is in B.
    """

    name: str
    change: str
    before: DiffTensorSide | None
    after: DiffTensorSide | None


class DiffTensors(TypedDict):
    """What differs between the tensors of two files.

    Attributes:
        changes: the tensors that differ.
        unchanged: how many do not.
        metadata: whether the metadata of the files differ.
    """

    changes: list[DiffTensor]
    unchanged: int
    metadata: bool


class DiffFile(TypedDict):
    """A file that differs.

    Attributes:
        change: what happened to it.
        before: the file in A; null where it is not there.
        after: the file in B.
        note: why its tensors were not compared.
        tensors: what differs between its tensors; null where they were not compared.
    """

    change: Change
    before: DiffSide | None
    after: DiffSide | None
    note: str | None
    tensors: DiffTensors | None


class DiffRepo(TypedDict):
    """A repo of two versions.

    Attributes:
        repo_id: the repo; null for the plain files.
        repo_type: model, dataset or space.
        change: what happened to it; null when it is the same.
        commit: its commits in A and in B.
        refs: the branches and tags of the hub that name them.
        files: the files that differ.
        unchanged: how many do not.
    """

    repo_id: str | None
    repo_type: str | None
    change: Change | None
    commit: tuple[str | None, str | None]
    refs: tuple[list[str] | None, list[str] | None]
    files: list[DiffFile]
    unchanged: int


class Diff(TypedDict):
    """What differs between two versions.

    Attributes:
        a: the exact reference of A.
        b: that of B.
        same: whether they hold the same.
        repos: their repos.
        other: what else differs.
        download: what B takes where A is.
    """

    a: str
    b: str
    same: bool
    repos: list[DiffRepo]
    other: list[str]
    download: Download
