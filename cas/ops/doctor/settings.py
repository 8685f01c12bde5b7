"""The settings of a store: which counts, and where each comes from. Secrets are not shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from cas import config
from cas.bucket.s3.settings import S3Settings, read_settings
from cas.bucket.urls import parse
from cas.config import Setting
from cas.ops.doctor.findings import Findings, ok, warning
from cas.store.choice import source_of_store


def note_store(findings: Findings, url: str, given: str | None) -> None:
    """Note which store is meant, and why.

    Args:
        findings: where to note it.
        url: of the store.
        given: what the caller named; None where the environment, or nothing, names the store.
    """
    findings.add("settings", "store", ok(_words(Setting(url, source_of_store(given)))))


def note_s3(findings: Findings, url: str) -> str:
    """Note the settings of S3 and where each comes from; return the host of the endpoint, or nothing for others.

    Args:
        findings: where to note it.
        url: of a store that could be opened.
    """
    where = parse(url)
    if where.scheme != "s3":
        return ""
    settings = read_settings(where.bucket)
    endpoint = settings.endpoint if settings.endpoint.value else Setting(settings.server, "the region")
    findings.add("settings", "endpoint", ok(_words(endpoint)))
    findings.add("settings", "region", ok(_words(settings.region)))
    style = {"path": "path style: endpoint/bucket", "virtual": "virtual-host style: bucket.endpoint"}
    addressing = Setting(style[settings.addressing.value], settings.addressing.source)
    findings.add("settings", "addressing", ok(_words(addressing)))
    findings.add("settings", "credentials", ok(_credentials(settings)))
    further = {
        "encryption": settings.encryption,
        "payer": settings.payer,
        "checksum": settings.checksum,
        "authority": settings.ca_bundle,
    }
    for name, setting in further.items():
        if setting.value:
            findings.add("settings", name, ok(_words(setting)))
    if config.proxy_variables():
        findings.add("settings", "proxy", ok(f"as {', '.join(config.proxy_variables())} say"))
    if endpoint.value.startswith("http://") and not _is_local(endpoint.value):
        advice = "write https:// into the endpoint, where the server has it"
        findings.add("settings", "encrypted", warning("requests go over plain http, for everybody to read", advice))
    return urlsplit(endpoint.value).hostname or ""


def _words(setting: Setting) -> str:
    return f"{setting.value} ({setting.source})" if setting.source else setting.value


def _credentials(settings: S3Settings) -> str:
    if not settings.is_signed:
        return f"none, as {settings.signed.source} says: only what everybody may read can be read"
    if settings.key.value:
        token = f" and {settings.token.source}" if settings.token.value else ""
        return f"key {settings.key.value[:4]}… ({settings.key.source}{token})"
    profile = config.first("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    named = f"profile {profile.value} ({profile.source})" if profile.value else "a profile, SSO or a role"
    return f"found by boto3's chain: {named}"


def _is_local(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "") in ("localhost", "127.0.0.1", "::1")
