"""Set up a benchmark: the scene, and the links to it that this machine can make."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.bench.link import LINKS, Link, Network, NotPermitted, SameHost
from tools.bench.scene import Scene

ALL = ",".join(LINKS)


def named(text: str) -> list[Link]:
    """Return the links with these names, in their usual order.

    Args:
        text: names separated by commas.

    Raises:
        ArgumentTypeError: there is no link of that name.
    """
    names = text.split(",")
    if unknown := set(names) - LINKS.keys():
        raise argparse.ArgumentTypeError(f"no link {', '.join(unknown)}: there are {', '.join(LINKS)}")
    return [link for link in LINKS.values() if link.name in names]


@contextlib.contextmanager
def stage(wanted: Sequence[Link], shrink: int = 1) -> Iterator[tuple[Scene, list[Link]]]:
    """Start a scene that lasts as long as the context, and yield it with the wanted links that this machine can make.

    Args:
        wanted: the links to make; without permission to make networks only those without a rate remain.
        shrink: as for `tools.models.f5tts.hub_folder`.
    """
    with contextlib.ExitStack() as stack:
        network: Network | SameHost
        try:
            network = stack.enter_context(Network())
        except NotPermitted as error:
            print(f"WARNING: links cannot be shaped here, only loopback is measured: {error}", file=sys.stderr)
            network = SameHost()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cas-bench-")))
        scene = stack.enter_context(Scene(folder, network, shrink))
        yield scene, [link for link in wanted if isinstance(network, Network) or not link.rate]
