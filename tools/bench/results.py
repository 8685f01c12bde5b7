"""What came out: runs by link and case, and the figures that follow from them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.bench.scene import Measured

MIB = 1 << 20


@dataclass
class Results:
    """Counted runs, oldest first; every case of a link has one per round.

    peers: case -> the one its wall time is divided by. facts: sizes of what was moved. skipped: what was not
    measured, as "case, link" -> why.
    """

    runs: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, link: str, case: str, measured: Measured) -> None:
        """Adds a counted run."""
        self.runs.setdefault((link, case), []).append(measured)

    def walls(self, link: str, case: str) -> list[float]:
        """Wall seconds of each run."""
        return self.each(link, case, lambda measured: measured.run.wall)

    def each(self, link: str, case: str, figure: Callable[[Measured], float]) -> list[float]:
        """One figure of each run."""
        return [figure(measured) for measured in self.runs.get((link, case), [])]

    def extra(self, link: str, case: str, name: str) -> list[float]:
        """A figure that only this case has."""
        return self.each(link, case, lambda measured: measured.extra[name])

    def ratios(self, link: str, case: str, peer: str | None = None) -> list[float]:
        """Wall times over those of the peer in the same round."""
        theirs = self.walls(link, self.peers.get(case, "") if peer is None else peer)
        return [mine / other for mine, other in zip(self.walls(link, case), theirs, strict=False)]

    def received(self, link: str, case: str) -> list[float]:
        """Bytes that the client's card received, for links that have one."""
        return [float(one.traffic.received) for one in self.runs.get((link, case), []) if one.traffic]

    def sent(self, link: str, case: str) -> list[float]:
        """Bytes that the client's card sent, for links that have one."""
        return [float(one.traffic.sent) for one in self.runs.get((link, case), []) if one.traffic]

    def links(self) -> list[str]:
        """Names of the links, in the order in which they were measured."""
        return list(dict.fromkeys(link for link, _ in self.runs))

    def cases(self, link: str) -> list[str]:
        """Names of a link's cases, in the order in which they were measured."""
        return [case for where, case in self.runs if where == link]

    def drop(self, link: str, case: str, why: str) -> None:
        """Forgets the runs of a case, which failed or cannot run."""
        self.runs.pop((link, case), None)
        self.skipped[f"{case}, {link}"] = why

    def document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "facts": self.facts,
            "skipped": self.skipped,
            "summary": [self._summary(*key) for key in self.runs],
            "runs": [
                {"link": link, "case": case, "round": number, "ratio": ratio, **_plain(measured)}
                for (link, case), runs in self.runs.items()
                for number, (measured, ratio) in enumerate(_beside(runs, self.ratios(link, case)), 1)
            ],
        }

    def _summary(self, link: str, case: str) -> dict[str, Any]:
        return {
            "link": link,
            "case": case,
            "peer": self.peers.get(case) or None,
            "wall_s": _spread(self.walls(link, case)),
            "cpu_s": _spread(self.each(link, case, lambda one: one.run.cpu)),
            "peak_bytes": _spread(self.each(link, case, lambda one: one.run.peak)),
            "card_received_bytes": _spread(self.received(link, case)),
            "card_sent_bytes": _spread(self.sent(link, case)),
            "ratio": _spread(self.ratios(link, case)),
        }


def _plain(measured: Measured) -> dict[str, Any]:
    run, traffic = measured.run, measured.traffic
    figures = {"wall_s": run.wall, "cpu_s": run.cpu, "peak_bytes": run.peak}
    card = {"card_received_bytes": traffic and traffic.received, "card_sent_bytes": traffic and traffic.sent}
    said = {name: value for name, value in measured.document.items() if isinstance(value, int | float)}
    return {**figures, **card, **measured.extra, **({"said": said} if said else {})}


def _beside(runs: Sequence[Measured], ratios: Sequence[float]) -> list[tuple[Measured, float | None]]:
    return list(zip(runs, [*ratios, *[None] * (len(runs) - len(ratios))], strict=True))


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def fields_of(value: Any) -> dict[str, Any]:
    """A dataclass as JSON takes it."""
    return dataclasses.asdict(value)
