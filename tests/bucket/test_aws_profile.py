"""The user's profile counts as boto3 counts it, and boto3 is not needed to read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from cas.bucket import open_bucket
from cas.bucket.s3.boto3_client import find_credentials
from cas.bucket.s3.settings import read_settings
from cas.errors import InputError
from tests.bucket.recording import Environment, Recorder, asked

SERVICES = """
[default]
region = eu-west-1
services = mine
endpoint_url = http://all.test
[services mine]
s3 =
  endpoint_url = http://s3.test
sts =
  endpoint_url = http://sts.test
"""


def boto3_s_own() -> tuple[str, str]:
    """Return the endpoint and the region that boto3 finds."""
    client = boto3.Session().client("s3")
    return client.meta.endpoint_url, client.meta.region_name


class TestProfiles:
    """The region and the endpoint of a profile are those that boto3 finds."""

    @pytest.mark.parametrize("keys", [True, False], ids=["keys-in-variables", "keys-in-the-profile"])
    @pytest.mark.parametrize(
        ("config", "credentials", "variables"),
        [
            ("[default]\nregion = fr-par\nendpoint_url = http://a.test\n", "", {}),
            ("[default]\nregion=eu-west-1\n[profile w]\nregion=eu-west-2\n", "", {"AWS_PROFILE": "w"}),
            ("[profile w]\nregion=eu-west-2\n", "", {"AWS_DEFAULT_PROFILE": "w", "AWS_PROFILE": "x"}),
            ('[profile "a b"]\nregion = eu-west-3\nendpoint_url = http://b.test\n', "", {"AWS_PROFILE": "a b"}),
            (SERVICES, "", {}),
            ("[default]\nregion = a\n", "[default]\nregion = eu-north-1\nendpoint_url = http://c.test\n", {}),
            ("[default]\nregion = eu-west-1\nendpoint_url = http://d.test\n", "", {"AWS_ENDPOINT_URL": "http://e.test"}),
            ("[default]\nregion=cn-north-1\nendpoint_url=a\n", "", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}),
            ("[default]\nregion = eu-west-1\nignore_configured_endpoint_urls=true\nendpoint_url=http://d\n", "", {}),
            ("[default]\nregion = cn-north-1\n", "", {}),
            ("[default]\nregion = us-gov-west-1\nuse_fips_endpoint = true\n", "", {}),
            ("[default]\nregion = eu-west-1\ns3 =\n  use_dualstack_endpoint = true\n", "", {}),
        ],
    )  # fmt: skip
    def test_as_boto3_finds_them(
        self,
        tmp_path: Path,
        monkeypatch: Environment,
        config: str,
        credentials: str,
        variables: dict[str, str],
        keys: bool,
    ) -> None:
        (tmp_path / "config").write_text(config)
        (tmp_path / "credentials").write_text(credentials)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if keys:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        settings = read_settings("bucket")
        endpoint, region = boto3_s_own()
        assert (settings.server, settings.region.value) == (endpoint, region)

    def test_addressing_style(self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        (tmp_path / "config").write_text("[default]\ns3 =\n    addressing_style = virtual\n")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://oss.example")
        monkeypatch.setenv("HTTP_PROXY", recorder.url)
        assert asked(recorder).target == "http://bucket.oss.example/prefix/key"
        (tmp_path / "config").write_text("[default]\ns3 =\n    addressing_style = sideways\n")
        with pytest.raises(InputError, match=r"s3.addressing_style of profile default in .*config is 'sideways'"):
            open_bucket("s3://bucket")

    @pytest.mark.parametrize("content", ["no section", "[default]\n[default]\n", "[default]\nregion = \xff\n"])
    def test_a_file_that_cannot_be_read(
        self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment, content: str
    ) -> None:
        (tmp_path / "config").write_bytes(content.encode("latin-1"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        with pytest.raises(InputError, match=r"AWS_CONFIG_FILE .*config cannot be read as a file of profiles"):
            open_bucket("s3://bucket")

    def test_a_profile_that_is_nowhere(self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment) -> None:
        monkeypatch.setenv("AWS_PROFILE", "work")
        assert asked(recorder).region == "us-east-1"  # a machine without any file of profiles needs none
        (tmp_path / "config").write_text("[profile wrok]\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        with pytest.raises(InputError, match=r"AWS_PROFILE names the profile 'work', which is not in "):
            open_bucket("s3://bucket")

    def test_a_start_imports_no_boto3(self, recorder: Recorder, tmp_path: Path, monkeypatch: Environment) -> None:
        (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
        code = (
            "import sys, cas.bucket; cas.bucket.open_bucket('s3://b');"
            "print(*sorted({'boto3', 'configparser'} & {*sys.modules}))"
        )
        for config, imported in (("none", ""), ("config", "configparser")):
            monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / config))
            ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            assert ran.stdout.strip() == imported


class TestProfileInTheUrl:
    """A URL with a profile is another store than the one that the variables speak of."""

    CONFIG = """[profile second]
region = eu-west-3
endpoint_url = http://second.test:9000
s3 =
  addressing_style = virtual
"""

    @pytest.fixture
    def profiles(self, tmp_path: Path, monkeypatch: Environment) -> None:
        (tmp_path / "config").write_text(self.CONFIG)
        (tmp_path / "credentials").write_text("[second]\naws_access_key_id = k2\naws_secret_access_key = s2\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        for name, value in {
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_SESSION_TOKEN": "t",
            "AWS_ENDPOINT_URL": "http://first.test",
            "AWS_REGION": "us-east-2",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }.items():
            monkeypatch.setenv(name, value)

    @pytest.mark.usefixtures("profiles")
    def test_it_alone_says_which_server_region_and_key(self) -> None:
        found = read_settings("bucket", "second")
        told = (found.key, found.secret, found.token, found.endpoint, found.region, found.addressing)
        assert [setting.value for setting in told] == [
            "k2",
            "s2",
            "",
            "http://second.test:9000",
            "eu-west-3",
            "virtual",
        ]
        assert read_settings("bucket").key.value == "k"
        assert open_bucket("s3://second@bucket/cas").where == "s3://second@bucket/cas at http://second.test:9000"

    @pytest.mark.usefixtures("profiles")
    def test_a_key_that_boto3_makes_is_that_profile_s(self, tmp_path: Path) -> None:
        script = tmp_path / "key.sh"
        script.write_text('echo \'{"Version": 1, "AccessKeyId": "made", "SecretAccessKey": "s3"}\'\n')
        (tmp_path / "credentials").write_text(f"[second]\ncredential_process = sh {script}\n")
        assert read_settings("bucket", "second").key.value == ""
        provider = find_credentials("second")
        assert provider()["access_key_id"] == "made"

    @pytest.mark.usefixtures("profiles")
    def test_what_is_no_profile_is_not_shown(self) -> None:
        for url in ("s3://AKIASECRET@bucket/cas", "s3://AKIASECRET:PASSWORD@bucket/cas", "az://AKIASECRET@container"):
            with pytest.raises(InputError) as raised:
                open_bucket(url)
            assert "SECRET" not in str(raised.value)
