"""What a store holds, for Python: its versions, tags and pins, their history, and what differs between two versions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events
from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.ops.derive.variant import VariantRecord
    from cas.ops.inspect.signatures import Signature
    from cas.ops.inspect.tree import TreeLine
    from cas.ops.inspect.usage import Usage
    from cas.ops.inspect.versions import ListedVersion
    from cas.refs.lineage import Lineage
    from cas.refs.names import Names
    from cas.refs.past_moves import PastMove
    from cas.refs.pins import Pin
    from cas.refs.reference import Resolved


@dataclass(frozen=True, slots=True)
class VersionDetails:
    """A version in every detail.

    Attributes:
        version: which version it is, with its manifest: `version.manifest.repos` are its repos and files.
        names: the tags and pins that name it now.
        signatures: who signed these tags and pins.
        lineage: when, by whom and after what it was made.
        variant: what was derived, and what proves it; None for a version that is no variant.
    """

    version: Resolved
    names: Names
    signatures: tuple[Signature, ...]
    lineage: Lineage
    variant: VariantRecord | None

    def __repr__(self) -> str:
        from cas.formats.digest import short

        return f"<VersionDetails {short(self.version.exact)}: {self.names.shown or 'no tag and no pin'}>"


def versions(model: str | None = None, store: Store | str | None = None) -> list[ListedVersion]:
    """Return the versions of a model, or of all models those that tags and pins name; the newest first.

    Args:
        model: the model's name; or a pattern (`f5*`, `f5*:v*`, `pin:eu-*`), or a reference. None for all models.
        store: an open store, a URL, or None for the default.

    Raises:
        NotFoundError: there is no such model, or no store.
    """
    from cas.ops.inspect import versions as listing

    return listing.versions(open_store(store), model)


def tags(model: str, store: Store | str | None = None) -> dict[str, str]:
    """Return what each tag of a model names now, as `model@blake3:<64 hex>`.

    A tag whose last entry cannot be read, or does not count here, is left out: `versions` lists it with the reason.

    Args:
        model: the model's name.
        store: an open store, a URL, or None for the default.

    Raises:
        NotFoundError: there is no store.
    """
    from cas.formats.digest import named
    from cas.formats.manifest import check_name
    from cas.refs import reflog

    opened = open_store(store)
    opened.check_format()
    found = reflog.tags(opened, check_name(model, "model")).get(model, {})
    return {tag: f"{model}@{named(digest)}" for tag, digest in sorted(found.items()) if digest}


def pins(deployment: str | None = None, store: Store | str | None = None) -> list[Pin]:
    """Return the pins of a deployment, or of all, ordered by deployment and model.

    Args:
        deployment: its name, a pattern (`eu-*`), or a pin; None for all deployments.
        store: an open store, a URL, or None for the default.

    Raises:
        NotFoundError: the deployment has no pins, or there is no store.
    """
    from cas.refs import pins as pinning

    return pinning.pins(open_store(store), deployment)


def history(reference: str, store: Store | str | None = None) -> list[PastMove]:
    """Return every move of a tag or pin, oldest first.

    Args:
        reference: the tag or pin, such as `minilm:prod` or `pin:eu-prod/minilm`.
        store: an open store, a URL, or None for the default.

    Raises:
        InputError: the reference names a version by its digest.
        NotFoundError: the tag or pin was never set.
    """
    from cas.refs import history as past

    return past.history(open_store(store), reference)


def tree(model: str | None = None, store: Store | str | None = None) -> dict[str, list[TreeLine]]:
    """Return every version of a model, or of all models, below the version that it came from.

    Args:
        model: the model's name, a pattern, or a reference to a version in it; None for all models.
        store: an open store, a URL, or None for the default.

    Returns:
        The lines of each model's tree, by model.

    Raises:
        NotFoundError: there is no such model, or no store.
    """
    from cas.ops.inspect import versions as listing
    from cas.ops.inspect.tree import tree as tree_of

    opened = open_store(store)
    listed = listing.with_lineage(opened, listing.versions(opened, model, every=model is None, whole=True))
    return {name: tree_of(list(found)) for name, found in groupby(listed, key=lambda version: version.model)}


def resolve(reference: str, store: Store | str | None = None) -> Resolved:
    """Return the version that a reference names now, with its manifest.

    Args:
        reference: `model`, `model:tag`, `model@digest` (8 to 64 hex digits), `model:tag@digest`, which must agree,
            `pin:deployment/model`; or what means one version: the digits alone, `pin:deployment` with one pin, or the
            id of a repo that one model holds.
        store: an open store, a URL, or None for the default.

    Raises:
        InputError: it is no valid reference.
        NotFoundError: the store has no such version.
        SignatureError: keys are trusted, and none of them signed the tag or pin as it is.
    """
    from cas import refs

    return refs.resolve(open_store(store), reference)


def show(reference: str, store: Store | str | None = None) -> VersionDetails:
    """Return a version in every detail: its manifest, its names and who signed them, and where it came from.

    Args:
        reference: as for `resolve`.
        store: an open store, a URL, or None for the default.

    Raises:
        CasError: what `resolve` raises; AccessDenied where the key may not list tags and pins.
    """
    from cas.ops.derive.variant import variant_record
    from cas.ops.inspect.signatures import signature_of
    from cas.refs.lineage import lineage_of
    from cas.refs.names import named_versions
    from cas.store.layout import VersionId

    opened = open_store(store)
    version = resolve(reference, opened)
    found, model = version.manifest, version.manifest.model
    named = named_versions(opened, model)
    names = named.of(model, version.digest)
    return VersionDetails(
        version,
        names,
        tuple(signature_of(opened, ref, named) for ref in names.refs(model)),
        lineage_of(opened, VersionId(model, version.digest), found),
        variant_record(found) if found.derived else None,
    )


def du(model: str | None = None, store: Store | str | None = None, *, on_event: events.Listener = events.log) -> Usage:
    """Return what each version of a model, or of all models, takes up in the store, and the store's totals.

    Args:
        model: the model's name, a pattern, or a reference; None for all models.
        store: an open store, a URL, or None for the default.
        on_event: hears what happens.

    Raises:
        NotFoundError: there is no such model, or no store.
    """
    from cas.ops.inspect.usage import usage

    return usage(store, model, on_event=on_event)


def env(
    reference: str | Resolved, store: Store | str | None = None, *, cache_dir: str | Path | None = None
) -> dict[str, str]:
    """Return the environment variables under which a program finds a restored version: HF_HOME, HF_HUB_CACHE, ….

    Args:
        reference: as for `resolve`; or a version that is resolved already, such as `read_lock` returns.
        store: an open store, a URL, or None for the default.
        cache_dir: the hub cache that holds it; by default HF_HUB_CACHE.

    Raises:
        CasError: what `resolve` raises; CacheError where something is in the way of the version's view.
    """
    from cas import refs
    from cas.config import cache_dirs
    from cas.local.environment import client_variables
    from cas.ops.restore.in_use import view_variables

    dirs = cache_dirs(cache_dir)
    version = reference if not isinstance(reference, str) else refs.resolve(open_store(store), reference, (dirs.hub,))
    found = view_variables(version, dirs, events.ignore)
    return {**(found or client_variables(dirs)), "CAS_MODEL": version.exact}
