"""Files on their way from the upstream hub: each is fetched once, however many ask, and sent on while it arrives.

    <folder>/models--org--name/blobs/<etag>                a whole file, whose bytes hash to its etag
    <folder>/models--org--name/parts/<etag>                a file that is being fetched
    <folder>/models--org--name/snapshots/<commit>/<path>   links to blobs: a hub cache, from which a publish reads

A file's last byte is sent to nobody before all its bytes are hashed: so a download of a file that the hub or the way
from it damaged ends early, which every client takes for a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from cas.errors import AccessDenied, CacheError, CasError, DiskFull, IntegrityError, NotFoundError, StoreError
from cas.formats.digest import Buffer
from cas.formats.manifest import Repo, RepoFile
from cas.hub.upstream import Upstream
from cas.local.fs import disk_errors, write_all
from cas.local.hf_cache import RepoCache, blob_hash

_TRIES = 5
_FIRST_PAUSE = 0.5  # seconds before the second try; each further pause is twice as long
_PIECE = 1024 * 1024
_SPARE = 256 * 1024 * 1024  # bytes of the disk that stay free


class Pull:
    """One file that is being fetched.

    Attributes:
        path: its part file.
        available: bytes from its beginning that may be read.
        wanted: the files that it is, by commit and path: several may have the same content.
        error: why it ended before its end; None so far.
    """

    def __init__(self, file: RepoFile, path: Path) -> None:
        self.path, self.available = path, 0
        self.wanted: dict[tuple[str, str], tuple[Repo, RepoFile]] = {}
        self.error: CasError | None = None
        self._size = file.size
        self._changed = asyncio.Condition()

    async def advance(self, available: int, error: CasError | None = None) -> None:
        """Let readers read up to this offset, or tell them that it failed."""
        async with self._changed:
            self.available, self.error = available, error
            self._changed.notify_all()

    async def reaches(self, offset: int) -> int:
        """Wait until a byte at `offset` may be read, and return how far they may be read.

        Raises:
            CasError: the file cannot be fetched.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.available > offset or self.error is not None)
            if self.available <= offset:
                assert self.error
                raise self.error
            return self.available


