"""A made-up fleet: receipts as some deployments would have left them over a month, for tests, pictures and benchmarks.

    python -m tools.fleet STORE [COUNT]     writes receipts into a store, which is made if it is not there

Rates, sizes and seconds are invented, in proportions such as docs/performance.md measured. What a report must find in
them is put there: a datacenter with a slow connection, a machine with a slow disk, a deployment without a lasting disk,
a version whose load became slower, failures with two causes, and seconds that no phase covers.
"""

from __future__ import annotations

import argparse
import datetime
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from cas.bucket import Kind
from cas.formats.digest import hex_of, named
from cas.formats.manifest import timestamp
from cas.host import Host
from cas.parallel import for_each
from cas.store.fetch import Second
from cas.store.receipt import Bytes, Failure, PhaseTime, Receipt
from cas.store.store import Store, open_store

_encode = msgspec.json.Encoder().encode


class Deployment(NamedTuple):
    """One made-up deployment.

    Attributes:
        name: of the deployment.
        model: that it runs.
        size: plain bytes of the model.
        gpu: of its machines.
        places: its datacenters, with the bytes a second that cross the connection there.
        load: seconds to load the model.
        lasting: the share of starts that find the model on a disk that outlived the container.
        share: of all starts.
        source: where bytes are asked for first, as receipts call it.
    """

    name: str
    model: str
    size: int
    gpu: str
    places: dict[str, float]
    load: float
    lasting: float
    share: float
    source: str = "store"


FLEET = (
    Deployment("eu-prod", "minilm", 91_400_000, "NVIDIA L4", {"EU-RO-1": 26e6, "EU-CZ-1": 310e6}, 0.7, 0.35, 0.5),
    Deployment(
        "us-prod", "f5-tts", 1_402_000_000, "NVIDIA GeForce RTX 4090", {"US-KS-2": 410e6}, 1.6, 0.25, 0.3, "CDN"
    ),
    Deployment("batch", "whisper", 3_090_000_000, "NVIDIA H100 80GB HBM3", {"US-KS-2": 520e6}, 3.1, 0.0, 0.2),
)
"""The deployments, of which each releases a version after half of the time."""

_WIRE = 0.82  # bytes that cross the connection for each plain byte
_SLOW_MACHINE = "eu-prod-07"


def receipts(count: int, *, until: datetime.datetime, days: float = 30, seed: int = 1) -> Iterator[Receipt]:
    """Yield receipts, the same for the same arguments.

    Args:
        count: how many.
        until: when the newest began.
        days: how long before that the oldest did.
        seed: for another fleet of the same kind.
    """
    chance = random.Random(seed)
    for number in range(count):
        # Days have their rush hours, and weeks grow.
        back = days * (1 - (number / max(1, count - 1)) ** 0.9)
        when = until - datetime.timedelta(days=back)
        deployment = chance.choices(FLEET, [one.share for one in FLEET])[0]
        yield _receipt(chance, deployment, when, is_new=back < days / 2)


def write(store: Store, made: Sequence[Receipt], threads: int = 16) -> None:
    """Write receipts into a store, several at once."""

    def put(receipt: Receipt) -> None:
        store.bucket.put(receipt.key(), _encode(receipt), Kind.DOCUMENT)

    for_each(put, made, threads=threads)


