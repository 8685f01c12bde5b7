"""Every error that a caller can meet, each with the exit code that a script can branch on.

| exit code | class | meaning |
|---|---|---|
| 1 | CasError | unexpected |
| 2 | InputError | the call is wrong |
| 3 | NotFoundError | the store does not have the thing |
| 4 | IntegrityError | bytes are damaged |
| 5 | FormatError | unknown version, malformed or hostile |
| 6 | StoreError | the store cannot be reached, or refuses |
| 7 | CacheError | the local disk or cache directory |
| 8 | SignatureError | a signature is missing, wrong, or by a key that is not trusted |

A message names the thing, where it is and the next step. It never carries a secret: no query string, header or
credential reaches an error text.
"""

from __future__ import annotations

import errno
import sys

from cas.formats.printable import printable

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The errno values by which an operating system reports a full disk or quota; we raise DiskFull for them."""

NO_PERMISSION = frozenset({errno.EPERM, errno.EACCES, errno.EROFS})
"""The errno values by which an operating system refuses a write."""

NO_FSYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""The errno values by which a file system says that it offers no fsync."""


class CasError(Exception):
    """Base of all errors that this package raises on purpose.

    Its text is one harmless line, whatever a server, a key or a name says in it.
    """

    exit_code = 1

    def __str__(self) -> str:
        """Return the error's message, made printable."""
        return printable(super().__str__())


class InputError(CasError):
    """The call itself is wrong: fix it and call again."""

    exit_code = 2


class PlatformUnsupported(InputError):
    """This operating system lacks what the program needs: locks of files, owners, and names that replace each other."""

    def __init__(self) -> None:
        super().__init__("model-cas runs on Linux and macOS: on Windows, run it in WSL (wsl --install)")


def refuse_platform() -> None:
    """Raise PlatformUnsupported on Windows, before anything is imported that does not exist there."""
    if sys.platform == "win32":
        raise PlatformUnsupported


class NotFoundError(CasError):
    """The store was reached, and says that the thing does not exist."""

    exit_code = 3


class IntegrityError(CasError):
    """Bytes do not hash to their name."""

    exit_code = 4


class FormatError(CasError):
    """A document or frame is of an unknown version, malformed or hostile."""

    exit_code = 5


class StoreError(CasError):
    """The store cannot be reached, or refuses the request.

    Attributes:
        code: the S3 error code of the server's response, or else its HTTP status; empty without a response.
    """

    exit_code = 6
    code = ""


class CacheError(CasError):
    """The local disk or cache directory prevents the work."""

    exit_code = 7


class SignatureError(CasError):
    """What must be signed by a trusted key is not, or there is no key to sign it with.

    Attributes:
        problem: what is wrong in a word or two, as lists show it: `unsigned`, `not trusted`, `altered`, `misplaced`,
            `below the floor`; empty where no entry of a ref is meant.
    """

    exit_code = 8

    def __init__(self, text: str, problem: str = "") -> None:
        super().__init__(text)
        self.problem = problem


class SignerMissing(SignatureError):
    """Refs are to be moved where keys are trusted, and nothing signs here. Nothing was moved.

    A publish that ends so has stored its version: a worker's background publish tells this from a failure.
    """


class UntrustedKey(SignatureError):
    """A signature is by a key that is not trusted here; whether it is a signature at all was not looked at.

    Attributes:
        key_id: of that key, 16 upper-case hex digits.
    """

    def __init__(self, key_id: str) -> None:
        super().__init__(f"it is signed by key {key_id}, which is not trusted here: see `cas trust ls`")
        self.key_id = key_id


class Transient(StoreError):
    """The store failed in a way that usually passes: another try may succeed."""


class Unreachable(Transient):
    """No connection to the store could be made."""


class Stalled(Transient):
    """A request moved too few bytes for too long, and was cut."""


class AccessDenied(StoreError):
    """The store refused the credentials or their permissions; trying again cannot help."""


class Unsupported(StoreError):
    """The store does not implement the request (a conditional write, a listing)."""


class CannotResume(StoreError):
    """A server begins a listing anew where it was asked to go on behind a key."""


class ForeignKey(StoreError):
    """A listing holds a key that the client cannot read, which hides the rest of the listing from that client."""


