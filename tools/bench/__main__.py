"""Times cas against other ways to move a model: the same files, server and links, in interleaved rounds."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.bench import chart, machine, report
from tools.bench.cases import CASES, Case
from tools.bench.link import LINKS, Link, Network, NotPermitted, SameHost
from tools.bench.measure import Failed
from tools.bench.results import Results
from tools.bench.scene import Scene
from tools.bench.targets import judge

_SHRINK = {"full": 1, "small": 8}
_PICTURE = Path(__file__).parents[2] / "docs" / "performance.png"


def main(words: Sequence[str] | None = None) -> int:
    """Runs the rounds, prints tables, writes JSON and a picture; 1 when nothing could be measured."""
    options = _options(words)
    with contextlib.ExitStack() as stack:
        network, links = _network(stack, options.links)
        cases = [case for case in CASES if any(fnmatch.fnmatch(case.name, wanted) for wanted in options.only or ["*"])]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cas-bench-")))
        _say("making F5-TTS v1 Base, its successors, and the server that has them …")
        scene = stack.enter_context(Scene(folder, network, _SHRINK[options.size]))
        results = Results()
        measure(scene, cases, links, options.rounds, results)
    verdicts = judge(results) if options.size == "full" else []  # they are for the full size
    facts = machine.facts()
    settings = {"rounds": options.rounds, "size": options.size, "links": [link.name for link in links]}
    print(report.table(results))
    if verdicts:
        print(report.verdicts_table(verdicts))
    report.write_json(options.json, results, verdicts, facts, settings)
    whole = links == list(LINKS.values()) and not options.only and options.size == "full"
    picture = options.png or (_PICTURE if whole else None)
    if picture:
        chart.draw(results, picture, facts)
    _say(f"all runs are in {options.json}" + (f", a picture in {picture}" if picture else ""))
    return 0 if results.runs else 1


def measure(scene: Scene, cases: Sequence[Case], links: Sequence[Link], rounds: int, results: Results) -> None:
    """Runs every case once a round, after a round that is not counted; one that fails is left out from then on."""
    for link in links:
        if link.rate:
            scene.network.shape(link.rate)
        able = list(_able(scene, cases, link, results))
        results.peers |= {case.name: case.peer for case in able}
        for round_ in range(rounds + 1):
            _say(f"{link.title}: round {round_} of {rounds}" + ("" if round_ else " (not counted)"))
            for case in tuple(able):
                try:
                    measured = case.measure(scene.at(link))
                except Failed as error:
                    _leave_out(results, link, case, str(error))
                    able.remove(case)
                    continue
                _say(f"  {case.name}: {measured.run.wall:.2f} s")
                if round_:
                    results.add(link.name, case.name, measured)
    results.facts = scene.facts


def _able(scene: Scene, cases: Sequence[Case], link: Link, results: Results) -> Iterator[Case]:
    for case in cases:
        if link.name not in case.links:
            continue
        if why := case.missing(scene, link):
            _leave_out(results, link, case, why)
            continue
        try:
            for what in case.needs:
                scene.prepare(what)
        except Failed as error:
            _leave_out(results, link, case, str(error))
        else:
            yield case


def _leave_out(results: Results, link: Link, case: Case, why: str) -> None:
    _say(f"{link.title}: {case.name} is left out: {why}")
    results.drop(link.name, case.name, why.splitlines()[-1])


def _network(stack: contextlib.ExitStack, names: Sequence[str]) -> tuple[Network | SameHost, list[Link]]:
    links = [link for link in LINKS.values() if link.name in names]
    try:
        return stack.enter_context(Network()), links
    except NotPermitted as error:
        _say(f"WARNING: links cannot be shaped here, only loopback is measured: {error}")
        return SameHost(), [link for link in links if not link.rate]


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one that is not counted (default 5)")
    parser.add_argument("--only", metavar="GLOB", action="append", help="only cases of such a name; repeatable")
    parser.add_argument("--links", default=list(LINKS), type=_links, help=f"of {','.join(LINKS)} (default: all)")
    parser.add_argument("--size", choices=list(_SHRINK), default="full", help="of the model: 1.40 GB, or 22 MB")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="default build/bench.json")
    parser.add_argument("--png", type=Path, help="draw a picture there (default: docs/performance.png, of a whole run)")
    return parser.parse_args(words)


def _links(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - LINKS.keys():
        raise argparse.ArgumentTypeError(f"no link {', '.join(unknown)}: there are {', '.join(LINKS)}")
    return names


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
