"""`cas serve` beside what it is compared with: nginx with the plain file, and `cas restore` of the same version.

Run `python -m tools.bench.serving` (it needs nginx; root on Linux for the link of 1 Gbit/s). The model is F5-TTS v1
Base with Vocos, 1.40 GB, in a SeaweedFS server. Clients are processes of their own, and those compared take turns.

    warm        one file of 1.35 GB from a server that has all chunks, and from nginx: huggingface_hub's download of a
                URL, and curl
    cold        both repos by huggingface_hub, and by curl, from a server without any chunk, which runs beside the
                client at the far end of the link; and `cas restore` there
    first byte  of a file of one chunk that no server has: from the last byte of the chunk's body, as a relay before the
                bucket passes it on, to the first byte at the client
    clients     fifty connections that read the large file, each from another place: memory of the server, and requests
                for chunks
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.bench.client import Client, program
from tools.bench.first_chunk import FirstChunk
from tools.bench.link import LINKS
from tools.bench.measure import Failed, spread
from tools.bench.scene import MODEL, REPOS, Scene
from tools.bench.stage import stage
from tools.models.f5tts import MODEL_FILE
from tools.servers import nginx
from tools.servers.nginx import NginxFiles
from tools.servers.process import free_ports, spawn

_START = 30.0  # seconds
_CLIENTS = 50
_MIB = 1024 * 1024
_REPO, _PATH = MODEL_FILE.split("/", 2)[0] + "/" + MODEL_FILE.split("/", 2)[1], MODEL_FILE.split("/", 2)[2]


class Served(NamedTuple):
    """A server under way.

    Attributes:
        url: its URL.
        pid: its process.
    """

    url: str
    pid: int

    def file(self, repo: str, path: str) -> str:
        """The URL of a file at `main`."""
        return f"{self.url}/{repo}/resolve/main/{path}"

    def peak(self) -> float:
        """The most memory that the process had resident, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match, "Linux tells it"
        return int(match[1]) / 1024

    def cpu(self) -> float:
        """CPU seconds that the process has taken, user and kernel (proc_pid_stat(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(client: Client, cache: Path) -> Iterator[Served]:
    """Run `cas serve` at a client's end of a link while the context lasts."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "cas", "serve", "--port", str(port), "--cache", str(cache)]
    with client.scene.network.client(client.link):
        process = spawn(command, client.scene.work / "serve.log", client.environment)
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _START
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Failed((client.scene.work / "serve.log").read_text()[-2000:])
                time.sleep(0.02)
            yield Served(url, process.pid)
        finally:
            process.terminate()
            process.wait()


def warm(scene: Scene, rounds: int) -> None:
    """Compare a warm server with nginx."""
    client, folder = scene.at(LINKS["none"]), scene.work / "nginx"
    download = str(scene.work / "download")
    with (
        serving(client, scene.work / "warm") as served,
        scene.network.client(client.link),
        NginxFiles(folder, scene.models) as plain,
    ):
        urls = {"cas serve": served.file(_REPO, _PATH), "nginx": f"{plain.url}/{MODEL_FILE}"}
        walls: dict[tuple[str, str], list[float]] = {}
        cpus: dict[str, list[float]] = {}
        for round_ in range(rounds + 1):
            for name, url in urls.items():
                for how in ("huggingface_hub", "curl"):
                    before = served.cpu()
                    if how == "curl":
                        measured = client.run([program("curl"), "-sSf", "-o", download, url])
                    else:
                        measured = client.python("hub_file", url, download)
                    if Path(download).stat().st_size != (scene.models / MODEL_FILE).stat().st_size:
                        raise Failed(f"{name}: the download is short")
                    if round_:
                        walls.setdefault((how, name), []).append(measured.run.wall)
                        cpus.setdefault(f"{how} from {name}", []).append(measured.run.cpu)
                        if name == "cas serve":
                            cpus.setdefault(f"cas serve to {how}", []).append(served.cpu() - before)
        Path(download).unlink()
    for how in ("huggingface_hub", "curl"):
        ours, theirs = walls[how, "cas serve"], walls[how, "nginx"]
        _say(f"warm, {how}: cas serve {spread(ours)} s, nginx {spread(theirs)} s, {_ratio(ours, theirs)}")
    _say_cpu("warm", cpus)


def cold(scene: Scene, link: str, rounds: int) -> None:
    """Compare a server without any chunk with a restore, over a link to the bucket."""
    client = scene.over(LINKS[link])
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}

    def add(name: str, wall: float, **cpu: float) -> None:
        walls.setdefault(name, []).append(wall)
        for who, seconds in cpu.items():
            cpus.setdefault(f"{who} of {name}" if cpu.keys() > {who} else name, []).append(seconds)

    for round_ in range(rounds + 1):
        restored = client.cas("restore", MODEL, "--cache-dir", client.empty("cache"))
        client.empty("cache")
        if round_:
            add("cas restore", restored.run.wall, process=restored.run.cpu)
        for how in ("huggingface_hub", "curl"):
            with serving(client, Path(client.empty("cold"))) as served:
                before = served.cpu()
                if how == "curl":
                    fetched = client.run([program("curl"), "-sSf", *_downloads(scene, served, client.empty("cache"))])
                else:
                    client.environment["HF_ENDPOINT"] = served.url
                    fetched = client.python("hub_snapshots", client.empty("cache"), *REPOS)
                client.empty("cache")
                if round_:
                    add(how, fetched.run.wall, server=served.cpu() - before, client=fetched.run.cpu)
    client.empty("cold")
    theirs, title = walls["cas restore"], LINKS[link].title
    for how in ("huggingface_hub", "curl"):
        ours = walls[how]
        _say(f"cold, {title}, {how}: cas serve {spread(ours)} s, restore {spread(theirs)} s, {_ratio(ours, theirs)}")
    _say_cpu(f"cold, {title}", cpus)


