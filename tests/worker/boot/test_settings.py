"""What an environment asks of a worker, and the defaults of what it leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from cas.errors import InputError
from worker.boot.settings import Settings


def test_four_variables_are_enough() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "https://s3.example.com"}
    found = Settings.read({"S3_BUCKET": "voices", **keys})
    assert found.store == "s3://voices/cas"
    assert (found.model, found.mirrors, found.prometheus) == ("f5-tts", (), None)
    assert found.directories == (Path("/runpod-volume/models"), Path("/tmp/models"), Path("/app/models"))
    assert (found.publish, found.receipt, found.receipt_named) == (True, True, False)
    assert found.source.is_file()


def test_without_a_bucket_there_is_no_store_and_nothing_to_publish_to() -> None:
    found = Settings.read({})
    assert (found.store, found.publish) == (None, False)
    assert "set S3_BUCKET" in found.no_store


@pytest.mark.parametrize("off", ["false", "0", "NO", " off "])
def test_the_switch_turns_all_off_that_has_to_do_with_the_store(off: str) -> None:
    found = Settings.read({"S3_BUCKET": "voices", "ENABLE_S3_MODEL_CACHE": off, "CAS_MIRRORS": "/m"})
    assert (found.store, found.publish, found.receipt) == (None, False, False)
    assert found.no_store == "ENABLE_S3_MODEL_CACHE is off"
    assert found.mirrors == ("/m",)


def test_mirrors_are_separated_by_spaces_or_commas() -> None:
    found = Settings.read(
        {"CAS_MIRRORS": " https://cdn.example.com/cas, s3://other/cas\n/mnt/cas az://c/cas gs://b/cas"}
    )
    assert found.mirrors == ("https://cdn.example.com/cas", "s3://other/cas", "/mnt/cas", "az://c/cas", "gs://b/cas")


@pytest.mark.parametrize(
    ("reference", "model"),
    [("f5-tts:v1", "f5-tts"), ("other", "other"), ("m@0123456789", "m"), ("pin:eu/m2", "m2"), ("", "f5-tts")],
)
def test_the_model_is_that_of_the_reference(reference: str, model: str) -> None:
    assert Settings.read({"CAS_MODEL": reference}).model == model


def test_a_pin_has_to_be_asked_for_unless_something_nearer_decides() -> None:
    eu = {"RUNPOD_ENDPOINT_ID": "eu"}
    assert not Settings.read(eu).local
    assert Settings.read({}).local
    assert Settings.read({**eu, "CAS_LOCK": "/x.json"}).local
    assert Settings.read({**eu, "CAS_MODEL": "m"}).local


def test_a_mirror_with_a_secret_in_it_is_refused_without_showing_it() -> None:
    for url in ("https://user:hunter2@host/x", "https://host/x?sig=hunter2", "ftp://hunter2"):
        with pytest.raises(InputError, match="CAS_MIRRORS: entry 2") as caught:
            Settings.read({"CAS_MIRRORS": f"/m {url}"})
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["huggingface.co", "http://user:pass/word@host", "ftp://host", "https://"])
def test_an_address_of_the_hub_that_is_none_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(InputError, match=r"HF_ENDPOINT is no URL") as error:
        Settings.read({"HF_ENDPOINT": address})
    assert "word" not in str(error.value).replace("password", "")


def test_a_directory_of_a_user_who_is_not_there_is_refused_with_its_variable() -> None:
    for name in ("CAS_CACHE_DIRS", "CAS_PROMETHEUS_FILE"):
        with pytest.raises(InputError, match=f"{name}: '~nobody-of-this-name/x' begins with the name of no user"):
            Settings.read({name: "~nobody-of-this-name/x"})


def test_the_device_is_one_of_two() -> None:
    assert Settings.read({"CAS_DEVICE": " CPU "}).device == "cpu"
    with pytest.raises(InputError, match="CAS_DEVICE is 'tpu': write cpu or cuda"):
        Settings.read({"CAS_DEVICE": "TPU"})


def test_blanks_and_line_ends_do_not_count() -> None:
    given = {
        "S3_BUCKET": "s3://voices\n",
        "CAS_STORE": " ",
        "CAS_MODEL": "m:v1\n",
        "CAS_DEPLOYMENT": "",
        "CAS_DEVICE": "\n",
    }
    found = Settings.read({**given, "RUNPOD_ENDPOINT_ID": " eu ", "CAS_CACHE_DIRS": " /a:/b\n"})
    assert (found.store, found.model, found.deployment, found.device) == ("s3://voices/cas", "m", "eu", "")
    assert found.directories == (Path("/a"), Path("/b"))


def test_a_bad_bucket_is_named() -> None:
    with pytest.raises(InputError, match="S3_BUCKET is 'voices/cas': write the bucket's name alone"):
        Settings.read({"S3_BUCKET": "voices/cas"})