class Pulls:
    """The files that are being fetched, and those that are here.

    Args:
        upstream: the hub.
        folder: of the files.
        count: told of the bytes that the hub sends.
        pulled: told of each file that is whole.
    """

    def __init__(
        self,
        upstream: Upstream,
        folder: Path,
        count: Callable[[int], None],
        pulled: Callable[[Repo, RepoFile], None],
    ) -> None:
        self._upstream, self._folder, self._count, self._pulled = upstream, folder, count, pulled
        self._under_way: dict[Path, Pull] = {}
        self._whole: set[Path] = set()  # blobs that this process has hashed
        self._tasks: set[asyncio.Task[None]] = set()
        for part in folder.glob("*/parts/*"):  # of a server that was killed: nobody goes on with them
            with contextlib.suppress(OSError):
                part.unlink()

    async def read(self, repo: Repo, file: RepoFile, start: int, stop: int, token: str) -> AsyncGenerator[Buffer, None]:
        """Yield the bytes of a file from `start` up to `stop`, fetching it if nobody has.

        Args:
            repo: the file's.
            file: the file.
            start: the first byte.
            stop: the byte after the last one.
            token: the caller's for the hub, if this caller is the first who asks.

        Raises:
            CasError: the file cannot be fetched, or proves not to be what the hub says of it.
        """
        cache = RepoCache(self._folder, repo.repo_type, repo.repo_id)
        blob = cache.root.joinpath(*cache.blob_components(file.blob))
        with contextlib.ExitStack() as stack:
            opened, pull = None, None
            while opened is None and start < stop:
                pull = self._under_way.get(blob)
                if pull is None and not await self._is_whole(blob, file):
                    pull = self._under_way.get(blob) or self._start(repo, file, blob, token)
                if pull is not None:
                    pull.wanted[repo.commit, file.path] = repo, file
                    await pull.reaches(start)
                # None if a publish has just removed it: it is fetched again.
                opened = await asyncio.to_thread(_open, pull.path if pull else blob, blob)
            if opened is None:
                return
            stack.callback(os.close, opened)
            if pull is None:
                await asyncio.to_thread(_link, blob, repo, file)
                self._pulled(repo, file)
            while start < stop:
                reached = await pull.reaches(start) if pull else stop
                piece = await asyncio.to_thread(os.pread, opened, min(_PIECE, stop - start, reached - start), start)
                if not piece:
                    raise CacheError(f"{blob} is shorter than it was: the disk fails, or somebody changed it")
                start += len(piece)
                yield piece

    def is_busy(self, repo: Repo) -> bool:
        """Whether a file of the repo is being fetched."""
        root = RepoCache(self._folder, repo.repo_type, repo.repo_id).root
        return any(root in blob.parents for blob in self._under_way)

    def is_here(self, repo: Repo, file: RepoFile) -> bool:
        """Whether a whole file is in the folder. It blocks."""
        cache = RepoCache(self._folder, repo.repo_type, repo.repo_id)
        return cache.root.joinpath(*cache.blob_components(file.blob)).is_file()

    def remove(self, repo: Repo) -> None:
        """Remove files that the store has now. It blocks."""
        cache = RepoCache(self._folder, repo.repo_type, repo.repo_id)
        for file in repo.files:
            for where in (cache.snapshot_components(repo.commit, file.path), cache.blob_components(file.blob)):
                with contextlib.suppress(OSError):
                    cache.root.joinpath(*where).unlink()

    def add_empty(self, repo: Repo, file: RepoFile) -> None:
        """Make a file without bytes, which nobody has to fetch. It blocks."""
        cache = RepoCache(self._folder, repo.repo_type, repo.repo_id)
        blob = cache.root.joinpath(*cache.blob_components(file.blob))
        with disk_errors(blob):
            blob.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            blob.touch(mode=0o600)
        _link(blob, repo, file)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _is_whole(self, blob: Path, file: RepoFile) -> bool:
        """Whether a file is here; what an earlier server left is hashed before it is believed."""
        if blob in self._whole:
            return await asyncio.to_thread(_has_size, blob, file.size)
        if await asyncio.to_thread(_fits_name, blob, file):
            self._whole.add(blob)
        return blob in self._whole

    def _start(self, repo: Repo, file: RepoFile, blob: Path, token: str) -> Pull:
        part = blob.parent.parent / "parts" / file.blob
        pull = self._under_way[blob] = Pull(file, part)
        task = asyncio.create_task(self._fetch(pull, repo, file, blob, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return pull

    async def _fetch(self, pull: Pull, repo: Repo, file: RepoFile, blob: Path, token: str) -> None:
        where = f"{file.path} of {repo.repo_id}@{repo.commit[:12]}"
        try:
            out = await asyncio.to_thread(_create, pull.path, blob, file.size)
            try:
                running = blob_hash(file.blob, file.size)
                await self._receive(pull, repo, file, token, out, running)
            finally:
                await asyncio.to_thread(os.close, out)
            if running.hexdigest() != file.blob:
                raise IntegrityError(f"{self._upstream.url} sends {where} with other content than its etag says")
            await asyncio.to_thread(_finish, pull.path, blob)
            self._whole.add(blob)
            del self._under_way[blob]  # who comes from now on finds the whole file
            for commit, named in pull.wanted.values():
                await asyncio.to_thread(_link, blob, commit, named)
                self._pulled(commit, named)
            await pull.advance(file.size)
        except CasError as error:
            await pull.advance(pull.available, error)
        except BaseException as error:
            await pull.advance(
                pull.available, StoreError(f"{where} was not fetched to its end ({type(error).__name__})")
            )
            raise
        finally:
            if self._under_way.get(blob) is pull:
                del self._under_way[blob]
            with contextlib.suppress(OSError):
                os.unlink(pull.path)

    async def _receive(
        self, pull: Pull, repo: Repo, file: RepoFile, token: str, out: int, running: hashlib._Hash
    ) -> None:
        """Fetch all bytes of a file; go on where a connection broke."""
        at, tries, pause = 0, 0, _FIRST_PAUSE
        while True:
            try:
                async for piece in self._upstream.read(repo, file.path, token, at):
                    if at + len(piece) > file.size:
                        raise IntegrityError(
                            f"{self._upstream.url} sends more than the {file.size} bytes of {file.path}"
                        )
                    await asyncio.to_thread(_write, out, piece, running)
                    at += len(piece)
                    tries = 0
                    self._count(len(piece))
                    # The last byte waits until all are hashed and compared.
                    await pull.advance(min(at, file.size - 1))
                if at == file.size:
                    return
                raise StoreError(f"{self._upstream.url} ended {file.path} after {at} of {file.size} bytes")
            except (AccessDenied, NotFoundError, IntegrityError, CacheError):
                raise
            except CasError:
                tries += 1
                if tries >= _TRIES:
                    raise
                await asyncio.sleep(pause * 2 ** (tries - 1))


def _has_size(path: Path, size: int) -> bool:
    try:
        return os.stat(path).st_size == size
    except OSError:
        return False


def _fits_name(blob: Path, file: RepoFile) -> bool:
    if not _has_size(blob, file.size):
        return False
    running = blob_hash(file.blob, file.size)
    with contextlib.suppress(OSError), open(blob, "rb") as opened:
        while piece := opened.read(_PIECE):
            running.update(piece)
    return running.hexdigest() == file.blob


def _open(path: Path, blob: Path) -> int | None:
    """Open a part file, which may have got its final name meanwhile; None if there is neither."""
    for name in (path, blob):
        with contextlib.suppress(FileNotFoundError), disk_errors(blob):
            return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _create(part: Path, blob: Path, size: int) -> int:
    with disk_errors(part):
        for folder in (part.parent, blob.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(part.parent).free < size + _SPARE:
            raise DiskFull(f"{part.parent} has no space for a file of {size} bytes from the upstream hub")
        part.unlink(missing_ok=True)  # not cut: somebody may read what another server has open there
        return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write(out: int, piece: bytes, running: hashlib._Hash) -> None:
    with disk_errors(Path("the folder of files from the upstream hub")):
        write_all(out, piece)
    running.update(piece)


def _finish(part: Path, blob: Path) -> None:
    """Give a whole file its final name."""
    with disk_errors(blob):
        os.replace(part, blob)


def _link(blob: Path, repo: Repo, file: RepoFile) -> None:
    with disk_errors(blob):
        link = blob.parent.parent.joinpath(*RepoCache.snapshot_components(repo.commit, file.path))
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(RepoCache.link_to_blob(file.path, file.blob), link)
