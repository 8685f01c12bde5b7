"""Whether a plan fits on the disk, asked before the first byte."""

from __future__ import annotations

from pathlib import Path

from cas.errors import DiskFull
from cas.local import fs
from cas.ops.restore.plan import Plan


def check_room(plan: Plan) -> None:
    """Raises DiskFull unless every file system has room for what will be written to it."""
    needs: dict[int, tuple[Path, int]] = {}
    for root, size in plan.disk.items():
        place = fs.nearest_existing(root)
        device = place.stat().st_dev
        needs[device] = (place, needs.get(device, (place, 0))[1] + size)
    for device, (place, size) in needs.items():
        free = fs.free_bytes(place)
        if size > free and size - _shareable(plan, device) > free:
            raise DiskFull(
                f"restore needs {size:,} bytes and {place} has {free:,} free: "
                "free some space, or choose another --cache-dir"
            )


def _shareable(plan: Plan, device: int) -> int:
    """Bytes that take no room on a file system where files can share theirs."""
    found = 0
    for work in plan.works:
        place = fs.nearest_existing(work.target.root)
        if work.base and place.stat().st_dev == device and fs.can_clone(work.base, place):
            found += work.shared
    return found