def _receipt(chance: random.Random, deployment: Deployment, when: datetime.datetime, *, is_new: bool) -> Receipt:
    place = chance.choice(list(deployment.places))
    host = f"{deployment.name}-{chance.randrange(1, 13):02d}"
    is_warm = chance.random() < deployment.lasting
    slow = 2.6 if host == _SLOW_MACHINE else 1.0
    wire = 0 if is_warm else int(deployment.size * _WIRE)
    failure = _failure(chance, deployment)
    if failure:
        wire = int(wire * chance.random())
    fetch = 0.02 if is_warm else slow * (0.25 + wire / (deployment.places[place] * chance.lognormvariate(0, 0.18)))
    second = 0 if is_warm or chance.random() > 0.2 else chance.randrange(1, 9)
    phases = list(_phases(chance, fetch, deployment.load * slow * (1.55 if is_new else 1.0)))
    if failure:
        phases = phases[:-3]
    ready = max(phase.begun + phase.seconds for phase in phases if phase.begun is not None)
    seconds = ready + (chance.uniform(0.5, 0.9) if deployment.name == "batch" else 0.01)  # batch measures not all
    return Receipt(
        manifest=named(hex_of(f"{deployment.model} {is_new}".encode())),
        model=deployment.model,
        deployment=deployment.name,
        reason=f"pin of deployment {deployment.name}",
        directory="/runpod-volume/models",
        directory_reason="first of CAS_CACHE_DIRS that passes the checks",
        when=timestamp(when),
        seconds=round(seconds, 6),
        ok=failure is None,
        error=failure,
        changed=None if failure else not is_warm,
        phases=tuple(phases),
        bytes=Bytes(
            total=deployment.size,
            present=None if failure else (deployment.size if is_warm else 0),
            fetched=int(wire / _WIRE),
            source=deployment.source,
            wire=wire,
            reused=0,
        ),
        second_requests=None if failure else Second(second, second * 2 // 3, second * 310_000),
        rate=round(wire / fetch, 1),
        host=Host(
            hostname=host,
            cores=16,
            memory=64 << 30,
            kernel="Linux 6.8.0-45-generic",
            python="3.11.7",
            gpus=(deployment.gpu,),
            pod=host,
            datacenter=place,
        ),
        versions={"model-cas": "0.2.0"},
    )


def _phases(chance: random.Random, fetch: float, load: float) -> Iterator[PhaseTime]:
    """The phases of a boot whose restore fetches beside the imports."""
    before = chance.uniform(0.5, 0.9)
    python = chance.uniform(0.05, 0.09)
    yield _phase("container", -before - python, before)
    yield _phase("python", -python, python)
    resolve, plan = chance.uniform(0.1, 0.3), chance.uniform(0.02, 0.06)
    yield _phase("resolve", 0.0, resolve)
    yield _phase("plan", resolve, plan)
    yield _phase("fetch", resolve + plan, fetch)
    restored = resolve + plan + fetch
    yield _phase("link", restored, 0.012)
    imports = chance.uniform(1.1, 1.5)
    yield _phase("imports", 0.01, imports)
    waited = max(imports + 0.01, restored + 0.012)
    yield _phase("wait", imports + 0.01, waited - imports - 0.01)
    loading = load * chance.lognormvariate(0, 0.1)
    yield _phase("load", waited, loading)
    warm = chance.uniform(0.35, 0.6)
    yield _phase("warm-up", waited + loading, warm)
    yield _phase("fitness", waited + loading + warm, chance.uniform(0.05, 0.12))


def _phase(name: str, begun: float, seconds: float) -> PhaseTime:
    return PhaseTime(name, round(seconds, 6), round(begun, 6))


def _failure(chance: random.Random, deployment: Deployment) -> Failure | None:
    if deployment.name == "us-prod" and chance.random() < 0.03:
        return Failure("DiskFull", "/runpod-volume/models: 0.8 GB are free, and 1.4 GB are needed: make room")
    if chance.random() < 0.008:
        return Failure("StoreError", "s3://models/cas did not answer within 60 s, asked 5 times: look at the network")
    return None


def main() -> None:
    """Write receipts into the store that the command line names."""
    parser = argparse.ArgumentParser(prog="tools.fleet", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", help="URL or path of the store")
    parser.add_argument("count", type=int, nargs="?", default=2000, help="how many receipts (default 2000)")
    options = parser.parse_args()
    store = open_store(options.store)
    store.create()
    write(store, list(receipts(options.count, until=datetime.datetime.now(datetime.UTC))))


if __name__ == "__main__":
    main()
