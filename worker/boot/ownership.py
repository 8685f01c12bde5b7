"""Tells whether another user of this machine may have put something into a cache directory.

The name of a directory proves nothing: any user may be the first to make /tmp/models. The worker runs what it holds,
and its own records say that this was verified. So the directory, what leads to it and what a worker reads in it must
belong to this user or to root, and nobody else may write there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cas.errors import CacheError

_READ_IN_IT = ("hub", ".cas-worker", "torch", "modules", "accelerate")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40  # as Linux
_INSTEAD = "or name another directory in CAS_CACHE_DIRS"


def others_problem(directory: Path) -> str:
    """Say which other users may have written into a cache directory, and what to do; empty if there are none.

    What does not exist yet is passed over. A volume that is mounted with write access for everybody, as network
    volumes often are, may hold such directories. One with the sticky bit may be open to everybody, too: there nobody
    can replace what another user made, and the entries that a worker reads are looked at by themselves.

    Args:
        directory: an absolute path.
    """
    try:
        for component in _components(directory):
            if problem := _problem(component):
                return problem
        for name in _READ_IN_IT:
            entry = directory / name
            if not os.path.lexists(entry):
                continue
            components = [*_components(entry)] if entry.is_symlink() else [entry]
            for component in components:
                if problem := _problem(component, sticky_is_enough=component != components[-1]):
                    return problem
    except OSError as error:
        return f"{error.filename or directory}: {error.strerror}"
    return ""


def without_others(directories: Iterable[Path], warn: Callable[[str], None]) -> list[Path]:
    """Return the directories that no other user may write to: those whose records can be believed.

    Args:
        directories: cache directories that passed the checks of a boot.
        warn: called with the problem of each that is left out.

    Raises:
        CacheError: none remains.
    """
    problems = {path: others_problem(path) for path in directories}
    for problem in filter(None, problems.values()):
        warn(f"{problem}; trying the next directory")
    if remaining := [path for path, problem in problems.items() if not problem]:
        return remaining
    raise CacheError(f"no directory of CAS_CACHE_DIRS can be used: {'; '.join(problems.values())}")


def _components(path: Path) -> Iterator[Path]:
    """The directories and symlinks that a path leads through, in this order, as far as they exist."""
    waiting, at, links = [*reversed(path.parts[1:])], Path("/"), 0
    yield at
    while waiting:
        name = waiting.pop()
        at = at.parent if name == ".." else at / name
        if not os.path.lexists(at):
            return
        yield at
        if at.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                return  # the mkdir that follows reports the loop
            target = Path(os.readlink(at))
            at = Path("/") if target.is_absolute() else at.parent
            waiting += [part for part in reversed(target.parts) if part != "/"]


def _problem(path: Path, *, sticky_is_enough: bool = True) -> str:
    found = os.lstat(path)
    # Who owns `/` may do anything; in a container without root's rights that is a number that stands for root.
    if found.st_uid not in (0, os.geteuid(), os.lstat("/").st_uid) and found.st_uid != _owner_of_new_files(path):
        return f"{path} belongs to another user of this machine (uid {found.st_uid}): chown it to yours, {_INSTEAD}"
    if stat.S_ISLNK(found.st_mode) or (sticky_is_enough and found.st_mode & stat.S_ISVTX):
        return ""
    writers = found.st_mode & _OTHERS_WRITE
    writers &= ~_open_bits(path) if writers else 0
    if writers & stat.S_IWGRP and not writers & stat.S_IWOTH and _is_private(found.st_gid):
        return ""
    if writers:
        mode = stat.S_IMODE(found.st_mode)
        return f"other users may write to {path} (mode {mode:o}): take that away with chmod go-w, {_INSTEAD}"
    return ""


def _owner_of_new_files(path: Path) -> int:
    """The user that the file system shows as the owner of this process's files: some network volumes map all to one."""
    import tempfile  # rarely needed, and no start should wait for it

    if path.is_symlink() or not path.is_dir():
        return os.geteuid()
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            return os.fstat(file.fileno()).st_uid
    except OSError:
        return os.geteuid()


def _open_bits(path: Path) -> int:
    """The write bits for others that the mounted volume of a path has itself; none on the root file system."""
    while not os.path.ismount(path):
        path = path.parent
    mode = os.lstat(path).st_mode
    return 0 if path == Path("/") or mode & stat.S_ISVTX else mode & _OTHERS_WRITE


def _is_private(group: int) -> bool:
    """Whether a group is this user's own, without other members, as many systems make one for each user but root."""
    import grp
    import pwd

    if group == 0:
        return False  # system accounts, and users of some container platforms, have this group
    try:
        user, members = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return group == user.pw_gid and members.gr_name == user.pw_name and set(members.gr_mem) <= {user.pw_name}
