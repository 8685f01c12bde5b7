"""The cold-start receipt: a line that says all, that CloudWatch and Prometheus understand, and that holds no secret."""

from __future__ import annotations

import json
import math
import re
import stat
import sys
from pathlib import Path

import pytest

from cas import config
from tests.support.processes import until
from tests.worker.station import AWAY, TOTAL, Ran, Station, ended
from tools.servers.seaweed import SeaweedFS
from worker.boot import cold_start
from worker.boot.cold_start import Phases
from worker.boot.messages import Failed, Step


def test_every_phase_has_its_seconds_and_every_byte_its_source(station: Station) -> None:
    station.publish()
    receipt = station.boot(CAS_DEPLOYMENT="eu").receipt
    names = [phase["name"] for phase in receipt["phases"]]
    wanted = ["settings", "directories", "wait", "restore.resolve", "restore.plan", "restore.fetch", "restore.link"]
    assert set(wanted) <= set(names)
    assert names == [phase["name"] for phase in sorted(receipt["phases"], key=lambda phase: phase["at"])]
    assert all(0 <= phase["at"] + phase["seconds"] <= receipt["seconds_ready"] + 0.01 for phase in receipt["phases"])
    parts = ("bytes_fetched", "bytes_reused", "bytes_present", "bytes_downloaded")
    assert sum(receipt[name] for name in parts) == receipt["bytes_total"] == TOTAL
    assert receipt["rate_fetch"] > 0
    assert set(receipt["directories"].values()) == {"usable"}


def test_the_line_is_an_embedded_metric_document(station: Station) -> None:
    station.publish()
    receipt = station.boot(CAS_DEPLOYMENT="eu").receipt
    (directive,) = receipt["_aws"]["CloudWatchMetrics"]
    assert isinstance(receipt["_aws"]["Timestamp"], int)
    assert directive["Namespace"] == "model-cas"
    assert directive["Dimensions"] == [["deployment", "model"]]
    assert (receipt["deployment"], receipt["model"]) == ("eu", "f5-tts")
    assert 0 < len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert set(metric) == {"Name", "Unit"}
        assert metric["Unit"] in ("Seconds", "Bytes", "Bytes/Second", "Count")
        assert math.isfinite(receipt[metric["Name"]])
    assert {"seconds_ready", "seconds_restore_fetch", "bytes_wire"} <= {m["Name"] for m in directive["Metrics"]}


SAMPLE = re.compile(r'[a-z_]+\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\} [0-9.e+-]+')


def test_a_text_file_for_prometheus_appears_whole(station: Station, tmp_path: Path) -> None:
    station.publish()
    file = tmp_path / "metrics/cas.prom"
    ran = station.boot(CAS_PROMETHEUS_FILE=str(file), CAS_DEPLOYMENT="eu")
    station.check(ran)
    assert [path.name for path in file.parent.iterdir()] == ["cas.prom"]
    lines = file.read_text().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in samples), samples
    families = {line.partition("{")[0] for line in samples}
    assert {line.split()[2] for line in lines if line.startswith("# HELP")} == families
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == families
    assert f'cas_worker_bytes{{deployment="eu",model="f5-tts",source="fetched"}} {TOTAL}' in samples
    assert len(samples) == len({line.rpartition(" ")[0] for line in samples}), "one value for each"


def test_a_text_file_that_cannot_be_written_is_a_warning(station: Station) -> None:
    station.publish()
    ran = station.boot(CAS_PROMETHEUS_FILE="/proc/cas.prom")
    station.check(ran)
    (told,) = ran.warnings
    assert "CAS_PROMETHEUS_FILE /proc/cas.prom cannot be written" in told


def test_labels_are_escaped(tmp_path: Path) -> None:
    failed = Failed(exit_code=6, causes=("x" * 5000,))
    measured = Phases()
    measured.add([Step('a"b\\c\nd', measured.begun, 1.0)], "x.")
    document = cold_start.as_document(measured, failed, model="m", deployment="d")
    cold_start.write_prometheus(document, tmp_path / "f")
    assert 'phase="x.a\\"b\\\\c\\nd"' in (tmp_path / "f").read_text()
    assert len(document["causes"][0]) == 1000
    assert "\n" not in json.dumps(document)
    assert stat.S_ISREG((tmp_path / "f").stat().st_mode)


def without_secrets(ran: Ran, *secrets: str) -> None:
    for secret in secrets:
        assert secret not in ran.out + ran.err


def test_no_secret_reaches_a_log_or_a_receipt(station: Station, seaweed: SeaweedFS, s3_url: str) -> None:
    bucket = s3_url.split("/")[2]
    variables = seaweed.env(bucket)
    secrets = [value for name, value in variables.items() if "SECRET" in name]
    assert secrets
    station.store = s3_url
    station.env = {**variables, "HF_TOKEN": "hf_verysecrettoken", "CAS_STORE": s3_url}
    exact = station.publish()
    good = station.boot(CAS_DEPLOYMENT="eu")
    station.check(good)
    assert good.receipt["version"] == exact
    wrong = station.boot(AWS_SECRET_ACCESS_KEY="wrongsecretwrongsecret", CAS_CACHE_DIRS=str(station.folder / "w"))
    away = station.boot(AWS_ENDPOINT_URL=AWAY, HF_ENDPOINT=AWAY, CAS_CACHE_DIRS=str(station.folder / "x"))
    mirror = station.boot(
        AWS_ENDPOINT_URL=AWAY, CAS_MIRRORS="https://127.0.0.1:9/cas", CAS_CACHE_DIRS=str(station.folder / "y")
    )
    assert wrong.receipt["source"] == "hub"
    assert any("store s3://" in line for line in wrong.warnings)
    assert away.code == 6
    no_hub = station.boot(HF_ENDPOINT="http://me:hubsecret@127.0.0.1:9/x?token=hubsecret", **elsewhere(station, "z"))
    assert no_hub.code == 6
    assert "Hugging Face: SWivid/F5-TTS@main cannot be downloaded from http://127.0.0.1:9/x and" in no_hub.errors[-1]
    with_user = station.hub.url.replace("://", "://me:hubsecret@")
    hub = station.boot(HF_ENDPOINT=with_user, **elsewhere(station, "hub"))
    station.check(hub)
    assert hub.receipt["where"] == station.hub.url
    station.hub.down = True
    down = station.boot(HF_ENDPOINT=with_user, **elsewhere(station, "hub"))
    assert any("HfHubHTTPError" in line for line in down.warnings)
    for ran in (good, wrong, away, mirror, no_hub, hub, down):
        without_secrets(ran, *secrets, "hf_verysecrettoken", "wrongsecretwrongsecret", "hubsecret")


