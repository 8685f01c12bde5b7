"""The targets: each with its limit, and how its figure is computed from the results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.bench.cases import (
    BFLOAT16_DOWNLOAD,
    COLD_DOWNLOAD,
    DISTANT,
    DOWNLOAD,
    LOAD_NUMPY,
    LOAD_TENSORS,
    RELAYED,
    STREAMER,
    TWO_SLOW,
    UPLOAD,
)
from tools.bench.link import LINKS
from tools.bench.results import MIB, Results

Figure = Callable[[Results], Sequence[float]]


@dataclass(frozen=True)
class Target:
    """A figure that must be at most `limit`.

    Attributes:
        what: what the figure is.
        limit: the highest value that meets the target.
        unit: unit of the figure, empty for a ratio.
        figure: returns its values, one per round; none where it was not measured.
    """

    what: str
    limit: float
    unit: str
    figure: Figure


@dataclass(frozen=True)
class Verdict:
    """A target, and whether it is met.

    Attributes:
        what: as in the target.
        limit: as in the target.
        unit: as in the target.
        measured: the median of the figure, None where it was not measured.
        met: whether the median is at most the limit, None where it was not measured.
    """

    what: str
    limit: float
    unit: str
    measured: float | None
    met: bool | None


def judge(results: Results) -> list[Verdict]:
    """Return a verdict on each target, by the median of its figure."""
    verdicts = []
    for target in TARGETS:
        values = target.figure(results)
        median = statistics.median(values) if values else None
        met = None if median is None else median <= target.limit
        verdicts.append(Verdict(target.what, target.limit, target.unit, median, met))
    return verdicts


def _to_peer(link: str, case: str, peer: str) -> Figure:
    return lambda results: results.ratios(link, case, peer)


def _wall(link: str, case: str) -> Figure:
    return lambda results: results.walls(link, case)


def _extra(link: str, case: str, name: str) -> Figure:
    return lambda results: results.extra(link, case, name)


def _to_link(results: Results) -> Sequence[float]:
    """The restore's wall time divided by the time that the stored bytes alone take on the link."""
    stored, rate = results.facts.get("stored bytes"), LINKS["1gbit"].rate
    if not stored or not rate:
        return []
    return [wall / (stored * 8 / rate) for wall in results.walls("1gbit", "cas restore")]


def _update_wire(results: Results) -> Sequence[float]:
    """The bytes that the card received, manifest and headers included, divided by the changed tensors' stored bytes."""
    changed = results.facts.get("tuned: stored bytes of changed tensors")
    received = results.received("1gbit", "cas restore, 15 % changed")
    return [each / changed for each in received] if changed else []


def _slower(results: Results) -> Sequence[float]:
    """Seconds that two slow connections cost over loopback, by round."""
    walls = (results.walls("none", case) for case in (TWO_SLOW, RELAYED))
    return [slow - fast for slow, fast in zip(*walls, strict=False)]


def _second_requests(results: Results) -> Sequence[float]:
    """Second requests of the restores over a healthy link of 1 Gbit/s."""
    documents = (one.document for one in results.runs.get(("1gbit", "cas restore"), []))
    return [document["second_requests"]["requests"] for document in documents if "second_requests" in document]


def _highest_peak(results: Results) -> Sequence[float]:
    peaks = [one.run.peak / MIB for (_, case), runs in results.runs.items() if case.startswith("cas ") for one in runs]
    return [max(peaks)] if peaks else []


def _beyond_tensors(case: str) -> Figure:
    """MiB that the peak of each run is above the size of the tensors."""
    return lambda results: results.each(
        "none", case, lambda measured: (measured.run.peak - measured.document["bytes"]) / MIB
    )


def _plan_peak(results: Results) -> Sequence[float]:
    return results.each("none", "cas restore, plan of 20,000", lambda measured: measured.run.peak / MIB)


TARGETS = (
    Target("restore / s5cmd, 1 Gbit/s", 0.86, "", _to_peer("1gbit", "cas restore", DOWNLOAD)),
    Target("restore / s5cmd, 2.5 Gbit/s", 0.88, "", _to_peer("2.5gbit", "cas restore", DOWNLOAD)),
    Target("restore / s5cmd, loopback, http", 1.15, "", _to_peer("none", "cas restore", DOWNLOAD)),
    Target("restore / s5cmd, loopback, TLS", 1.05, "", _to_peer("tls", "cas restore", DOWNLOAD)),
    Target(
        "restore / s5cmd, 2.5 Gbit/s, cold page cache",
        0.88,
        "",
        _to_peer("2.5gbit", "cas restore, cold page cache", COLD_DOWNLOAD),
    ),
    Target(
        "restore of bfloat16 / s5cmd, loopback, http",
        1.0,
        "",
        _to_peer("none", "cas restore, bfloat16", BFLOAT16_DOWNLOAD),
    ),
    Target(
        "restore of float16 / s5cmd of float32, 1 Gbit/s", 0.47, "", _to_peer("1gbit", "cas restore, float16", DOWNLOAD)
    ),
    Target("load_tensors / Run:ai streamer, 1 Gbit/s", 0.8, "", _to_peer("1gbit", LOAD_TENSORS, STREAMER)),
    Target("load_tensors / Run:ai streamer, loopback, http", 0.8, "", _to_peer("none", LOAD_TENSORS, STREAMER)),
    Target("load_tensors, numpy: peak beyond its tensors", 400, "MiB", _beyond_tensors(LOAD_NUMPY)),
    Target("load_tensors, torch and its import: the same", 400, "MiB", _beyond_tensors(LOAD_TENSORS)),
    Target("restore, two slow connections / none, 1 Gbit/s", 1.2, "", _to_peer("1gbit", TWO_SLOW, RELAYED)),
    Target("restore, two slow connections - none, loopback", 0.5, "s", _slower),
    Target("second requests of a restore, 1 Gbit/s", 0, "", _second_requests),
    Target("restore, 40 ms away / near, 1 Gbit/s", 1.15, "", _to_peer("1gbit", DISTANT, RELAYED)),
    Target("restore / (stored bytes / link rate), 1 Gbit/s", 1.07, "", _to_link),
    Target("update: bytes received / stored bytes of changed tensors", 1.02, "", _update_wire),
    Target("update / full restore, 1 Gbit/s", 0.25, "", _to_peer("1gbit", "cas restore, 15 % changed", "cas restore")),
    Target("publish / s5cmd upload, 1 Gbit/s", 0.88, "", _to_peer("1gbit", "cas publish", UPLOAD)),
    Target("publish / s5cmd upload, loopback, http", 0.90, "", _to_peer("none", "cas publish", UPLOAD)),
    Target("unchanged publish, hub cache", 1.0, "s", _wall("none", "cas publish, unchanged hub cache")),
    Target("unchanged publish, folder", 1.0, "s", _wall("none", "cas publish, unchanged folder")),
    Target("warm restore", 0.35, "s", _wall("none", "cas restore, warm")),
    Target("highest peak of any cas run", 300, "MiB", _highest_peak),
    Target(
        "process start to first chunk request", 0.2, "s", _extra("none", "cas restore, to first chunk", "first chunk")
    ),
    Target("plan of 20,000 chunks", 0.5, "s", _wall("none", "cas restore, plan of 20,000")),
    Target("plan of 20,000 chunks, peak", 200, "MiB", _plan_peak),
)
