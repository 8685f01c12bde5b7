"""Time cas against other ways to move a model: the same files, server and links, in interleaved rounds."""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.bench import chart, machine, report
from tools.bench.cases import CASES, Case
from tools.bench.link import LINKS, Link
from tools.bench.measure import Failed
from tools.bench.results import Results
from tools.bench.scene import Scene
from tools.bench.stage import ALL, named, stage
from tools.bench.targets import judge

_SHRINK = {"full": 1, "small": 8}
_PICTURE = Path(__file__).parents[2] / "docs" / "performance.png"


def main(words: Sequence[str] | None = None) -> int:
    """Run the rounds, print tables, and write JSON and a picture.

    Args:
        words: command-line arguments, by default those of this process.

    Returns:
        The exit code: 1 when nothing could be measured, else 0.
    """
    options = _options(words)
    cases = [case for case in CASES if any(fnmatch.fnmatch(case.name, wanted) for wanted in options.only or ["*"])]
    results = Results()
    _say("making F5-TTS v1 Base, its successors, and the server that has them …")
    with stage(options.links, _SHRINK[options.size]) as (scene, links):
        measure(scene, cases, links, options.rounds, results)
    verdicts = judge(results) if options.size == "full" else []  # targets are set for the full size
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
    """Run every case once per round, after a first round that does not count; drop a case once it fails.

    Args:
        scene: the files and servers.
        cases: what to measure.
        links: the links to measure over, one after the other.
        rounds: how many rounds count.
        results: where the runs go.
    """
    for link in links:
        scene.over(link)
        runnable = list(_runnable(scene, cases, link, results))
        results.peers |= {case.name: case.peer for case in runnable}
        for round_ in range(rounds + 1):
            _say(f"{link.title}: round {round_} of {rounds}" + ("" if round_ else " (not counted)"))
            for case in tuple(runnable):
                if case.once and round_ != 1:
                    continue
                try:
                    measured = case.measure(scene.at(link))
                except Failed as error:
                    _leave_out(results, link, case, str(error))
                    runnable.remove(case)
                    continue
                _say(f"  {case.name}: {measured.run.wall:.2f} s")
                if round_:
                    results.add(link.name, case.name, measured)
    results.facts = scene.facts


def _runnable(scene: Scene, cases: Sequence[Case], link: Link, results: Results) -> Iterator[Case]:
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


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one that is not counted (default 5)")
    parser.add_argument("--only", metavar="GLOB", action="append", help="only cases of such a name; repeatable")
    parser.add_argument("--links", default=ALL, type=named, help=f"of {ALL} (default: all)")
    parser.add_argument("--size", choices=list(_SHRINK), default="full", help="of the model: 1.40 GB, or 22 MB")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="default build/bench.json")
    parser.add_argument("--png", type=Path, help="draw a picture there (default: docs/performance.png, of a whole run)")
    return parser.parse_args(words)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