def elsewhere(station: Station, name: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": AWAY, "CAS_CACHE_DIRS": str(station.folder / name)}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", "https://huggingface.co"),
        ("https://hub.example.com/", "https://hub.example.com/"),
        ("https://me:pw@hub.example.com:8443/x?sig=pw#pw", "https://hub.example.com:8443/x"),
        ("http://me:p@w@host", "http://host"),
        ("http://me:pw?pw@host", "http://…"),
        ("me:pw@host", "host"),
    ],
)
def test_an_address_of_the_hub_is_shown_without_what_may_be_secret(
    given: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", given)
    assert config.hub_endpoint() == shown
    if "pw" in given:
        assert "pw" not in config.without_secrets(f"500 for url '{given}/api' and 'http://x:pw@127.0.0.1/y'")


def test_the_log_of_the_hubs_client_shows_no_password(station: Station) -> None:
    code = """
import sys; from pathlib import Path
from cas import config
from cas import events
from cas.ops.publish.publisher import Source
from cas.hub.gather import gather
gather(Source.from_repos(["charactr/vocos-mel-24khz"]), config.CacheDirs(Path(sys.argv[1]), Path(sys.argv[1])),
    events.ignore, download=True)
from huggingface_hub.utils import logging
logging.get_logger("huggingface_hub.utils._http").warning("GET %s failed", "http://me:hubsecret@127.0.0.1:9/x")
"""
    ran = station.start("-c", code, str(station.folder / "c"))
    out, err = ran.communicate(timeout=60)
    assert ran.returncode == 0, err
    assert "GET http://127.0.0.1:9/x failed" in err
    assert "hubsecret" not in out + err


def test_a_bucket_of_its_own_name_is_the_store(station: Station, seaweed: SeaweedFS, s3_url: str) -> None:
    bucket = s3_url.split("/")[2]
    station.store = s3_url
    station.env = seaweed.env(bucket)
    station.publish()
    ran = station.boot(CAS_STORE="", S3_BUCKET=bucket)
    station.check(ran)
    assert (ran.receipt["source"], ran.receipt["where"]) == ("store", s3_url)


def test_a_receipt_is_kept_in_the_store_unless_switched_off(station: Station) -> None:
    exact = station.publish()
    station.boot(CAS_RECEIPT="0", CAS_CACHE_DIRS=str(station.folder / "other"))
    assert list(Path(station.store).glob("receipts/*/*/*.json")) == []
    station.boot(CAS_DEPLOYMENT="eu")
    (kept,) = Path(station.store).glob("receipts/eu/*/*.json")
    receipt = json.loads(kept.read_bytes())
    assert receipt["manifest"] == exact.partition("@")[2]
    assert receipt["directory"] == str(station.directories[0])
    assert receipt["directory_reason"] == "first of CAS_CACHE_DIRS that passes the checks"
    names = [phase["name"] for phase in receipt["phases"]]
    assert names[:2] == ["resolve", "plan"] and names[-4:] == ["settings", "directories", "spawn", "wait"], names
    assert "python" in names or sys.platform != "linux"
    assert receipt["ok"] and receipt["bytes"]["fetched"] == TOTAL


UNUSABLE = """
from worker.boot.boot import Boot
boot = Boot.start()
boot.wait()
with boot.phases.measure("load"):
    pass
boot.failed(MemoryError("s3://user:secret@host/x?y=z"))
"""


def test_the_receipt_of_a_model_that_cannot_be_used_says_so(station: Station) -> None:
    station.publish()
    ran = ended(station.start("-c", UNUSABLE, env={"CAS_DEPLOYMENT": "eu"}))
    assert ran.code == 0, ran.err
    (kept,) = Path(station.store).glob("receipts/eu/*/*.json")
    receipt = json.loads(kept.read_bytes())
    assert not receipt["ok"]
    assert receipt["error"]["class"] == "MemoryError"
    assert "cannot be used" in receipt["error"]["message"]
    assert receipt["phases"][-1]["name"] == "load"
    assert ran.receipt["ok"] is False
    assert "secret" not in ran.out + ran.err + kept.read_text()


GONE = """
import os
from worker.boot.boot import Boot
Boot.start().wait()
os._exit(0)
"""


def test_a_worker_that_dies_before_it_can_speak_leaves_the_receipt_of_its_restore(station: Station) -> None:
    station.publish()
    station.start("-c", GONE, env={"CAS_DEPLOYMENT": "eu"}).communicate(timeout=60)
    until(lambda: bool(list(Path(station.store).glob("receipts/eu/*/*.json"))))
    (kept,) = Path(station.store).glob("receipts/eu/*/*.json")
    receipt = json.loads(kept.read_bytes())
    assert receipt["ok"]
    assert "wait" not in [phase["name"] for phase in receipt["phases"]]
