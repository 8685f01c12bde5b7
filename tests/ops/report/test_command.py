"""`cas report`: a page, its figures as a document, a few lines in the terminal, and what is wrong with its receipts."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cas.bucket import Kind
from cas.ops.report.figures import Report
from cas.store.store import Store, open_store
from tests.support.in_process import call_cas, cas_json, cas_lines
from tests.support.models import publish_tree, write_tree
from tools import fleet

COUNT = 120


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the receipts of a fleet, two versions that share a file, and a damaged receipt."""
    folder = tmp_path_factory.mktemp("report")
    made = open_store(str(folder / "store"))
    made.create()
    fleet.write(made, list(fleet.receipts(COUNT, until=datetime.datetime.now(datetime.UTC))))
    files = {"a.bin": b"a" * 5000, "b.bin": bytes(range(256)) * 40}
    publish_tree(made, write_tree(folder / "one", files))
    publish_tree(made, write_tree(folder / "two", {**files, "b.bin": bytes(range(255, -1, -1)) * 40}))
    key = f"receipts/eu-prod/2026-11-01/000000-{'ab' * 32}-0123456789abcdef.json"
    made.bucket.put(key, b'{"version": 1', Kind.DOCUMENT)
    return made


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in a folder of the test's own, as the page is written to the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def figures_in(page: bytes) -> Report:
    """The figures that a page holds."""
    text = page.decode().partition('id="figures">')[2].partition("</script>")[0]
    return msgspec.json.decode(text.encode(), type=Report)


def test_a_page_is_written_and_a_few_lines_say_what_matters(store: Store, here: Path) -> None:
    lines = cas_lines(store, "report")
    assert lines[0].startswith(f"starts    {COUNT}, of which ")
    assert any(line.startswith("fix ") for line in lines)
    assert lines[-1] == "page      report.html"
    assert figures_in((here / "report.html").read_bytes()).all.starts == COUNT


def test_a_receipt_that_cannot_be_read_is_a_warning_and_counts_nowhere(store: Store, here: Path) -> None:
    done = call_cas("--store", store.url, "report")
    assert "warning: 1 receipt cannot be read, and count" in done.stderr
    assert figures_in((here / "report.html").read_bytes()).unread == 1


def test_the_document_has_the_figures_of_the_page_and_writes_no_file(store: Store, here: Path) -> None:
    found = cas_json(store, "report")
    assert list(here.iterdir()) == []
    assert msgspec.convert(found, Report, strict=False).all.starts == COUNT
    cas_json(store, "report", "-o", "page.html")
    page = figures_in((here / "page.html").read_bytes())
    assert json.loads(msgspec.json.encode(page.groups)) == found["groups"]


def test_a_typo_writes_no_empty_page_over_another(store: Store, here: Path) -> None:
    (here / "report.html").write_text("of last week")
    done = call_cas("--store", store.url, "report", "eu-prd")
    assert (done.returncode, (here / "report.html").read_text()) == (3, "of last week")
    assert "no receipt is of eu-prd in the time that was asked for: there are some of eu-prod" in done.stderr


def test_a_model_or_a_deployment_is_told_alone(store: Store) -> None:
    by_model = cas_json(store, "report", "minilm")
    by_deployment = cas_json(store, "report", "eu-prod")
    by_pin = cas_json(store, "report", "pin:eu-prod/minilm")
    assert by_model["all"]["starts"] == by_deployment["all"]["starts"] == by_pin["all"]["starts"] < COUNT
    assert {group["name"] for group in by_model["groups"]["deployment"]} == {"eu-prod"}


def test_older_receipts_are_left_alone(store: Store) -> None:
    """By the time when the store got them, which no machine's clock can change: all of these were written just now."""
    assert cas_json(store, "report", "--since", "1h")["all"]["starts"] == COUNT


def test_the_store_is_told_as_cas_du_and_cas_gc_tell_it(store: Store) -> None:
    stored, used = cas_json(store, "report")["stored"], cas_json(store, "du")
    assert (stored["plain"], stored["stored"], stored["count"]) == (used["plain"], used["stored"], used["count"])
    assert stored["shared"] == used["plain"] - used["distinct"] > 0
    assert stored["growth"][-1]["stored"] == used["stored"] + used["unneeded"]
    assert {version["version"].partition("@")[0] for version in stored["versions"]} == {"m"}
    assert stored["freed"] == cas_json(store, "gc", "-n")["condemned"]
    assert cas_json(store, "report", "--no-store")["stored"] is None


def test_a_price_of_ones_own_stands_before_the_known_lists(store: Store) -> None:
    stored = cas_json(store, "report", "--price", "1000")["stored"]
    own, *known = stored["costs"]
    assert own["price"]["applies"]
    assert own["storage"] == pytest.approx(stored["stored"] / 1e6, abs=1e-3)
    assert all(one["price"]["source"].startswith("https://") and one["price"]["read"] for one in known)
    assert call_cas("--store", store.url, "report", "--price", "-1").returncode == 2


def test_the_page_goes_to_standard_output_alone(store: Store) -> None:
    done = call_cas("--store", store.url, "report", "-o", "-", "--no-store")
    assert figures_in(done.stdout.encode()).all.starts == COUNT
    assert done.stdout.startswith("<!doctype html>")


def test_results_of_the_benchmark_are_shown_and_other_files_refused(store: Store, here: Path) -> None:
    wall = {"median": 2.0, "min": 1.0, "max": 3.0}
    cases = [{"link": "1g", "case": name, "peer": None, "wall_s": wall} for name in ("cas restore", "s5cmd cp")]
    alone = {"link": "disk", "case": "cas restore", "wall_s": wall}
    unmeasured = {"link": "1g", "case": "hf download", "wall_s": None}
    (here / "bench.json").write_text(json.dumps({"machine": {}, "summary": [*cases, alone, unmeasured]}))
    found = cas_json(store, "report", "--no-store", "--benchmark", "bench.json")
    assert [(one["link"], one["case"]) for one in found["benchmark"]] == [("1g", "cas restore"), ("1g", "s5cmd cp")]
    (here / "other.json").write_text("[]")
    refused = call_cas("--store", store.url, "report", "--benchmark", "other.json")
    assert (refused.returncode, "other.json has no results of `make bench`" in refused.stderr) == (5, True)
    missing = call_cas("--store", store.url, "report", "--benchmark", "missing.json")
    assert (missing.returncode, "no benchmark's results at missing.json" in missing.stderr) == (3, True)


def test_a_store_without_receipts_says_who_writes_them(tmp_path: Path) -> None:
    made = open_store(str(tmp_path / "empty"))
    made.create()
    assert "CAS_RECEIPT=1" in cas_lines(made, "report")[0]
    assert cas_lines(made, "report", "eu-prd")[0].startswith("starts    none of eu-prd since ")
