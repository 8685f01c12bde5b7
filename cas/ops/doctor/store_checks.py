"""The checks of a store that only read: whether it answers, the clock, what the key may read and list."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from cas.bucket.base import ServerFacts
from cas.bucket.urls import parse
from cas.errors import AccessDenied, BucketMissing, CasError, FormatError, StoreError, StoreMissing, Unsupported
from cas.ops.doctor.findings import Findings, Result, failed, ok, skipped, warning
from cas.ops.doctor.providers import BY_SCHEME, UNKNOWN, Provider, provider_of
from cas.ops.doctor.roles import Right, Role, granted, refused
from cas.store import layout
from cas.store.store import Store

PERMISSION_CODES = frozenset({"", "401", "403", "AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden"})
"""Codes of a refusal that leave it open whether the key is good and lacks a permission. Others say what is wrong."""

# Servers refuse what was signed more than 15 minutes off, and `cas gc` ends at the same difference.
_REFUSED_AT = datetime.timedelta(minutes=15)
_NOTED_AT = datetime.timedelta(minutes=2)
_SET_CLOCK = "set the clock of this machine, for example with `timedatectl set-ntp true`"


class StoreExamination:
    """The checks of one store, in order. Each notes its finding; `rights` collects what the key may do.

    Attributes:
        store: that is examined.
        role: that the key is meant for; None where the user did not say.
        findings: of all checks.
        rights: that were tried, and whether the server granted each.
        provider: of the storage.
        facts: what the server says of itself; None where there is no server of objects.
        exists: whether there is a store.
        clock_unknown: whether the server's clock is still to be learnt, from the age of an object.
    """

    def __init__(self, store: Store, role: Role | None, findings: Findings, host: str) -> None:
        """Make no request yet. host: of the endpoint; empty where there is none."""
        self.store, self.role, self.findings = store, role, findings
        self.bucket = store.bucket
        self.rights: dict[Right, bool] = {}
        self.facts: ServerFacts | None = None
        self.exists = self.clock_unknown = False
        self._host, scheme = host, parse(store.url).scheme
        self.is_web = scheme in ("http", "https")
        self.is_directory = scheme == "file"
        self.provider: Provider = BY_SCHEME.get(scheme) or provider_of(host)

    def note(self, name: str, result: Result) -> Result:
        """Note the result of a check of the store, with what is known of this storage where something was found."""
        habit = self.provider.habits.get(name, "")
        if result.status in ("warning", "failed") and habit and habit not in result.advice:
            result = result._replace(advice="; ".join(filter(None, (result.advice, habit))))
        return self.findings.add("store", name, result)

    def right(self, right: Right, result: Result | AccessDenied, name: str = "") -> Result:
        """Note whether the key has a right: a result stands for a request that was granted, an error for a refusal."""
        if isinstance(result, AccessDenied) and result.code not in PERMISSION_CODES:
            return self.note(name or right, _of(result))  # a key that has just expired says nothing about its rights
        if isinstance(result, AccessDenied):
            self.rights[right] = False
            judged = refused(right, result, self.role, self.provider)
        else:
            self.rights[right] = True
            judged = granted(right, result.found, self.role, self.provider) if result.status == "ok" else result
        return self.note(name or right, judged)

    def answers(self) -> bool:
        """Read format.json: note whether anything answers, whether the key is good, and whether there is a store.

        Returns:
            False when no other check of the store makes sense.
        """
        begun = time.monotonic()
        try:
            self.store.check_format()
            self.exists, refusal, problem = True, None, None
        except (StoreMissing, FormatError) as error:
            refusal, problem = None, error
        except AccessDenied as error:
            if error.code not in PERMISSION_CODES:
                self._look_at_the_server()
                self._refused_key(error)
                return False
            refusal, problem = error, None
        except CasError as error:
            self.note("bucket" if isinstance(error, BucketMissing) else "connect", _of(error))
            return False
        seconds = time.monotonic() - begun
        self._look_at_the_server()
        kind = "" if self.provider is UNKNOWN else f", {self.provider.name}"
        self.note("connect", ok(f"answers in {1000 * seconds:.0f} ms{kind}"))
        self._clock()
        if self.is_web and isinstance(problem, StoreMissing):
            self.note("read", skipped("nothing is there that could be read"))
        else:
            self.right("read", refusal or ok("objects can be read"))
        if refusal is None:
            self.note("format", self._format(problem))
        return True

    def listing(self) -> None:
        """Note whether the key may list."""
        if self.is_web:
            self.rights["list"] = self.role != "collector"  # readers name versions by digest
            self.note("list", skipped("https stores have no listing: name versions by digest, or by a lock file"))
            return
        try:
            self.bucket.list(f"{layout.EXAMINATIONS}/none")
            self.right("list", ok("objects can be listed"))
        except AccessDenied as error:
            self.right("list", error)
        except CasError as error:
            self.note("list", _of(error))

    def pages(self, prefix: str, keys: Sequence[str] | None = None) -> Result:
        """Return whether a listing goes on behind the end of a page, each key once and in order.

        Args:
            prefix: the folder to list.
            keys: that are in it; None for whatever is in the store.
        """
        try:
            pages = self.bucket.first_pages(prefix, 2, len(keys) + 1 if keys else 3)
        except Unsupported:
            return skipped("the pages of this listing cannot be seen")
        except AccessDenied:
            raise
        except StoreError as error:
            advice = (
                "listings that fill more than one page fail, and with them publishes and collections: use other storage"
            )
            return failed(str(error), advice, error.exit_code)
        found = [key for page in pages for key in page]
        if keys is None and len(pages) < 2:
            return skipped("too few objects to fill a page, and this key cannot clear more of them")
        if found != sorted(set(found)) or (keys is not None and found != list(keys)):
            return failed(
                f"a listing cut into {len(pages)} pages brought {len(found)} keys: some are missing, repeated or out of"
                " order",
                "publishes and collections would miss objects: check the endpoint and the proxies before it",
            )
        if len(pages) == 1:
            return ok("the server puts more on a page than it is asked for; nothing is missing")
        return ok(f"{len(found)} keys on {len(pages)} pages, each once and in order")

    def _format(self, problem: CasError | None) -> Result:
        if problem is None:
            return ok(f"a store, version {layout.LAYOUT_VERSION}")
        if isinstance(problem, StoreMissing) and self.role != "reader" and not self.is_web:
            return warning(str(problem))
        return failed(str(problem), code=problem.exit_code)

    def _refused_key(self, error: AccessDenied) -> None:
        """Note a refusal that is no matter of permissions: a wrong or expired key, or a clock that is off."""
        there = self.facts.now if self.facts else None
        if error.code == "RequestTimeTooSkewed":
            apart = f" ({_apart(there, datetime.datetime.now(datetime.UTC))})" if there else ""
            self.note("clock", failed(f"{error}{apart}", _SET_CLOCK, error.exit_code))
            return
        self.note("key", _of(error))
        self._clock()

    def _look_at_the_server(self) -> None:
        try:
            self.facts = self.bucket.server()
        except StoreError:
            self.facts = None  # the other checks tell what is wrong
        if self.facts:
            self.provider = provider_of(self._host, self.facts)

    def _clock(self) -> None:
        if self.facts is None or self.facts.now is None:
            self.clock_unknown = True
            return
        self.note("clock", clock(self.facts.now, datetime.datetime.now(datetime.UTC), self.facts.seconds))


def clock(there: datetime.datetime, here: datetime.datetime, within: float) -> Result:
    """Compare two clocks.

    Args:
        there: the server's time.
        here: this machine's.
        within: seconds that the answer took, which say nothing about the clocks.
    """
    apart = abs(here - there)
    if apart <= _NOTED_AT + datetime.timedelta(seconds=within):
        return ok(f"within {max(1, round(apart.total_seconds()))} s of the server's")
    words = _apart(there, here)
    if apart < _REFUSED_AT:
        return warning(words, _SET_CLOCK)
    return failed(f"{words}: signatures are refused, and `cas gc` ends", _SET_CLOCK)


def _apart(there: datetime.datetime, here: datetime.datetime) -> str:
    direction = "ahead of" if here > there else "behind"
    return f"this machine is {round(abs(here - there).total_seconds() / 60)} minutes {direction} the server"


def _of(error: CasError) -> Result:
    return failed(str(error), code=error.exit_code)