class ListingUnbounded(StoreError):
    """A listing makes no progress, or has no end; trying again cannot help."""


class AnswerUnusable(StoreError):
    """A client cannot use an answer, as it lacks what the client needs: a length, an age or an etag."""


class ObjectArchived(StoreError):
    """The store has the object in an archive, such as Glacier, from which nothing can be read at once."""


class Redirected(StoreError):
    """The store sends its clients to another address or region, to which no request is sent on.

    Attributes:
        region: that the store names as the bucket's; empty for none.
    """

    region = ""


class BucketMissing(StoreError):
    """The bucket itself does not exist, which is not the same as an absent object."""

    def __init__(self, where: str) -> None:
        super().__init__(f"bucket of {where} does not exist: check the name and the endpoint, or create it")
        self.where = where


class ObjectMissing(NotFoundError):
    """The server said 404 for one object."""

    def __init__(self, key: str, where: str) -> None:
        super().__init__(f"object {key} is not in {where}")
        self.key, self.where = key, where


class ObjectExists(StoreError):
    """A create-only write met an object of the same key, or a conflict about it.

    The outcome is unknown: the object may be our own, from an attempt whose response was lost.
    """

    def __init__(self, key: str, where: str) -> None:
        super().__init__(f"object {key} already exists in {where}")
        self.key, self.where = key, where


class ObjectTooLarge(FormatError):
    """An object is larger than anything its kind may be."""

    def __init__(self, key: str, where: str, size: int, limit: int) -> None:
        super().__init__(
            f"object {key} in {where} has {size} bytes where at most {limit} are possible: "
            "it was not written by this program"
        )
        self.key, self.size, self.limit = key, size, limit


class StoreMissing(NotFoundError):
    """There is no store at the given URL or path."""

    def __init__(self, where: str, advice: str = "") -> None:
        if not advice and where.startswith(("https://", "http://")):  # read only: no command can make one there
            advice = "check the URL: below it there is no format.json, which every store has"
        advice = advice or "check --store or CAS_STORE, or make one with `cas init` or `cas publish`"
        super().__init__(f"there is no store at {where}: {advice}")
        self.where = where


class RefUnset(NotFoundError):
    """A tag or pin was never set, which is not the same as a removed one."""


class ManifestMissing(NotFoundError):
    """The store has no version of this digest."""

    def __init__(self, model: str, digest: str, where: str) -> None:
        super().__init__(f"model {model} has no version {digest} in {where}: see `cas ls {model}`")
        self.model, self.digest, self.where = model, digest, where


class ChunkMissing(NotFoundError):
    """A manifest names a chunk that the store does not have."""

    def __init__(self, digest: str, where: str) -> None:
        super().__init__(
            f"chunk {digest} is not in {where}: heal it with `cas fsck --repair-from`, or publish the model again with "
            "`cas publish --force`"
        )
        self.digest, self.where = digest, where


class ChunkCorrupt(IntegrityError):
    """A stored chunk does not decode to bytes that hash to its name."""

    def __init__(self, digest: str, where: str, reason: str) -> None:
        super().__init__(
            f"chunk {digest} in {where} is corrupt ({reason}): "
            "heal it with `cas fsck --repair-from`, or publish the model again with `cas publish --force`"
        )
        self.digest, self.where, self.reason = digest, where, reason


class ManifestCorrupt(IntegrityError):
    """A manifest's bytes do not hash to its name."""

    def __init__(self, want: str, got: str, where: str) -> None:
        super().__init__(
            f"manifest {want} in {where} was altered (its bytes are {got}): "
            "choose another version with `cas ls`, or publish again"
        )
        self.want, self.got, self.where = want, got, where


class RefMoved(StoreError):
    """Somebody else moved the same ref, before us or at the same moment, and their entry won."""

    def __init__(self, ref: str, winner: str, expected: str | None = None) -> None:
        wanted = "nothing" if expected == "none" else expected
        how = f"(expected: {wanted})" if expected is not None else "by somebody else at the same moment"
        what = f"{ref} was moved to {winner} {how}"
        super().__init__(f"{what}: look at it with `cas history {ref}`, and move it again if yours should win")
        self.ref, self.winner, self.expected = ref, winner, expected


class DiskFull(CacheError):
    """The free disk space is less than what a restore would write."""
