"""Check before the first byte is written that a plan fits on the disk: unlike the plan, this reads file systems."""

from __future__ import annotations

from pathlib import Path

from cas.errors import DiskFull
from cas.local import fs
from cas.ops.restore.plan import Plan


def check_free_space(plan: Plan) -> None:
    """Check that every file system has enough free space for what the plan writes to it.

    Clones are tried only where the plan does not fit without them.

    Raises:
        DiskFull: a file system has too little free space.
    """
    needs: dict[int, tuple[Path, int]] = {}
    for root, size in plan.needed_space.items():
        directory = fs.nearest_existing(root)
        device = directory.stat().st_dev
        needs[device] = (directory, needs.get(device, (directory, 0))[1] + size)
    for device, (directory, size) in needs.items():
        free = fs.free_bytes(directory)
        if size > free and size - _cloneable_bytes(plan, device) > free:
            raise DiskFull(
                f"restore needs {size:,} bytes and {directory} has {free:,} free: "
                "free some space, or choose another --cache-dir"
            )


def _cloneable_bytes(plan: Plan, device: int) -> int:
    """Return how many bytes need no free space on a file system, as part files begin there as clones."""
    total = 0
    for pending in plan.pending_files:
        directory = fs.nearest_existing(pending.target.root)
        if pending.base and directory.stat().st_dev == device and fs.can_clone(pending.base, directory):
            total += pending.shared
    return total
