"""A local Hugging Face hub over a folder: what `huggingface_hub` needs to list and download models.

Run `python -m tools.servers.hub ROOT` and export the HF_ENDPOINT that it prints. ROOT holds
`<org>/<name>/<files>`; every repository has one branch, `main`, that follows its files. The routes,
headers and error codes are those that huggingface_hub 0.36, 1.33 and 2.4 rely on
(`file_download.get_hf_file_metadata`, `hf_api.HfApi.list_repo_tree`, `utils._http.hf_raise_for_status`).
"""

import argparse
import json
import re
import threading
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

from tools.servers.process import run_until_interrupted
from tools.servers.repo_folder import Commit, RepoFile, RepoFolder
from tools.servers.serving import ClosableServer

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_API = re.compile(rf"/api/models/{_REPO}(?:/(?P<what>revision|tree)/(?P<rev>[^/]+)(?P<folder>/.*)?)?")
_RESOLVE = re.compile(rf"(?P<cdn>/cdn)?/{_REPO}/resolve/(?P<rev>[^/]+)/(?P<name>.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE = 1 << 20


class Hub:
    """Serve a folder of models as huggingface.co would, while the context lasts.

    The attributes named like arguments may be changed while the hub runs.

    Args:
        root: folder of `<org>/<name>/<files>`.
        port: TCP port to listen on, 0 for a free one.
        host: address to listen on.
        redirect_lfs: answer requests for LFS files with a 302 to `/cdn/...`, as huggingface.co does.
        cut_bodies: drop the connection half-way through the first whole download of every file.
        bytes_per_second: upper limit for the rate of each file body; None for no limit.
        down: answer 503 to everything.
        corrupt: paths within a repository whose bodies get one flipped bit under the true etag.

    Attributes:
        requests: (method, path with query) of every request so far, oldest first.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        root: Path,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        redirect_lfs: bool = False,
        cut_bodies: bool = False,
        bytes_per_second: int | None = None,
        down: bool = False,
        corrupt: Set[str] = frozenset(),
    ) -> None:
        self.root = root
        self.redirect_lfs = redirect_lfs
        self.cut_bodies = cut_bodies
        self.bytes_per_second = bytes_per_second
        self.down = down
        self.corrupt = set(corrupt)
        self.requests: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._folders: dict[str, RepoFolder] = {}
        self._cut: set[tuple[str, str]] = set()
        self._server = _HubServer((host, port), self)

    @property
    def url(self) -> str:
        """The URL of the hub, for the variable HF_ENDPOINT."""
        return f"http://{self._server.host}:{self._server.port}"

    def __enter__(self) -> Self:
        """Start to answer requests."""
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Cut all connections and stop."""
        self._server.stop()

    def folder(self, repo: str) -> RepoFolder | None:
        """Return the repository `<org>/<name>`, or None if there is no such folder under the root."""
        path = self.root / repo
        if ".." in repo.split("/") or not path.is_dir():
            return None
        with self._lock:
            return self._folders.setdefault(repo, RepoFolder(path))

    def claim_cut(self, repo: str, name: str) -> bool:
        """Return whether to cut this download, the first of its file, and record that it was cut."""
        with self._lock:
            if not self.cut_bodies or (repo, name) in self._cut:
                return False
            self._cut.add((repo, name))
            return True


class _HubServer(ClosableServer):
    def __init__(self, address: tuple[str, int], hub: Hub) -> None:
        super().__init__(address, _Handler)
        self.hub = hub


@dataclass(frozen=True)
class _Body:
    """The range of a file that is sent.

    Attributes:
        path: the file.
        start: offset in bytes of the first byte.
        stop: offset in bytes behind the last byte.
        flip: offset in bytes at which one bit is flipped, None for no change.
    """

    path: Path
    start: int
    stop: int
    flip: int | None

    def pieces(self, size: int) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            at = self.start
            while at < self.stop and (piece := bytearray(file.read(min(size, self.stop - at)))):
                if self.flip is not None and at <= self.flip < at + len(piece):
                    piece[self.flip - at] ^= 1
                yield bytes(piece)
                at += len(piece)


class _Refusal(Exception):
    """A request that is answered by an error, with a code as on huggingface.co."""

    def __init__(self, status: HTTPStatus, code: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = dict(headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are separate writes: Nagle would add 40 ms to each

    @property
    def hub(self) -> Hub:
        return cast(_HubServer, self.server).hub

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path))
        try:
            self._route()
        except _Refusal as refusal:
            error = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.code}
            body = json.dumps({"error": refusal.code}).encode()
            self._reply(refusal.status, body, refusal.headers | error | {"Content-Type": "application/json"})

    do_HEAD = do_GET  # noqa: N815 - http.server gives the name

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: `Hub.requests` is the log."""

    def _route(self) -> None:
        if self.hub.down:
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable")
        url = urlsplit(self.path)
        path = unquote(url.path)
        match = _API.fullmatch(path) or _RESOLVE.fullmatch(path)
        if match is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "NotFound")
        folder = self.hub.folder(match["repo"])
        if folder is None:
            # huggingface.co answers 401, not 404: it hides from strangers whether a repository exists
            raise _Refusal(HTTPStatus.UNAUTHORIZED, "RepoNotFound")
        commit = folder.at(match["rev"] or "main")
        if commit is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "RevisionNotFound")
        if match.re is _RESOLVE:
            self._resolve(match["repo"], commit, match["name"], via_cdn=bool(match["cdn"]))
        elif match["what"] == "tree":
            recursive = parse_qs(url.query).get("recursive", ["false"])[0].lower() in ("true", "1")
            self._tree(commit, (match["folder"] or "").strip("/"), recursive)
        else:
            self._info(match["repo"], commit)

    def _info(self, repo: str, commit: Commit) -> None:
        siblings = [
            {"rfilename": name, "size": file.size, "blobId": file.oid, **_lfs(file, "sha256")}
            for name, file in commit.files.items()
        ]
        names = {"_id": commit.sha[:24], "id": repo, "modelId": repo, "sha": commit.sha}
        flags = {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
        self._json({**names, **flags, "siblings": siblings})

    def _tree(self, commit: Commit, folder: str, recursive: bool) -> None:
        entries: dict[str, dict[str, Any]] = {}
        parent = PurePosixPath(folder)
        for name, file in commit.files.items():
            if parent not in PurePosixPath(name).parents:
                continue
            steps = PurePosixPath(name).relative_to(parent).parts
            for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
                path = parent.joinpath(*steps[:depth]).as_posix()
                entries[path] = {"type": "directory", "oid": commit.sha, "size": 0, "path": path}
            if recursive or len(steps) == 1:
                entry = {"type": "file", "oid": file.oid, "size": file.size, "path": name}
                entries[name] = entry | _lfs(file, "oid")
        if folder and not entries:
            raise _Refusal(HTTPStatus.NOT_FOUND, "EntryNotFound")
        self._json(list(entries.values()))

    def _resolve(self, repo: str, commit: Commit, name: str, *, via_cdn: bool) -> None:
        headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
        file = commit.files.get(name)
        if file is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "EntryNotFound", headers)
        headers["ETag"] = f'"{file.etag}"'
        if file.sha256:
            headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
            if self.hub.redirect_lfs and not via_cdn:
                location = f"http://{self.headers['Host']}/cdn{self.path}"
                self._reply(HTTPStatus.FOUND, b"", headers | {"Location": location})
                return
        start, stop = 0, file.size
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            stop = min(int(wanted[2] or stop) + 1, stop)
            if start >= stop:
                headers["Content-Range"] = f"bytes */{file.size}"
                raise _Refusal(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable", headers)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(stop - start)}
        self._start(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK, headers)
        if self.command == "HEAD":
            return
        end = stop // 2 if not wanted and self.hub.claim_cut(repo, name) else stop
        flip = file.size // 2 if name in self.hub.corrupt else None
        self._send(_Body(file.path, start, end, flip), promised=stop - start)

    def _send(self, body: _Body, promised: int) -> None:
        rate = self.hub.bytes_per_second
        for piece in body.pieces(min(_PIECE, max(rate // 20, 1)) if rate else _PIECE):
            self.wfile.write(piece)
            promised -= len(piece)
            rate = self.hub.bytes_per_second  # a test may lift the limit meanwhile
            if rate and cast(_HubServer, self.server).stopping.wait(len(piece) / rate):
                break
        self.close_connection = promised > 0  # only a closed connection tells the client that the body is short

    def _json(self, value: object) -> None:
        self._reply(HTTPStatus.OK, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _reply(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self._start(status, headers | {"Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _start(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _lfs(file: RepoFile, digest_key: str) -> dict[str, Any]:
    """The `lfs` entry of a file, empty for a file outside LFS; the digest is `sha256` in model info, `oid` in trees."""
    if file.sha256 is None:
        return {}
    return {"lfs": {digest_key: file.sha256, "size": file.size, "pointerSize": file.pointer_size}}


def main() -> None:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser("python -m tools.servers.hub", description="Serve a folder as a Hugging Face hub.")
    parser.add_argument("root", type=Path, help="folder of <org>/<name>/<files>")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    args = parser.parse_args()
    with Hub(args.root, args.port, host=args.host) as hub:
        print(f"{args.root} is served at {hub.url}", f"export HF_ENDPOINT={hub.url}", sep="\n", flush=True)
        run_until_interrupted()


if __name__ == "__main__":
    main()
