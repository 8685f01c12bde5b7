"""JSON is decoded into types by several threads at once."""

from __future__ import annotations

import subprocess
import sys


def test_threads_that_decode_a_type_for_the_first_time_at_once() -> None:
    code = '''
import sys, threading
from cas.formats.manifest import parse
sys.setswitchinterval(1e-6)
data = b"""{"version": 1, "model": "m", "created": "2026-11-23T03:00:00Z", "created_by": "test", "repos": [
    {"repo_id": "a/b", "repo_type": "model", "commit": "%s", "refs": ["main"], "files": []}]}""" % (b"0" * 40)
start, read = threading.Barrier(16), []
def run():
    start.wait()
    read.append(parse(data).model)
threads = [threading.Thread(target=run) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(read), *set(read))
'''
    for _ in range(10):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "16 m\n", "")
