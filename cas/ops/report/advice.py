"""What to fix first: rules over the starts of a report, with the seconds that each would have saved and how it counts.

A rule speaks up only about several starts, and compares starts with others of the same fleet: what a fleet could reach
elsewhere, its receipts do not tell.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from cas.ops.report.failures import causes
from cas.ops.report.phases import UNNAMED, mean_phases, seconds_alone
from cas.ops.report.starts import UNKNOWN, Start
from cas.ops.report.traffic import fetched, fetched_again

K = TypeVar("K", bound=Hashable)

FEWEST = 5
"""Starts that a group must have for a rule to judge it."""

_SLOWER = 2.0  # how many times as fast another place fetches, from which on a place is slow
_SLOWER_MACHINE = 1.5  # how many times the seconds of its neighbours a slow machine takes
_SLOWER_VERSION = 0.1  # how much slower a version is than the one before, from which on it is worth a word
_SHARE = 0.3  # of a start's seconds, from which on a phase is named as the one to work on
_NAMED = 0.02  # of a start's seconds, from which on seconds without a name are worth a word
_WORTH = 0.2  # seconds a start, below which a rule keeps silent

_OF_RESTORE = frozenset(("resolve", "plan", "fetch", "copy", "link", "wait", UNNAMED))

_HINTS = {
    "load": "Read the weights straight into tensors (`cas.load_tensors`), or begin with files that are complete "
    "(`on_event`) while others are fetched.",
    "imports": "Import libraries while the model is fetched, and leave out what the first job does not use.",
    "warm-up": "Warm up with the smallest input, or keep compiled kernels on a disk that outlives the container.",
    "compile": "Keep what is compiled on a disk that outlives the container.",
    "container": "This is before Python runs: a smaller image starts sooner on a machine that does not have it.",
    "python": "This is the interpreter's own start: look at what `python -X importtime` names.",
}


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to fix.

    Attributes:
        rule: which rule speaks.
        title: what is wrong.
        text: what to do.
        basis: how the seconds were counted.
        starts: how many starts are affected.
        seconds: what would have been saved in all of them; None where receipts do not tell.
        at_most: whether that is a bound, which no change reaches.
    """

    rule: str
    title: str
    text: str
    basis: str
    starts: int
    seconds: float | None
    at_most: bool = False


def advice(starts: Sequence[Start]) -> tuple[Advice, ...]:
    """Return what to fix, what saves the most seconds first, and bounds after what can be reached.

    Args:
        starts: oldest first.
    """
    rules = (_failures, _slow_places, _fetched_again, _slow_machines, _slower_versions, _phases, _unnamed, _from_hub)
    found = [one for rule in rules for one in rule(starts)]
    return tuple(sorted(found, key=lambda one: (one.seconds is None, one.at_most, -(one.seconds or 0.0))))


def _failures(starts: Sequence[Start]) -> Iterator[Advice]:
    for cause in causes(starts):
        where = ", ".join(cause.deployments)
        yield Advice(
            rule="failures",
            title=f"{_times(cause.starts)} a start failed with {cause.kind} ({where})",
            text=f"The newest said: {cause.message.rstrip('.')}. `cas doctor` on such a machine says what it may do.",
            basis="seconds until each of these starts failed",
            starts=cause.starts,
            seconds=cause.seconds,
        )


def _slow_places(starts: Sequence[Start]) -> Iterator[Advice]:
    """Datacenters that fetch a version slower than another one does."""
    fetched = [start for start in starts if start.ok and start.fetching > 0 and start.wire > 0]
    saved: dict[tuple[str, str], list[float]] = defaultdict(list)
    rates: dict[tuple[str, str], tuple[float, float]] = {}
    for alike in _grouped(fetched, lambda start: start.version).values():
        places = _grouped(alike, lambda start: start.datacenter)
        rate = {
            place: statistics.median(start.wire / start.fetching for start in some)
            for place, some in places.items()
            if len(some) >= FEWEST and place != UNKNOWN
        }
        best = max(rate, key=lambda place: rate[place], default="")
        for place, its_rate in rate.items():
            if its_rate * _SLOWER < rate[best]:
                rates[place, best] = its_rate, rate[best]
                saved[place, best] += [_beyond(start, rate[best]) for start in places[place]]
    for (place, best), each in saved.items():
        if sum(each) >= _WORTH * len(each):
            slow, fast = rates[place, best]
            yield Advice(
                rule="slow place",
                title=f"{place} fetches at {_rate(slow)}, {best} at {_rate(fast)}",
                text=f"Put a copy of the store near {place} (`cas mirror`), or a cache between (CAS_READ_URL); "
                f"that saves {_each(sum(each), len(each))}.",
                basis="seconds of `fetch` beyond those that as many bytes of the same version take at the median rate "
                f"of {best}, as far as nothing else was under way",
                starts=len(each),
                seconds=round(sum(each), 1),
            )


def _beyond(start: Start, rate: float) -> float:
    """Seconds that a start would have been shorter if it had fetched at some rate, in bytes a second."""
    return min(seconds_alone(start, "fetch"), max(0.0, start.fetching - start.wire / rate))


def _fetched_again(starts: Sequence[Start]) -> Iterator[Advice]:
    again = [start for start in fetched_again(starts) if start.ok]
    saved = sum(seconds_alone(start, "fetch") for start in again)
    if len(again) >= FEWEST and saved >= _WORTH * len(again):
        size = sum(fetched(start) for start in again) / 1e9
        yield Advice(
            rule="fetched again",
            title=f"Machines fetched {size:,.1f} GB that they had fetched before",
            text="Put the hub cache on a disk that outlives the container (HF_HUB_CACHE, the worker's "
            f"CAS_CACHE_DIRS), or name it as a seed (CAS_SEEDS); that saves {_each(saved, len(again))}.",
            basis="seconds in which nothing but `fetch` was under way, on machines that had restored the same version",
            starts=len(again),
            seconds=round(saved, 1),
        )


