"""`cas show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cas.cli.display import output, paint, terminal
from cas.cli.display.table import Column, Kind
from cas.cli.options import Settings, common, noted

if TYPE_CHECKING:
    from cas.formats.manifest import Manifest
    from cas.ops.derive.variant import VariantRecord
    from cas.ops.inspect.signatures import Signature
    from cas.refs.lineage import Lineage
    from cas.refs.names import Names
    from cas.store.store import Store


@click.command(short_help="Show what a version consists of.")
@click.argument("reference", metavar="REF")
@common
def show(settings: Settings, reference: str) -> None:
    """Show the version REF: where it came from, its repos and files; of a variant, what it equals and why.

    Who signed the tags and pins that name it is verified where keys are trusted, and else what signatures claim.
    """
    from cas import refs
    from cas.formats import manifest
    from cas.formats.digest import named
    from cas.store.store import open_store

    store = open_store(settings.store)
    resolved = refs.resolve(store, reference, listen=noted(settings))
    found = resolved.manifest
    names, signatures = _names(store, found.model, resolved.digest)
    lineage = _lineage(store, resolved.digest, found, names)
    derived = _record(found)
    if settings.json:
        variant = asdict(derived) if derived else None
        document = {
            "digest": named(resolved.digest),
            "tags": names.tags if names else None,
            "pins": names.pins if names else None,
            "signatures": [each.document() for each in signatures] if names else None,
            **_lineage_document(lineage),
            "variant": variant,
            "manifest": json.loads(manifest.encode(found)),
        }
        output.document(document)
        return
    if settings.quiet:
        output.ids([output.short(f"{found.model}@{resolved.digest}", whole=settings.no_trunc)])
        return
    fields = {
        "reference": resolved.exact,
        "named by": (names.shown or "-") if names else "?",
        "signed by": _signed(signatures) if any(each.key_ids for each in signatures) else "",
        "created": _made(lineage) if lineage else "?",
        "parent": (lineage.parent or "-") if lineage else "?",
    }
    if derived:
        fields["variant"] = f"{derived.transform} of {derived.original}"
        fields["proof"] = _proof(derived, reference)
        fields["equivalent"] = derived.equivalent
    fields["size"] = f"{output.size(found.plain_size)} in {output.count(len(found.chunks()), 'chunk')}"
    _print_fields(settings, fields)
    for repo in found.repos:
        commit = output.short(repo.commit, whole=settings.no_trunc)
        after = f" ({repo.repo_type}) at {commit}, refs {', '.join(repo.refs) or '-'}"
        print()
        terminal.print_line(terminal.fitted("", repo.repo_id, after, output.limit(settings)))
        output.table(
            settings,
            (Column("SIZE"), Column("CHUNKS", rank=1), Column("BLOB", Kind.DIGEST, rank=2), Column("PATH", Kind.TEXT)),
            [(output.size(file.size), str(len(file.chunks)), file.blob, file.path) for file in repo.files],
        )
    if found.files:
        print("\nbelow HF_HOME")
        output.table(
            settings,
            (Column("SIZE"), Column("CHUNKS", rank=1), Column("PATH", Kind.TEXT)),
            [(output.size(file.size), str(len(file.chunks)), file.path) for file in found.files],
        )


def _print_fields(settings: Settings, fields: Mapping[str, str]) -> None:
    """Print each field that has a text: its name, and the text in as many lines as it needs."""
    limit = output.limit(settings)
    for name, text in fields.items():
        if text:
            before = f"{name:<10} "
            lines = terminal.wrapped(output.short(text, whole=settings.no_trunc), limit and limit - len(before))
            for line in lines or [""]:
                print(f"{before}{line}")
                before = " " * len(before)


def _names(store: Store, model: str, digest: str) -> tuple[Names | None, list[Signature]]:
    """The tags and pins that name a version now, and who signed them.

    None, with a warning, stands for the names when the user may not list refs.
    """
    from cas.errors import AccessDenied, Unsupported
    from cas.ops.inspect.signatures import signature_of
    from cas.refs.names import named_versions

    try:
        named_ = named_versions(store, model)
        names = named_.of(model, digest)
        return names, [signature_of(store, ref, named_) for ref in names.refs(model)]
    except (Unsupported, AccessDenied) as error:
        paint.warn(sys.stderr, f"which tags and pins name this version is not known: {error}")
        return None, []


def _signed(signatures: Sequence[Signature]) -> str:
    from cas.ops.inspect.signatures import shown

    return shown(signatures) + ("" if any(each.is_verified for each in signatures) else " (not verified)")


def _lineage(store: Store, digest: str, found: Manifest, names: Names | None) -> Lineage | None:
    """When, by whom and after what a version was made; None when the user may not list the refs that tell."""
    from cas.formats.manifest import Manifest1
    from cas.refs.lineage import lineage_of
    from cas.store.layout import VersionId

    if names is None and not isinstance(found, Manifest1):
        return None
    return lineage_of(store, VersionId(found.model, digest), found)


def _made(lineage: Lineage) -> str:
    by = f" by {lineage.by}" if lineage.by else ""
    program = f" with {lineage.program}" if lineage.program else ""
    return f"{lineage.created}{by}{program}{f', as {lineage.tag}' if lineage.tag else ''}"


def _lineage_document(lineage: Lineage | None) -> dict[str, str | None]:
    from cas.formats.digest import named

    return {
        "created": lineage and lineage.created,
        "by": (lineage and lineage.by) or None,
        "program": (lineage and lineage.program) or None,
        "first_tag": lineage.tag.second if lineage and lineage.tag else None,
        "parent": named(lineage.parent) if lineage and lineage.parent else None,
    }


def _record(found: Manifest) -> VariantRecord | None:
    if found.derived is None:
        return None
    from cas.ops.derive.variant import variant_record

    return variant_record(found)


def _proof(variant: VariantRecord, reference: str) -> str:
    if not variant.proof:
        return "none is recorded"
    overflowed = f", {variant.overflowed} elements became infinite" if variant.overflowed else ""
    return (
        f"{variant.tensors} tensors, each element the nearest to its original{overflowed}; {variant.proof} "
        f"(prove again: `cas derive {reference} --check`)"
    )
