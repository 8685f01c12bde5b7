"""An error that nobody thought of says where it came from, and nothing of what it held."""

from __future__ import annotations

import re

import pytest

from tests.worker.station import Station, last_message, whole_output
from worker.boot import messages

CODE = """
import runpy
from worker.model import records
def last_version(directory, model):
    password = "verysecret"
    raise {error}
records.last_version = last_version
runpy.run_module("worker.model.restore_process", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [("KeyError('verysecret')", "unexpected KeyError"), ("OSError(5, 'Input/output error')", "Input/output error")],
)
def test_it_names_the_places_in_our_code_and_no_value(error: str, told: str, station: Station) -> None:
    station.publish()
    process = station.start("-c", CODE.format(error=error), str(station.directories[0]))
    out, err = whole_output(process)
    done = last_message(out)
    assert isinstance(done, messages.Failed), err
    assert done.exit_code == 1
    place = r"worker/model/(source_chain|restore_process)\.py:[0-9]+"
    assert re.fullmatch(rf"{told} at {place}( < {place}){{1,3}}", done.causes[0]), done.causes
    assert "verysecret" not in out + err


def test_one_that_comes_after_the_model_is_a_line_in_the_log(station: Station) -> None:
    exact = station.publish()
    code = CODE.replace(".last_version = last_version", ".write_last_version = lambda *_: last_version(1, 2)")
    code = code.format(error="KeyError('verysecret')")
    out, err = whole_output(station.start("-c", code, str(station.directories[0])))
    done = last_message(out)
    assert isinstance(done, messages.Restored)
    assert done.version == exact
    (told,) = (line for line in err.splitlines() if "warning" in line)  # beside the lines that say what is loaded
    assert "warning: the model is here; after that: unexpected KeyError at worker/model/source_chain.py:" in told
