"""What each kind of key needs, and whether a key has that and no more (docs/operations/permissions.md)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from cas.errors import AccessDenied
from cas.ops.doctor.findings import Result, failed, ok, warning
from cas.ops.doctor.providers import Provider

Role: TypeAlias = Literal["reader", "publisher", "collector"]
Right: TypeAlias = Literal["read", "list", "write", "delete", "versions", "uploads"]

ROLES: tuple[Role, ...] = ("reader", "publisher", "collector")

NEEDS: dict[Role, frozenset[Right]] = {
    "reader": frozenset({"read", "list"}),
    "publisher": frozenset({"read", "list", "write"}),
    "collector": frozenset({"read", "list", "write", "delete", "versions", "uploads"}),
}
"""The rights that a key needs for what each role does."""

_FOR_WHAT: dict[Right, str] = {
    "write": "only publishers and collectors write",
    "delete": "only `cas gc` deletes",
    "versions": "only `cas gc` needs it",
    "uploads": "only `cas gc` needs it",
}


def granted(right: Right, found: str, role: Role | None, provider: Provider) -> Result:
    """The result of a check whose request the server granted.

    Args:
        right: that the request takes.
        found: what was seen.
        role: that the key is meant for; None where the user did not say.
        provider: of the storage, some of which cannot give less.
    """
    if role is None or right in NEEDS[role] or right in ("versions", "uploads"):
        return ok(found)
    if right in provider.inseparable and "write" in NEEDS[role]:
        return ok(f"{found}; {provider.name} has no key that writes and does not {right}")
    return warning(f"{found}: more than a {role} needs", f"make a key without it: {provider.key_advice(role)}")


def refused(right: Right, error: AccessDenied, role: Role | None, provider: Provider) -> Result:
    """The result of a check whose request the server refused for want of a permission. Arguments as for `granted`.

    Args:
        right: that the request takes.
        error: the refusal.
        role: that the key is meant for; None where the user did not say.
        provider: of the storage.
    """
    if role is None and right not in NEEDS["reader"]:
        if right == "write":
            return warning("refused: this key cannot publish", provider.grant_advice(right))
        return ok(f"refused: {_FOR_WHAT[right]}")
    if role is not None and right not in NEEDS[role]:
        return ok(f"refused, as it should be for a {role}")
    return failed(str(error), provider.grant_advice(right), error.exit_code)


def roles_of(rights: dict[Right, bool]) -> list[Role]:
    """The roles that a key suffices for. rights: those that were tried, and whether the server granted each."""
    return [role for role in ROLES if all(rights.get(right, False) for right in NEEDS[role])]
