"""What CAS_READ_URL saves the bucket: restores on several machines through nginx's proxy_cache, before SeaweedFS.

Run `python -m tools.bench.cdn` (it needs nginx). Each restore is a process of its own into an empty cache directory.
The last column counts requests for chunks and manifests that reached the bucket; the LIST and the two GETs of the ref
and of format.json go there always.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cas
from tools.servers import nginx
from tools.servers.nginx import Nginx
from tools.servers.seaweed import SeaweedFS
from tools.servers.seaweed_identities import PUBLIC_BUCKET

_STORE = f"s3://{PUBLIC_BUCKET}/cas"
_MIB = 1024 * 1024


def main() -> None:
    """Publish random files, restore them on "machines", and print a table."""
    parser = argparse.ArgumentParser("python -m tools.bench.cdn", description=__doc__)
    parser.add_argument("--mib", type=int, default=512, help="size of the model (default: 512 MiB)")
    parser.add_argument("--machines", type=int, default=3, help="restores through the cache (default: 3)")
    args = parser.parse_args()
    if nginx.installed() is None:
        sys.exit("nginx is not installed: `apt-get install nginx-light`")
    with tempfile.TemporaryDirectory(prefix="cas-cdn-") as folder, SeaweedFS(Path(folder) / "seaweed") as seaweed:
        seaweed.create_bucket(PUBLIC_BUCKET)
        os.environ.update({name: value for name, value in seaweed.env(PUBLIC_BUCKET).items() if name != "CAS_STORE"})
        source = Path(folder) / "source"
        source.mkdir()
        with (source / "model.bin").open("wb") as file:
            for _ in range(args.mib):
                file.write(os.urandom(_MIB))
        cas.publish("m", cas.Source.from_folder(source, "org/m"), _STORE)
        print(f"{'restore of ' + str(args.mib) + ' MiB':<34} {'s':>6} {'cache':>6} {'bucket':>7}")
        for at in range(2):
            print(
                f"{'from the bucket, run ' + str(at + 1):<34} {_restore(Path(folder) / f'direct{at}', ''):>6.2f} {0:>6}"
            )
        with Nginx(Path(folder) / "nginx", f"{seaweed.endpoint}/{PUBLIC_BUCKET}/cas") as cache:
            seen = 0
            for at in range(args.machines):
                seconds = _restore(Path(folder) / f"cached{at}", cache.url)
                requests = cache.requests()[seen:]
                seen += len(requests)
                hits = sum(request.cached == "HIT" for request in requests)
                label = f"through the cache, machine {at + 1}"
                print(f"{label:<34} {seconds:>6.2f} {hits:>6} {len(requests) - hits:>7}")


def _restore(hub: Path, read_url: str) -> float:
    """Restore in a process of its own, and return the seconds that it took."""
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "cas", "--quiet", "--store", _STORE, "restore", "m", "--cache-dir", str(hub)],
        env={**os.environ, "CAS_READ_URL": read_url},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
