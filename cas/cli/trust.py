"""`cas trust`."""

from __future__ import annotations

import re
import sys

import click

from cas.cli.display import output, paint
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common
from cas.errors import InputError


@click.group(short_help="Choose whose signatures count here.")
@common
def trust(settings: Settings) -> None:
    """Choose whose signatures count for this user, and below which numbers no entry of a ref does.

    What these commands write is `model-cas/trusted-keys` in the user's directory for configuration. CAS_TRUSTED_KEYS
    and CAS_FLOOR name more. Where no key is trusted, no signature is asked for.
    """


@trust.command("add", short_help="Trust keys.")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--name", default="", help="What to call the key; otherwise its file's name without .pub.")
@common
def add(settings: Settings, keys: tuple[str, ...], name: str) -> None:
    """Trust each KEY: a public key's file (NAME.pub), a folder of them, or the line of one (RWQ…)."""
    from cas.formats.minisign import is_public_key_line, parse_public_key
    from cas.local.key_files import UserTrust
    from cas.local.trusted_keys import read_keys

    found = []
    for text in keys:
        if is_public_key_line("".join(text.split()[-1:])):  # it may be the text of a whole file
            found.append((parse_public_key(text, "KEY"), name))
        else:
            named = read_keys(text, "KEY")
            found += [(key, name or named.names.get(key_id, "")) for key_id, key in named.keys.items()]
    user = UserTrust()
    new = user.add_keys(found)
    renamed = [key for key, _ in found if key not in new and name.strip() and user.trust.names.get(key.id) != name]
    for key in renamed:
        user.rename_key(key, name)
    if settings.json:
        output.document({"added": [key.id for key in new], "file": str(user.path)})
        return
    for key, _ in found:
        before = "" if key in new else " (as before, under a new name)" if key in renamed else " (as before)"
        print(f"{user.trust.called(key.id)} is trusted{before}")
    if not settings.quiet:
        print(f"file: {user.path}", file=sys.stderr)


@trust.command("ls", short_help="List trusted keys and floors.")
@common
def ls(settings: Settings) -> None:
    """List the keys whose signatures count here, the floors, and where each comes from."""
    from cas.local.trusted_keys import KEYS, Trust, configured_trust

    found = configured_trust() or Trust()
    if settings.json:
        keys = [
            {
                "key_id": key.id,
                "name": found.names.get(key.id, ""),
                "public_key": key.line(),
                "where": found.where[key.id],
            }
            for key in found.keys.values()
        ]
        floors = [{"ref": ref, "number": number, "where": found.where[ref]} for ref, number in found.floors.items()]
        output.document({"keys": keys, "floors": floors})
        return
    if not found.keys:
        if not settings.quiet:
            print(
                f"no key is trusted, so that no signature is asked for: trust one with `cas trust add` or {KEYS}",
                file=sys.stderr,
            )
        return
    if settings.quiet:
        output.ids(found.keys)
        return
    rows = [(key.id, found.names.get(key.id, "-"), key.line(), found.where[key.id]) for key in found.keys.values()]
    columns = (
        Column("KEY"),
        Column("NAME"),
        Column("PUBLIC KEY", Kind.TEXT, rank=2),
        Column("FROM", Kind.TEXT, rank=1),
    )
    output.table(settings, columns, rows)
    if found.floors:
        print()
        floor_rows = [(ref, str(number), found.where[ref]) for ref, number in sorted(found.floors.items())]
        output.table(settings, (Column("FLOOR OF"), Column("NUMBER"), Column("FROM", Kind.TEXT)), floor_rows)


@trust.command("rm", short_help="Trust a key no longer.")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@common
def remove(settings: Settings, keys: tuple[str, ...]) -> None:
    """Trust each KEY no longer: a key id, or its first 8 or more digits, or the name of the key."""
    from cas.local.key_files import UserTrust
    from cas.local.trusted_keys import Trust, configured_trust

    user = UserTrust()
    before = configured_trust() or Trust()
    elsewhere = {each: where for each, where in before.where.items() if not where.startswith(f"{user.path}:")}
    removed = []
    for text in keys:
        prefix = text.upper() if re.fullmatch(r"[0-9A-Fa-f]{8,16}", text) else None
        ids = [
            key_id
            for key_id in user.trust.keys
            if text == user.trust.names.get(key_id) or (prefix and key_id.startswith(prefix))
        ]
        if not ids:
            raise InputError(f"{text} is no key in {user.path}: `cas trust ls` shows which keys count, and from where")
        if len(ids) > 1:
            raise InputError(f"{text} stands for {' and '.join(ids)}: write all digits of one")
        user.remove_key(ids[0])
        removed += ids
    still = [key_id for key_id in removed if key_id in elsewhere]
    if settings.json:
        output.document({"removed": removed, "still_trusted": still, "file": str(user.path)})
    else:
        for key_id in removed:
            print(f"{key_id} is {f'no longer in {user.path}' if key_id in still else 'trusted no longer'}")
    for key_id in still:
        paint.warn(sys.stderr, f"{key_id} is still trusted: {elsewhere[key_id]} names it, too")
    if not user.trust.keys:
        what = "only those that CAS_TRUSTED_KEYS names count"
        if not set(before.keys) & set(elsewhere):
            what = "no key is trusted, and no signature is asked for"
        paint.warn(sys.stderr, f"{user.path} has no key any more: {what}")


@trust.command("floor", short_help="Refuse entries of a ref below a number.")
@click.argument("reference", metavar="REF")
@click.argument("number", metavar="[NUMBER]", type=click.IntRange(1, 10**20 - 1), required=False)
@click.option("--remove", "removes", is_flag=True, help="Remove the floor that REF has here.")
@common
def floor(settings: Settings, reference: str, number: int | None, removes: bool) -> None:
    """Let no entry of the tag or pin REF below NUMBER count: `cas history` shows the number of each.

    So nobody brings an old version back by an old entry, signed or not. A rollback is a new entry of a higher number.
    """
    from cas.local.key_files import UserTrust
    from cas.local.trusted_keys import configured_trust
    from cas.refs.reference import parse_reference

    parsed = parse_reference(reference)
    if parsed.digest is not None:
        raise InputError(f"{reference} is a version, which no entry chooses: name a tag or a pin")
    if (number is None) != removes:
        raise InputError("give a NUMBER, or --remove")
    user = UserTrust()
    ref = str(parsed)
    if removes and ref not in user.trust.floors:
        raise InputError(f"{user.path} has no floor for {ref}: `cas trust ls` shows which floors count, and from where")
    if not removes and configured_trust() is None:
        raise InputError("a floor counts among signed entries alone: trust a key first, with `cas trust add`")
    user.set_floor(ref, number)
    if settings.json:
        output.document({"ref": ref, "number": number, "file": str(user.path)})
    else:
        print(f"{ref} has no floor here" if number is None else f"no entry of {ref} below {number} counts")