def _slow_machines(starts: Sequence[Start]) -> Iterator[Advice]:
    """Machines that are slower than the others of their deployment and datacenter with the same version."""
    ready = [start for start in starts if start.temperature == "cold"]
    slow: dict[str, list[tuple[Start, float]]] = defaultdict(list)
    for alike in _grouped(ready, lambda start: (start.deployment, start.version, start.datacenter)).values():
        usual = statistics.median(start.seconds for start in alike)
        for machine, some in _grouped(alike, lambda start: start.host).items():
            median = statistics.median(start.seconds for start in some)
            if len(some) >= FEWEST and median > _SLOWER_MACHINE * usual:
                slow[machine] += [(start, usual) for start in some]
    for machine, found in slow.items():
        saved = sum(max(0.0, start.seconds - usual) for start, usual in found)
        if saved >= _WORTH * len(found):
            mine = statistics.median(start.seconds for start, _ in found)
            theirs = statistics.median(usual for _, usual in found)
            yield Advice(
                rule="slow machine",
                title=f"{machine} starts in {mine:.1f} s, its neighbours in {found[0][0].deployment} in {theirs:.1f} s",
                text="Look at its disk and connection (`cas doctor` there), or leave it out.",
                basis="seconds beyond the median of the cold starts of the same version, deployment and datacenter",
                starts=len(found),
                seconds=round(saved, 1),
            )


def _slower_versions(starts: Sequence[Start]) -> Iterator[Advice]:
    """Versions that start slower than the one that the same deployment ran before."""
    ready = [start for start in starts if start.temperature == "cold"]
    by_model = _grouped(ready, lambda start: (start.deployment, start.version.partition("@")[0]))
    for (deployment, _), some in by_model.items():
        versions = list(_grouped(some, lambda start: start.version).items())
        for (old, before), (new, after) in pairwise(versions):
            if len(before) < FEWEST or len(after) < FEWEST:
                continue
            usual = statistics.median(start.seconds for start in before)
            slower = statistics.median(start.seconds for start in after) - usual
            if slower >= max(_WORTH, _SLOWER_VERSION * usual):
                yield Advice(
                    rule="slower version",
                    title=f"{new} starts {slower:.1f} s slower in {deployment} than {old} before it",
                    text=f"`cas diff {old} {new}` shows what is larger; `cas derive` makes a float16 variant.",
                    basis="difference of the medians of cold starts, for each start of the newer version",
                    starts=len(after),
                    seconds=round(slower * len(after), 1),
                )


def _phases(starts: Sequence[Start]) -> Iterator[Advice]:
    """Phases beside the restore that take a large share of the starts of some versions."""
    large: dict[str, list[tuple[str, int, float, float]]] = defaultdict(list)
    for version, some in _grouped([start for start in starts if start.ok], lambda start: start.version).items():
        means = mean_phases(some)
        for name, seconds in means.items():
            share = seconds / sum(means.values())
            if len(some) >= FEWEST and seconds >= _WORTH and share >= _SHARE and name not in _OF_RESTORE:
                large[name].append((version, len(some), seconds, share))
    for name, found in large.items():
        found.sort(key=lambda one: -one[1] * one[2])
        where = ", ".join(f"{seconds:.1f} s or {share:.0%} of {version}" for version, _, seconds, share in found[:3])
        yield Advice(
            rule="phase",
            title=f"`{name}` takes a large share of starts: {where}",
            text=_HINTS.get(name, f"Measure what happens in `{name}`: phases inside it (`cas.phase`) say."),
            basis="all seconds of this phase: what can be saved of them, a receipt does not tell",
            starts=sum(count for _, count, _, _ in found),
            seconds=round(sum(count * seconds for _, count, seconds, _ in found), 1),
            at_most=True,
        )


def _unnamed(starts: Sequence[Start]) -> Iterator[Advice]:
    ready = [start for start in starts if start.ok]
    for deployment, some in _grouped(ready, lambda start: start.deployment).items():
        means = mean_phases(some)
        seconds = means.get(UNNAMED, 0.0)
        if len(some) >= FEWEST and seconds >= max(_WORTH, _NAMED * sum(means.values())):
            yield Advice(
                rule="no name",
                title=f"{seconds:.1f} s of a start in {deployment} have no name",
                text='Put `with cas.phase("…"):` around what your worker does there; the next report shows it.',
                basis="seconds that no phase of the receipt covers",
                starts=len(some),
                seconds=None,
            )


def _from_hub(starts: Sequence[Start]) -> Iterator[Advice]:
    fell = [start for start in starts if start.sources.get("hub")]
    if fell:
        versions = ", ".join(sorted({start.version for start in fell})[:3])
        yield Advice(
            rule="from the hub",
            title=f"{_times(len(fell))} bytes came from Hugging Face instead of the store ({versions})",
            text="Publish what was missing, and let `cas fsck` look for damage.",
            basis="starts whose receipts tell of bytes from a hub",
            starts=len(fell),
            seconds=None,
        )


def _grouped(starts: Sequence[Start], key: Callable[[Start], K]) -> Mapping[K, list[Start]]:
    """The starts by what `key` returns for each, in the order in which the groups began."""
    found: dict[K, list[Start]] = defaultdict(list)
    for start in starts:
        found[key(start)].append(start)
    return found


def _times(count: int) -> str:
    return "Once" if count == 1 else f"{count:,} times"


def _each(seconds: float, starts: int) -> str:
    return f"{seconds / starts:.1f} s in each of {starts:,} starts"


def _rate(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e6:,.0f} MB/s"
