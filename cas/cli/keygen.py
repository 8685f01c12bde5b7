"""`cas keygen`."""

from __future__ import annotations

import sys

import click

from cas import config
from cas.cli.display import output
from cas.cli.options import Settings, common
from cas.errors import InputError


@click.command(short_help="Make a key that signs what tags and pins name.")
@click.argument("name", metavar="NAME")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the secret key instead of writing NAME.key.")
@click.option("--passphrase", "wants_passphrase", is_flag=True, help="Ask for a passphrase that protects the key.")
@common
def keygen(settings: Settings, name: str, to_stdout: bool, wants_passphrase: bool) -> None:
    """Make an Ed25519 key: the secret one in NAME.key, for who signs, the public one in NAME.pub, for who verifies.

    Both have the form of minisign's keys. With NAME `-`, nothing is written: the secret key goes to standard output,
    for the secret of a CI system, and the public one to standard error. CAS_SIGNING_PASSPHRASE is the passphrase where
    nobody can be asked.
    """
    from cas.formats.minisign import new_key
    from cas.local.key_files import write_key

    passphrase = _new_passphrase() if wants_passphrase else None
    key = new_key()
    public, secret = key.public, key.text(passphrase)
    to_stdout |= name == "-"
    files = None if name == "-" else write_key(public, None if to_stdout else secret, name)
    secret_file = str(files.secret) if files and files.secret else None
    public_file = str(files.public) if files else None
    if settings.json:
        files_of_it = {"secret_file": secret_file, "public_file": public_file}
        shown = {"secret_key": secret} if to_stdout else {}
        output.document({"key_id": public.id, "public_key": public.line(), **files_of_it, **shown})
        return
    if to_stdout:
        sys.stdout.write(secret)
    told = sys.stderr if to_stdout else sys.stdout
    print(f"key {public.id}{f': keep {secret_file} secret' if secret_file else ''}", file=told)
    print(f"public key {public.line()}{f' in {public_file}' if public_file else ''}", file=told)
    if not settings.quiet:
        print(f"trust it where it counts: cas trust add {public_file or public.line()}", file=sys.stderr)


def _new_passphrase() -> str:
    """The passphrase of CAS_SIGNING_PASSPHRASE, else what a person types twice."""
    from cas.local.trusted_keys import PASSPHRASE, ask

    if given := config.read(PASSPHRASE):
        return given
    if not sys.stdin.isatty():
        raise InputError(f"--passphrase asks at a terminal, and there is none: set {PASSPHRASE}")
    first = ask("New passphrase: ")
    if not first or first != first.strip():
        raise InputError("a passphrase is not empty, and has no blank at its beginning or end")
    if ask("Once more: ") != first:
        raise InputError("the two passphrases differ: run the command again")
    return first
