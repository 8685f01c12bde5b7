"""The measured runs by link and case, and the figures computed from them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.bench.client import Measured

MIB = 1 << 20


@dataclass
class Results:
    """The runs that count; every case of a link has one per round.

    Attributes:
        runs: the runs of each link and case, oldest first.
        peers: case -> the case that its wall time is divided by.
        facts: sizes of the model and what was stored, by name.
        skipped: "case, link" that was not measured -> the reason.
    """

    runs: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, link: str, case: str, measured: Measured) -> None:
        """Append a run that counts to those of its link and case."""
        self.runs.setdefault((link, case), []).append(measured)

    def walls(self, link: str, case: str) -> list[float]:
        """The wall seconds of each run, oldest first."""
        return self.each(link, case, lambda measured: measured.run.wall)

    def each(self, link: str, case: str, figure: Callable[[Measured], float]) -> list[float]:
        """The same figure of each run, oldest first.

        Args:
            link: name of the link.
            case: name of the case.
            figure: takes the figure from a run.
        """
        return [figure(measured) for measured in self.runs.get((link, case), [])]

    def extra(self, link: str, case: str, name: str) -> list[float]:
        """A figure of each run that only this case has, by the figure's name."""
        return self.each(link, case, lambda measured: measured.extra[name])

    def ratios(self, link: str, case: str, peer: str | None = None) -> list[float]:
        """Each run's wall time divided by that of the peer in the same round.

        Args:
            link: name of the link.
            case: name of the case.
            peer: name of the other case, by default the one in `peers`.
        """
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
        """Remove the runs of a case that failed or cannot run, and record why."""
        self.runs.pop((link, case), None)
        self.skipped[f"{case}, {link}"] = why

    def document(self) -> dict[str, Any]:
        """All results as a document for JSON."""
        return {
            "facts": self.facts,
            "skipped": self.skipped,
            "summary": [self._summary(*key) for key in self.runs],
            "runs": [
                {"link": link, "case": case, "round": number, "ratio": ratio, **_figures(measured)}
                for (link, case), runs in self.runs.items()
                for number, (measured, ratio) in enumerate(_with_ratios(runs, self.ratios(link, case)), 1)
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


def _figures(measured: Measured) -> dict[str, Any]:
    run, traffic = measured.run, measured.traffic
    figures = {"wall_s": run.wall, "cpu_s": run.cpu, "peak_bytes": run.peak}
    card = {"card_received_bytes": traffic and traffic.received, "card_sent_bytes": traffic and traffic.sent}
    said = {name: value for name, value in measured.document.items() if isinstance(value, int | float)}
    return {**figures, **card, **measured.extra, **({"said": said} if said else {})}


def _with_ratios(runs: Sequence[Measured], ratios: Sequence[float]) -> list[tuple[Measured, float | None]]:
    return list(zip(runs, [*ratios, *[None] * (len(runs) - len(ratios))], strict=True))


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def fields_of(value: Any) -> dict[str, Any]:
    """Return a dataclass as a dictionary for JSON."""
    return dataclasses.asdict(value)
