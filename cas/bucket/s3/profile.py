"""The user's AWS profile: region, endpoint and addressing as boto3 finds them, without importing boto3.

boto3 takes 0.3 s of processor time to import, which a restore with its keys in variables must not pay for; where there
is no file of profiles, not even a parser is imported. The files are those of AWS_CONFIG_FILE and
AWS_SHARED_CREDENTIALS_FILE, and the rules those of botocore 1.44 (`configloader.py`, `configprovider.py`), which
tests compare.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cas import config
from cas.config import Setting
from cas.errors import InputError

Values: TypeAlias = Mapping[str, "str | Mapping[str, str]"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of one profile.

    Attributes:
        source: the profile and its file, as `cas info` names them.
        values: its keys; of a key with an indented block (`s3`), the block's keys.
        services: the keys of the section `[services …]` that it names, for S3.
        in_url: the profile's name, where the store's URL names it: then no variable for another store's server, region
            or key counts. Else empty.
    """

    source: str = ""
    values: Values = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)
    in_url: str = ""

    def variable(self, *names: str) -> Setting:
        """Return the first of these variables that is set; none where the store's URL names the profile."""
        return config.NOT_SET if self.in_url else config.first(*names)

    def get(self, key: str) -> Setting:
        """Return the value of a key of the profile."""
        value = self.values.get(key, "")
        return self._setting(key, value if isinstance(value, str) else "")

    def of_s3(self, key: str) -> Setting:
        """Return the value of a key of the profile's block `s3`."""
        block = self.values.get("s3", {})
        return self._setting(f"s3.{key}", "" if isinstance(block, str) else block.get(key, ""))

    def endpoint(self) -> Setting:
        """Return the endpoint of S3: that of the section of services, else that of the profile."""
        of_services = self._setting("s3.endpoint_url of the services", self.services.get("endpoint_url", ""))
        return of_services if of_services.value else self.get("endpoint_url")

    def _setting(self, key: str, value: str) -> Setting:
        return Setting(value.strip(), f"{key} of {self.source}") if value.strip() else Setting("", "")


def read_profile(in_url: str = "", *, must_exist: bool) -> Profile:
    """Return the profile that a URL or the variables name, else `default`; an empty one where there are no files.

    Args:
        in_url: the profile that the store's URL names; empty for none.
        must_exist: whether files without the named profile are an error; boto3, which looks for a key there, tells it
            in its own words.

    Raises:
        InputError: a file cannot be read, or the files lack the profile.
    """
    named = Setting(in_url, "the URL") if in_url else config.first("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
    paths = {
        name: os.path.expanduser(os.path.expandvars(config.read(name) or default))
        for name, default in (
            ("AWS_CONFIG_FILE", "~/.aws/config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        )
    }
    found = {name: path for name, path in paths.items() if os.path.isfile(path)}
    if not found and not in_url:
        return Profile()
    name = named.value or "default"
    values: dict[str, str | Mapping[str, str]] = {}
    services: Mapping[str, str | Mapping[str, str]] = {}
    sources = []
    for variable, path in found.items():
        sections = _sections(variable, path)
        for section, content in sections.items():
            if _profile_of(section, is_config=variable == "AWS_CONFIG_FILE") == name:
                values |= content
                sources.append(path)
        if variable == "AWS_CONFIG_FILE" and isinstance(wanted := values.get("services"), str):
            named_so = (content for section, content in sections.items() if _words(section) == ["services", wanted])
            services = next(named_so, {})
    if not sources and in_url:  # what stands there is not shown: it may be a key
        raise InputError(
            f"a store's URL names an AWS profile before its @, and {' and '.join(paths.values())} have no profile of "
            "that name: write s3://profile@bucket/prefix, or s3://bucket/prefix for the key in the variables"
        )
    if not sources and named.value and must_exist:
        raise InputError(f"{named.source} names the profile {name!a}, which is not in {' or '.join(found.values())}")
    source = f"profile {name} in {' and '.join(dict.fromkeys(sources))}"
    of_s3 = services.get("s3", {})
    return Profile(source, values, {} if isinstance(of_s3, str) else of_s3, in_url)


def _profile_of(section: str, *, is_config: bool) -> str | None:
    """The profile that a section of a file describes; None for a section of another kind."""
    if not is_config or section == "default":
        return section
    words = _words(section)
    return words[1] if len(words) == 2 and section.startswith("profile") else None


def _words(section: str) -> list[str]:
    """The words of a section's name, which may stand in quotes."""
    import shlex

    try:
        return shlex.split(section)
    except ValueError:
        return []


def _sections(variable: str, path: str) -> dict[str, dict[str, str | Mapping[str, str]]]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        with open(path) as file:  # as botocore: in the user's encoding
            parser.read_file(file)
    except (configparser.Error, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise InputError(f"{variable} {path} cannot be read as a file of profiles ({line}): mend it") from None
    except OSError as error:
        raise InputError(f"{variable} {path} cannot be read: {error.strerror}") from error
    return {
        section: {key: _block(value) if value.startswith("\n") else value for key, value in parser.items(section)}
        for section in parser.sections()
    }


def _block(text: str) -> dict[str, str]:
    """The keys of an indented block."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}
