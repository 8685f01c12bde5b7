"""`cas tag` and `cas untag`."""

from __future__ import annotations

import click

from cas.cli.display import output
from cas.cli.move_refs import point_refs, remove_refs
from cas.cli.options import Settings, author_options, common, expect_option, sign_with_option, use_signer
from cas.errors import InputError


@click.command(short_help="Give a version tags.")
@click.argument("reference", metavar="REF")
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@author_options("tag")
@expect_option
@sign_with_option
@common
def tag(
    settings: Settings,
    reference: str,
    tags: tuple[str, ...],
    by: str | None,
    reason: str,
    expect: str | None,
    sign_with: str | None,
) -> None:
    """Point each TAG of REF's model at the version REF; a TAG is a name alone, such as `prod`."""
    from cas.formats.manifest import check_name
    from cas.refs.reference import resolve
    from cas.refs.reflog import Ref
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    resolved = resolve(store, reference)
    model = resolved.reference.model
    refs = [Ref("tags", model, check_name(name, "tag")) for name in dict.fromkeys(tags)]
    moved = point_refs(settings, store, resolved, refs, by, reason, expect)
    if settings.json:
        output.document({"reference": resolved.exact, "moved": [ref.second for ref in moved], "store": store.url})
        return
    for ref in refs:
        print(f"{ref} -> {resolved.exact}{'' if ref in moved else ' (as before)'}")
    output.print_store(settings, store)


@click.command(short_help="Remove tags.")
@click.argument("tags", metavar="MODEL:TAG...", nargs=-1, required=True)
@author_options("untag")
@sign_with_option
@common
def untag(settings: Settings, tags: tuple[str, ...], by: str | None, reason: str, sign_with: str | None) -> None:
    """Remove each MODEL:TAG; versions stay until `cas gc` finds that nothing needs them."""
    from cas.errors import FormatError, SignatureError
    from cas.refs.reference import absent, log_of, parse_reference
    from cas.store.store import open_store

    store = open_store(settings.store)
    use_signer(store, sign_with)
    logs = []
    for text in dict.fromkeys(tags):
        reference = parse_reference(text)
        if reference.deployment is not None:
            raise InputError(f"{text} is a pin: remove it with `cas unpin {reference.deployment} {reference.model}`")
        if reference.digest is not None:
            raise InputError(f"{text} is a version, not a tag: write MODEL:TAG")
        if ":" not in text:
            raise InputError(f"{text} is a model: name the tag to remove, as in {reference}")
        logs.append(log_of(store, reference))
    store.check_format()
    for log in logs:
        try:
            if log.current_digest() is None:
                raise absent(store, log.ref)
        except (FormatError, SignatureError):
            continue  # a tag whose last entry cannot be read, or does not count, can still be removed
    remove_refs(settings, store, [log.ref for log in logs], by, reason)
