"""What can go wrong between an HTTP client and a server, as values."""

import enum
import threading
from dataclasses import dataclass


class Kind(enum.Enum):
    """A way in which one HTTP exchange fails."""

    STATUS = "status"
    """Answer with an S3 error, without asking the server."""
    DROP_BEFORE = "drop-before"
    """Close the connection; the server never sees the request."""
    DROP_RESPONSE = "drop-response"
    """Let the server do its work, then close the connection without an answer."""
    TRUNCATE = "truncate"
    """Announce the true length, send half of the body, close the connection."""
    SHORT_LENGTH = "short-length"
    """Announce half of the length, and send that half: only the content shows that the rest is missing."""
    BIT_FLIP = "bit-flip"
    """Flip one bit in the middle of the body."""
    STALL = "stall"
    """Send half of the body, then nothing, then close the connection."""
    TRICKLE = "trickle"
    """Send the body slowly."""
    ERROR_PAGE = "error-page"
    """Answer 200 with an HTML page, without asking the server."""
    IGNORE_RANGE = "ignore-range"
    """Hide the request's Range header from the server."""


@dataclass(frozen=True)
class Fault:
    """A fault, and the requests that it hits.

    Attributes:
        kind: what goes wrong.
        times: how many requests it hits; None for all.
        after: how many matching requests it spares first.
        method: hit requests with this HTTP method only.
        path_contains: hit requests with this text in path or query only.
        status: HTTP status of STATUS.
        code: S3 error code of STATUS.
        retry_after: value of the Retry-After header of STATUS, in seconds.
        body: body of STATUS, by default an S3 error document with `code`, or of ERROR_PAGE.
        seconds: length of the silence of STALL; None until the proxy closes.
        bytes_per_second: rate of TRICKLE.
    """

    kind: Kind
    times: int | None = 1
    after: int = 0
    method: str | None = None
    path_contains: str | None = None
    status: int = 503
    code: str = "SlowDown"
    retry_after: int | None = None
    body: bytes | None = None
    seconds: float | None = None
    bytes_per_second: int = 1024

    def matches(self, method: str, path: str) -> bool:
        """Return whether the fault is meant for requests with this method and path."""
        return self.method in (None, method) and (self.path_contains or "") in path


class FaultPlan:
    """The faults that the next requests meet; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Append a fault: those added before it hit first."""
        with self._lock:
            self._armed.append(_Armed(fault, spare=fault.after, left=fault.times))

    def clear(self) -> None:
        """Remove all faults, so that none hits any more."""
        with self._lock:
            self._armed.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first fault that hits this request, and count it as used."""
        with self._lock:
            for armed in self._armed:
                if armed.left != 0 and armed.fault.matches(method, path):
                    if armed.spare > 0:
                        armed.spare -= 1
                        continue
                    if armed.left is not None:
                        armed.left -= 1
                    return armed.fault
        return None


@dataclass
class _Armed:
    fault: Fault
    spare: int
    left: int | None
