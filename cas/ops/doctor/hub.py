"""The checks of the way to a hub: the offline switches, and whether anything answers."""

from __future__ import annotations

from cas import config
from cas.hub import library
from cas.hub.reach import first_answer
from cas.ops.doctor.findings import Findings, Result, ok, skipped, warning
from cas.ops.doctor.roles import Role

_TRUE = frozenset({"1", "on", "yes", "true"})  # as huggingface_hub.constants reads a switch

SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables with which huggingface_hub sends no request; it reads the second where the first is not set."""


def examine_hub(findings: Findings, role: Role | None) -> None:
    """Note whether models can be downloaded from a hub.

    Args:
        findings: where to note it.
        role: only publishers download.
    """
    switch = next((name for name in SWITCHES if config.read(name).lower() in _TRUE), "")
    findings.add("machine", "offline", _offline(switch, role))
    if switch:
        findings.add("machine", "hub", skipped(f"{switch} is set"))
    elif role in ("reader", "collector"):
        findings.add("machine", "hub", skipped(f"a {role} needs none"))
    else:
        findings.check("machine", "hub", _hub)


def _offline(switch: str, role: Role | None) -> Result:
    if not switch:
        return ok("no offline switch is set")
    if role == "publisher":
        return warning(f"{switch} is set: `cas publish` takes only what the cache holds", f"unset {switch} to download")
    return ok(f"{switch} is set: no request goes to a hub")


def _hub() -> Result:
    if not library.is_installed():
        advice = f"{library.INSTALL} to publish from a hub; restores need none"
        return warning(f"{library.NAME} is not installed", advice)
    address = config.hub_endpoint()
    answer = first_answer(config.read("HF_ENDPOINT") or "https://huggingface.co")
    if answer.problem:
        advice = "restores need no hub; to publish from one, check HF_ENDPOINT and the proxy, or use --dir"
        return warning(f"{address} cannot be reached: {answer.problem}", advice)
    if answer.status >= 500:
        return warning(f"{address} answers {answer.status}", "restores need no hub; try again later")
    return ok(f"{address} answers in {1000 * answer.seconds:.0f} ms")
