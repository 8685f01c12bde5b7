"""The settings of a store: which counts, and where each comes from. Secrets are not shown."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from cas import config
from cas.bucket.s3.settings import S3Settings, read_settings
from cas.bucket.urls import StoreUrl, parse
from cas.config import NOT_SET, Setting
from cas.ops.doctor.findings import Findings, ok, result_of, skipped, warning
from cas.store import cdn
from cas.store.choice import source_of_store


class _Server(NamedTuple):
    """How a store's server is asked.

    Attributes:
        endpoint: its URL.
        shown: further findings in words, by name; those without words are left out.
    """

    endpoint: Setting
    shown: dict[str, str]


def note_store(findings: Findings, url: str, given: str | None) -> None:
    """Note which store is meant, and why.

    Args:
        findings: where to note it.
        url: of the store.
        given: what the caller named; None where the environment, or nothing, names the store.
    """
    findings.add("settings", "store", ok(_words(Setting(url, source_of_store(given)))))


def note_server(findings: Findings, url: str) -> str:
    """Note how a store's server is asked; return the host of an S3 endpoint, or nothing for others.

    Args:
        findings: where to note it.
        url: of a store that could be opened.
    """
    where = parse(url)
    if where.scheme in ("file", "memory"):
        return ""
    server = {"s3": _s3, "az": _azure, "gs": _google}.get(where.scheme, _web)(where)
    if server.endpoint.source:  # else the line of the store names it
        findings.add("settings", "endpoint", ok(_words(server.endpoint)))
    for name, words in server.shown.items():
        if words:
            findings.add("settings", name, ok(words))
    if config.proxy_variables():
        findings.add("settings", "proxy", ok(f"as {', '.join(config.proxy_variables())} say"))
    if server.endpoint.value.startswith("http://") and not _is_local(server.endpoint.value):
        advice = "write https:// into the endpoint, where the server has it"
        findings.add("settings", "encrypted", warning("requests go over plain http, for everybody to read", advice))
    return urlsplit(server.endpoint.value).hostname or "" if where.scheme == "s3" else ""


def note_cdn(findings: Findings, url: str) -> str:
    """Note the cache through which restores read a store; return its URL, or nothing where none counts.

    Args:
        findings: where to note it.
        url: of a store that could be opened.
    """
    if not (given := config.read(cdn.VARIABLE)):
        return ""
    if not cdn.is_read_through(url):
        findings.add("settings", "cdn", skipped(f"{cdn.VARIABLE} does not count: a store of this kind is read itself"))
        return ""
    result = result_of(lambda: ok(_words(Setting(cdn.address_of(given), cdn.VARIABLE))))
    findings.add("settings", "cdn", result)
    return cdn.address_of(given) if result.status == "ok" else ""


def _s3(where: StoreUrl) -> _Server:
    settings = read_settings(where.bucket, where.profile)
    endpoint = settings.endpoint if settings.endpoint.value else Setting(settings.server, "the region")
    style = {"path": "path style: endpoint/bucket", "virtual": "virtual-host style: bucket.endpoint"}
    shown = {
        "region": _words(settings.region),
        "addressing": _words(settings.addressing._replace(value=style[settings.addressing.value])),
        "credentials": _credentials(settings),
        "encryption": _words(settings.encryption),
        "payer": _words(settings.payer),
        "checksum": _words(settings.checksum),
        "authority": _words(settings.ca_bundle),
    }
    return _Server(endpoint, shown)


def _azure(where: StoreUrl) -> _Server:
    from cas.bucket.clouds import azure

    settings = azure.read_settings()
    if settings.key.value:
        credentials = f"the account's key ({settings.key.source})"
    elif settings.token.value:
        credentials = f"a SAS token ({settings.token.source})"
    else:
        credentials = _without_key(settings.anonymous)
    shown = {"account": _words(settings.account), "credentials": credentials, "authority": _words(config.ca_bundle())}
    return _Server(settings.endpoint, shown)


def _google(where: StoreUrl) -> _Server:
    from cas.bucket.clouds import google

    settings = google.read_settings()
    credentials = _words(settings.key) or _without_key(settings.anonymous)
    return _Server(settings.endpoint, {"credentials": credentials, "authority": _words(config.ca_bundle())})


def _web(where: StoreUrl) -> _Server:
    from cas.bucket.http.bucket import read_login

    login = read_login(where.url)
    credentials = f"a login ({login.source})" if login.headers else "none: only what everybody may read can be read"
    return _Server(
        NOT_SET._replace(value=where.url), {"credentials": credentials, "authority": _words(config.ca_bundle())}
    )


def _words(setting: Setting) -> str:
    return f"{setting.value} ({setting.source})" if setting.value and setting.source else setting.value


def _credentials(settings: S3Settings) -> str:
    if not settings.is_signed:
        return _without_key(settings.signed)
    if settings.key.value:
        token = f" and {settings.token.source}" if settings.token.value else ""
        return f"key {settings.key.value[:4]}… ({settings.key.source}{token})"
    profile = config.first("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    named = f"profile {profile.value} ({profile.source})" if profile.value else "a profile, SSO or a role"
    return f"found by boto3's chain: {named}"


def _without_key(switch: Setting) -> str:
    """What is shown where a switch says that requests go without a key."""
    return f"none, as {switch.source} says: only what everybody may read can be read"


def _is_local(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "") in ("localhost", "127.0.0.1", "::1")
