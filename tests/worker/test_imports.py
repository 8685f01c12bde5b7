"""The worker's quick imports: what is put off works when it is used, and nothing is left changed."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worker import imports

SDK = """
import gc, json, sys
from worker import imports
with imports.hurried():
    assert not gc.isenabled()
    import runpod
from runpod.serverless.utils import rp_debugger
found = {"quick": rp_debugger.PROCESSOR, "left": "cpuinfo" in sys.modules, "frozen": gc.get_freeze_count()}
assert gc.isenabled()
import cpuinfo
print(json.dumps({**found, "real": cpuinfo.get_cpu_info()["brand_raw"]}))
"""

FAILING = """
import gc, sys
from worker import imports
try:
    with imports.hurried():
        raise ImportError
except ImportError:
    assert gc.isenabled() and "cpuinfo" not in sys.modules
gc.disable()
sys.modules["cpuinfo"] = sys
with imports.hurried():
    assert sys.modules["cpuinfo"] is sys
assert not gc.isenabled() and sys.modules["cpuinfo"] is sys
"""

SOURCES = {
    "shop/__init__.py": "import heavy\nNAME = heavy.WEIGHT\nfrom shop.counter import sell\n",
    "shop/counter.py": "import heavy\nfrom heavy.tools import lift, Crane\n\ndef sell(): return lift(3)\n"
    "def weigh(): return heavy.scales.weigh()\n",
    "heavy/__init__.py": "WEIGHT = 9\nfrom heavy import scales\n",
    "heavy/scales.py": "def weigh(): return 7\n",
    "heavy/tools.py": "def lift(n): return 2 * n\nclass Crane:\n    HEIGHT = 30\n",
    "early/__init__.py": "from heavy.tools import lift\nLIFTED = lift(1)\n",
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose `__init__` is put off, which names things of a module that is put off."""
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "PACKAGES", {"shop": "it imports heavy"})
    monkeypatch.setattr(imports, "MODULES", {"heavy": "shop.counter: cranes"})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def counter() -> Any:
    with imports.lean():
        import shop.counter  # type: ignore[import-not-found]
    return shop.counter


def is_imported(name: str) -> bool:
    return name in sys.modules


def test_what_is_put_off_is_imported_by_its_first_use(packages: Path) -> None:
    found = counter()
    assert not is_imported("heavy")
    assert "imported when it is used" in repr(found.lift)
    assert found.sell() == 6
    assert found.weigh() == 7
    assert found.Crane.HEIGHT == 30
    assert type(sys.modules["heavy"]) is type(sys)


def test_a_package_is_whole_as_soon_as_a_name_of_it_is_wanted(packages: Path) -> None:
    counter()
    assert not is_imported("heavy")
    from shop import NAME, sell

    assert (NAME, sell()) == (9, 6)
    import shop

    assert type(shop) is type(sys) and shop.__spec__.loader.get_source("shop") == SOURCES["shop/__init__.py"]


def test_all_of_a_packages_names_are_those_of_its_init(packages: Path) -> None:
    (packages / "shop/__init__.py").write_text("__all__ = ['only']\nonly, other = 1, 2\n")
    counter()
    names: dict[str, Any] = {}
    exec("from shop import *", names)
    assert names["only"] == 1 and "other" not in names and "counter" not in names


def test_what_is_not_installed_is_named_with_the_reason(packages: Path) -> None:
    found = counter()
    shutil.rmtree(packages / "heavy")
    importlib.invalidate_caches()
    with pytest.raises(
        ImportError, match=r"heavy\.tools\.lift is used and .*worker does without heavy \(shop\.counter"
    ):
        found.sell()
    with pytest.raises(ImportError, match="No module named 'heavy'"):
        sys.modules["shop"].NAME  # noqa: B018
    (packages / "heavy").mkdir()
    (packages / "heavy/__init__.py").write_text("WEIGHT = 4\ndef lift(n): return n\n")
    (packages / "heavy/tools.py").write_text("from heavy import lift\nCrane = None\n")
    importlib.invalidate_caches()
    assert sys.modules["shop"].NAME == 4, "the failed attempt was not the last"


def test_a_use_while_others_are_imported_is_told_as_such(packages: Path) -> None:
    with pytest.raises(ImportError, match="used while others are imported"), imports.lean():
        import early  # type: ignore[import-not-found]
    assert not is_imported("heavy")
    import early

    assert early.LIFTED == 2


def test_what_was_imported_before_is_taken(packages: Path) -> None:
    import heavy  # type: ignore[import-not-found]

    found = counter()
    assert found.heavy is heavy
    assert found.lift is heavy.tools.lift
    import shop

    with imports.lean():
        assert shop.NAME == 9
        import shop as again
    assert again is shop


def test_nothing_is_left_of_it(packages: Path) -> None:
    finders = list(sys.meta_path)
    with pytest.raises(ValueError), imports.lean():
        import heavy  # noqa: F401

        raise ValueError
    assert sys.meta_path == finders
    assert not is_imported("heavy")


def test_the_sdk_has_the_processors_name_as_it_would_have_found_it(reference_python: Path) -> None:
    done = subprocess.run([reference_python, "-c", SDK], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["quick"] == found["real"]
    assert not found["left"]
    assert found["frozen"] > 10_000


def test_all_is_as_before_whatever_was_before(worker_python: Path) -> None:
    done = subprocess.run([worker_python, "-c", FAILING], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
