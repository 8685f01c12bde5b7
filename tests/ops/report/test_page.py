"""The page in a real browser: every chart has its data, nothing goes wrong, and no receipt becomes a program."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cas.ops.report.figures import Report, figures
from cas.ops.report.page import page
from cas.ops.report.phases import Span
from tests.ops.report.made_starts import NOW, of_fleet, start
from tools import browser as browsers
from tools.browser import Browser, Page
from tools.screenshots import figures_of_fleet

CHARTS = (
    "over-time", "spread", "phases", "counts", "sources", "sources-by-version", "causes", "waterfall", "growth",
    "versions", "rivals-by-link",
)  # fmt: skip
POINTS = """Object.fromEntries(Object.values(Chart.instances).map((chart) =>
    [chart.canvas.id, chart.data.datasets.flatMap((set) => set.data).filter((value) => value !== null).length]))"""
ROWS = """Object.fromEntries([...document.querySelectorAll("figure")].map((figure) =>
    [figure.querySelector("canvas").id, figure.querySelectorAll("tbody tr").length]))"""

HOSTILE = (
    """</script><script>document.title="owned"</script><img src=x onerror='document.title="owned"'>`<b>\u2028&amp;"""
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if browsers.installed() is None:
        pytest.skip("there is no Chromium: `apt-get install chromium` on Debian")
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def report() -> Report:
    return figures_of_fleet(600)


def written(folder: Path, report: Report) -> Path:
    file = folder / "report.html"
    file.write_bytes(page(report))
    return file


def shown(browser: Browser, file: Path, width: int = 1400, *, is_dark: bool = False) -> Page:
    """Open a page, and check that nothing went wrong: no exception, no message in the console, no request."""
    opened = browser.open(file, width=width, is_dark=is_dark)
    assert opened.evaluate("document.documentElement.dataset.ready") == "yes"
    assert opened.problems == []
    return opened


@pytest.mark.parametrize(("width", "is_dark"), [(1400, False), (390, True)])
def test_every_chart_has_its_data_at_each_width(
    browser: Browser, report: Report, tmp_path: Path, width: int, is_dark: bool
) -> None:
    opened = shown(browser, written(tmp_path, report), width, is_dark=is_dark)
    points, rows = opened.evaluate(POINTS), opened.evaluate(ROWS)
    assert set(points) == set(rows) == set(CHARTS)
    assert {name for name in CHARTS if not points[name] or not rows[name]} == set()
    assert points["growth"] == len(report.stored.growth) if report.stored else False
    assert opened.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 150) == is_dark


def test_choices_draw_other_groups_and_another_start(browser: Browser, report: Report, tmp_path: Path) -> None:
    opened = shown(browser, written(tmp_path, report))
    lines = "Chart.getChart('over-time').data.datasets.map((set) => set.label)"
    by_version = opened.evaluate(lines)
    opened.evaluate("document.querySelector('input[value=datacenter]').click()")
    assert opened.evaluate(lines) == [group.name for group in report.groups["datacenter"][:6]] != by_version
    before = opened.evaluate("Chart.getChart('over-time').data.datasets[0].data[5]")
    opened.evaluate("document.querySelector('input[value=max]').click()")
    assert opened.evaluate("Chart.getChart('over-time').data.datasets[0].data[5]") > before
    failed = next(one for one in report.starts if one.error)
    opened.evaluate(f"which.value = '{failed.id}'; which.dispatchEvent(new Event('change'))")
    assert opened.evaluate("Chart.getChart('waterfall').data.labels") == [phase.name for phase in failed.phases]
    assert failed.error.partition(":")[0] in opened.evaluate("document.querySelector('.facts').textContent")
    assert opened.problems == []


def test_what_receipts_say_is_text_and_never_a_program(browser: Browser, tmp_path: Path) -> None:
    said = dict.fromkeys(("host", "gpu", "datacenter", "reason", "message", "error"), HOSTILE)
    starts = [start(n, **said) for n in range(6)] + [start(9 + n, host=HOSTILE, gpu=HOSTILE) for n in range(6)]  # type: ignore[arg-type]
    made = figures(starts, store=HOSTILE, made=NOW, since=NOW, about=HOSTILE)
    opened = shown(browser, written(tmp_path, made))
    assert opened.evaluate("document.title") == "model-cas report"
    assert opened.evaluate("document.querySelectorAll('img, b').length") == 0
    assert HOSTILE in opened.evaluate("document.getElementById('title').textContent")


def test_phases_may_be_called_what_every_object_of_a_page_has(browser: Browser, tmp_path: Path) -> None:
    odd = tuple(Span(name, 0.0 + at, 1.0) for at, name in enumerate(("constructor", "__proto__", "toString")))
    starts = [start(n, spans=odd, version="m@bbbbbbbbbbbb") for n in range(3)] + [start(9 + n) for n in range(3)]
    opened = shown(browser, written(tmp_path, figures(starts, store="s", made=NOW, since=NOW)))
    shares = "Chart.getChart('phases').data.datasets.map((set) => [set.label, set.data.every(Number.isFinite)])"
    assert dict(opened.evaluate(shares)) == dict.fromkeys(
        ("constructor", "__proto__", "toString", "fetch", "no name"), True
    )


def test_the_page_itself_forbids_programs_that_are_not_its_own(
    browser: Browser, report: Report, tmp_path: Path
) -> None:
    file = written(tmp_path, report)
    file.write_text(
        file.read_text().replace(
            "</main>", "<img src=x onerror='document.title=1'><script>document.title=2</script></main>"
        )
    )
    opened = browser.open(file)
    assert opened.evaluate("document.title") == "model-cas report"
    assert any("Content Security Policy" in problem for problem in opened.problems)


def test_a_report_of_nothing_says_so(browser: Browser, tmp_path: Path) -> None:
    opened = shown(browser, written(tmp_path, figures([], store="s", made=NOW, since=NOW)))
    assert "No start left a receipt" in opened.evaluate("document.querySelector('main').textContent")


def test_the_page_prints_on_paper_in_light_colours(browser: Browser, report: Report, tmp_path: Path) -> None:
    opened = shown(browser, written(tmp_path, report), is_dark=True)
    opened.evaluate("addEventListener('beforeprint', () => { window.inkOnPaper = Chart.defaults.color; })")
    pdf = opened.printed()
    assert opened.evaluate("[window.inkOnPaper, Chart.defaults.color]") == ["#5b6675", "#9aa6b5"]
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3


def test_a_page_is_one_file_of_bounded_size(report: Report) -> None:
    """Starts are summed up, and sixty of a kind are shown one by one."""
    text = page(report).decode()
    assert re.findall(r"""(?:src|href)=["']?[^"'#>\s]+""", text.partition('<script type="application/json"')[0]) == []
    many = page(figures(of_fleet(1500), store="s", made=NOW, since=NOW - datetime.timedelta(days=30)))
    assert len(many) < 1_000_000
