"""Ceph's S3 gateway on this machine: a monitor, one OSD in memory and radosgw, from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Self

from tools.servers.process import free_ports, spawn

KEY, SECRET = "cas-access", "cas-secret"
_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_START_TIMEOUT = 90.0
_CONFIG = """
[global]
fsid = {fsid}
mon_host = {monitor}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 2147483648
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
run_dir = {folder}
log_file = {folder}/$name.log
admin_socket = {folder}/$name.asok
pid_file =
mon_data = {folder}/mon
osd_data = {folder}/osd
keyring = {folder}/keyring
[client.rgw.a]
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port}
"""


class CephError(RuntimeError):
    """The gateway is not installed, or a step of its start failed."""


class Ceph:
    """Run a cluster of one machine and its gateway while the context lasts; all objects are in memory.

    Args:
        folder: where to keep configuration, keys and logs.

    Raises:
        CephError: (on entering) a program is missing, a step fails, or the gateway does not answer within 90 s.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "ceph.conf"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port, *self._monitor_ports = free_ports(3)

    def __enter__(self) -> Self:
        """Start the monitor, the OSD and the gateway, and make a user."""
        if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
            raise CephError(f"{missing[0]} is not installed: apt-get install radosgw ceph-mon ceph-osd ceph-common")
        if os.geteuid() != 0:
            raise CephError("Ceph's daemons start as root only")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """End the daemons."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()

    def _start(self) -> None:
        folder, fsid, osd = self._folder, str(uuid.uuid4()), str(uuid.uuid4())
        for name in ("mon", "osd", "rgw"):
            (folder / name).mkdir()
        second, first = self._monitor_ports
        monitor = f"[v2:127.0.0.1:{second},v1:127.0.0.1:{first}]"
        self._config.write_text(_CONFIG.format(fsid=fsid, monitor=monitor, folder=folder, port=self.port))
        keyring = str(folder / "keyring")
        every = ("--gen-key", "--cap", "mon", "allow *", "--cap", "osd", "allow *")
        for number, name in enumerate(("mon.", "client.admin", "osd.0", "client.rgw.a")):
            self._run("ceph-authtool", keyring, *(() if number else ("--create-keyring",)), *every, "-n", name)
        monitors = str(folder / "monmap")
        self._run("monmaptool", "--create", "--addv", "a", monitor, "--fsid", fsid, monitors)
        self._run("ceph-mon", *self._which, "--mkfs", "-i", "a", "--monmap", monitors, "--keyring", keyring)
        self._spawn("ceph-mon", "-i", "a")
        self._run("ceph", *self._which, "--connect-timeout", "30", "osd", "new", osd)
        self._run("ceph", *self._which, "auth", "import", "-i", keyring)
        self._run("ceph-osd", *self._which, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-i", "0")
        self._spawn("radosgw", "-n", "client.rgw.a")
        self._wait()
        user = ("user", "create", "--uid", "cas", "--display-name", "cas", "--access-key", KEY, "--secret-key", SECRET)
        self._run("radosgw-admin", *self._which, "-n", "client.rgw.a", *user)

    @property
    def _which(self) -> tuple[str, str]:
        return "-c", str(self._config)

    def _run(self, *command: str) -> None:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_START_TIMEOUT, check=False)
        if ran.returncode:
            raise CephError(f"{command[0]} failed: {(ran.stderr or ran.stdout)[-300:]}")

    def _spawn(self, program: str, *words: str) -> None:
        path = shutil.which(program)
        assert path is not None, "looked up before the start"
        self._processes.append(spawn([path, *self._which, *words, "-f"], self._folder / f"{program}.out"))

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        raise CephError("the gateway does not answer")