def _downloads(scene: Scene, served: Served, folder: str) -> Iterator[str]:
    """Curl's arguments that download the files of the repos one after the other."""
    for repo in REPOS:
        for path in sorted(path for path in (scene.models / repo).rglob("*") if path.is_file()):
            name = path.relative_to(scene.models / repo).as_posix()
            yield from ("-o", f"{folder}/{path.name}", served.file(repo, name))


def first_byte(scene: Scene, rounds: int) -> None:
    """Measure how long the first byte of a chunk takes from the chunk's arrival on."""
    path = scene.work / "first"
    late = []
    with scene.network.server():
        for round_ in range(rounds + 1):
            shutil.rmtree(path, ignore_errors=True)
            with FirstChunk(scene.server.port) as relay:
                via = Client(scene, LINKS["none"])
                via.environment["AWS_ENDPOINT_URL"] = relay.url
                with serving(via, path) as served:
                    # The first chunk of the large file alone: nothing is fetched ahead of a range.
                    headers = {"Range": f"bytes={64 * _MIB}-{64 * _MIB}"}
                    request = urllib.request.Request(served.file(_REPO, _PATH), headers=headers)
                    urllib.request.urlopen(served.url + f"/api/models/{_REPO}").close()
                    with urllib.request.urlopen(request) as answer:
                        answer.read(1)
                        now = time.monotonic()
                    if round_:
                        late.append((now - relay.last_answer) * 1000)
    shutil.rmtree(path, ignore_errors=True)
    _say(f"first byte after its chunk: {spread(late, 1)} ms")


def clients(scene: Scene) -> None:
    """Let fifty clients read at once from a server that has nothing yet, and tell its memory and its requests."""
    client, path = scene.at(LINKS["none"]), Path(scene.at(LINKS["none"]).empty("fifty"))
    size = (scene.models / MODEL_FILE).stat().st_size
    with serving(client, path) as served, scene.network.client(client.link):
        host = served.url.removeprefix("http://")

        def read(number: int) -> None:
            with scene.network.client(client.link):
                connection = http.client.HTTPConnection(host, timeout=300)
                start = number * size // _CLIENTS // 2
                connection.request(
                    "GET", f"/{_REPO}/resolve/main/{_PATH}", headers={"Range": f"bytes={start}-{start + size // 2}"}
                )
                answer, got = connection.getresponse(), 0
                while got < 64 * _MIB and (piece := answer.read(_MIB)):
                    got += len(piece)
                connection.close()  # in the middle, as a killed client

        before = served.peak()
        threads = [threading.Thread(target=read, args=(number,)) for number in range(_CLIENTS)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.monotonic() - begun
        metrics = urllib.request.urlopen(f"{served.url}/metrics").read().decode()
        fetched = re.search(r"store_chunks_total(?:\{[^}]*\})? ([0-9.e+]+)", metrics)
        _say(
            f"{_CLIENTS} clients, 64 MiB each: {wall:.2f} s, {before:.0f} MiB before, {served.peak():.0f} MiB at most, "
            f"{float(fetched[1]) if fetched else -1:.0f} chunks fetched of {scene.facts['chunks']:.0f}"
        )
    shutil.rmtree(path)


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser("python -m tools.bench.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, after one that is not counted (default 5)")
    parser.add_argument("--only", default="warm,cold,first,clients", help="which parts (default: all)")
    parser.add_argument("--shrink", type=int, default=1, help="8 for a model of 22 MB")
    args = parser.parse_args()
    if nginx.installed() is None:
        sys.exit("nginx is not installed: `apt-get install nginx-light`")
    parts = args.only.split(",")
    with stage([LINKS["1gbit"], LINKS["none"]], args.shrink) as (scene, links):
        scene.prepare("version")
        shutil.rmtree(scene.hub_cache.parent)  # the publisher's copy of the model: space for the caches
        _say(json.dumps(scene.facts))
        if "warm" in parts:
            warm(scene, args.rounds)
        if "first" in parts:
            first_byte(scene, args.rounds)
        if "clients" in parts:
            clients(scene)
        if "cold" in parts:
            for link in links:
                cold(scene, link.name, args.rounds)


def _ratio(ours: list[float], theirs: list[float]) -> str:
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _say_cpu(what: str, cpus: dict[str, list[float]]) -> None:
    _say(f"{what}, CPU seconds: " + ", ".join(f"{name} {statistics.median(each):.2f}" for name, each in cpus.items()))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the folder of 6 GB is removed
    main()
