"""What a word of a command line may be: references, tags, deployments, stores, files. Each returns what fits."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from cas.cli.complete.store_names import StoreNames, names_of


def references(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return models, tags after `:`, digests after `@`, pins after `pin:`, and digests after some of their digits."""
    from cas.formats.digest import SHORT

    names = _names(ctx)
    if typed.startswith("pin:"):
        return _fitting(names.pins(), typed)
    model, at, _ = typed.partition("@")
    if at:
        return _fitting(_digests(names, model.partition(":")[0], prefix=f"{model}@", typed=typed), typed)
    if ":" in typed:
        return _fitting(names.tags(), typed)
    found = _fitting(((name, "") for name in names.models()), typed)
    if len(found) == 1:  # both the model and its tags: the shell goes on to the `:` only if the user does
        found += _fitting(names.tags(), f"{found[0].value}:")
    if typed:
        found += _fitting(names.pins(), typed)
    elif names.refs("pins"):
        found.append(CompletionItem("pin:", "part"))
    if re.fullmatch(r"[0-9a-f]{4,}", typed):
        found += _fitting(((digest[: max(SHORT, len(typed))], model) for model, digest in names.versions), typed)
    return found


def receipts(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return what `cas receipts` takes: models and what follows them, deployments, and `show`, which takes `latest`."""
    before = list(_given(ctx, "words"))
    if before:
        return _fitting([("latest", "the newest")], typed) if before == ["show"] else []
    return _fitting([("show", "draw one start")], typed) + references(ctx, typed) + deployments(ctx, typed)


def models(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return the store's models."""
    return _fitting(((name, "") for name in _names(ctx).models()), typed)


def tags_of_models(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return what is written `model:tag`."""
    return _fitting(_names(ctx).tags(), typed)


def tags_to_set(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return tags as `cas tag` takes them: by their name alone, or after their model."""
    return tags_of_models(ctx, typed) if ":" in typed else tags(ctx, typed)


def tags(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return tags by their name alone: those of the model that the line names, or of all."""
    named = {
        str(value).partition(":")[0].partition("@")[0] for value in _given(ctx, "model", "reference", "references")
    }
    listed = [(model, tag) for model, tag, _ in _names(ctx).refs("tags")]
    mine = [tag for model, tag in listed if model in named]
    return _fitting(((tag, "") for tag in mine or [tag for _, tag in listed]), typed)


def deployments(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return the deployments that have pins."""
    return _fitting(((deployment, "") for deployment, _, _ in _names(ctx).refs("pins")), typed)


def models_and_deployments(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return the store's models, and the deployments that have pins."""
    return models(ctx, typed) + deployments(ctx, typed)


def digests(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return the digests of versions, whole if they are typed with `blake3:`."""
    return _fitting(_digests(_names(ctx), None, prefix="", typed=typed), typed)


def sources(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return the names of built-in sources, and files."""
    return source_names(ctx, typed) + files(ctx, typed)


def source_names(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the names of built-in sources."""
    from cas.hub.builtin_sources import builtin_sources

    return _fitting(((source.name, source.description) for source in builtin_sources()), typed)


def trusted_keys(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the ids of the keys in the user's file of trusted keys."""
    from cas.local.key_files import UserTrust

    trust = UserTrust().trust
    return _fitting(((key_id, trust.names.get(key_id, "")) for key_id in trust.keys), typed)


def commands(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the commands."""
    from cas.cli.commands import COMMANDS

    return _fitting(((name, entry.line) for name, entry in COMMANDS.items()), typed)


def layouts(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the layouts of a folder."""
    from cas.formats.folder_paths import LAYOUTS

    return _fitting(((layout, "") for layout in LAYOUTS), typed)


def links(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the ways in which a folder shares bytes with the cache."""
    return _fitting((("hardlink", ""), ("reflink", "")), typed)


def stores(ctx: click.Context, typed: str) -> list[CompletionItem]:
    """Return stores: those that the configuration file names, and folders."""
    from cas.local.config_file import read_config

    found = read_config()
    named = _fitting(((name, url) for name, url in found.stores.items()), typed) if found else []
    return [*named, *folders(ctx, typed)]


def nothing(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return nothing: the word is a name that the user makes up."""
    return []


def files(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the order to the shell to offer files."""
    return [CompletionItem(typed, "file")]


def folders(_: click.Context, typed: str) -> list[CompletionItem]:
    """Return the order to the shell to offer folders."""
    return [CompletionItem(typed, "dir")]


def _names(ctx: click.Context) -> StoreNames:
    return names_of(next((str(value) for value in _given(ctx, "store")), None))


def _given(ctx: click.Context, *parameters: str) -> Iterable[object]:
    """The values that stand on the line for parameters of these names, the command's before those of its group."""
    above: click.Context | None = ctx
    while above is not None:
        for name in parameters:
            value = above.params.get(name)
            yield from value if isinstance(value, tuple | list) else [value] if value is not None else []
        above = above.parent


def _digests(names: StoreNames, model: str | None, *, prefix: str, typed: str) -> Iterable[tuple[str, str]]:
    """The digests of a model's versions, or of all, each with what the store's refs call it."""
    from cas.formats.digest import SHORT

    value = typed.removeprefix(prefix)
    named = "blake3:" if value.startswith("b") else ""
    digits = 64 if named else max(SHORT, len(value))
    called: dict[str, list[str]] = {}
    for of_model, tag, digest in names.refs("tags"):
        called.setdefault(digest, []).append(f"{of_model}:{tag}")
    for of_model, digest in names.versions:
        if model in (None, of_model):
            yield f"{prefix}{named}{digest[:digits]}", ", ".join(called.get(digest, [of_model]))


def _fitting(found: Iterable[tuple[str, str]], typed: str) -> list[CompletionItem]:
    """The values, each with its help, that begin with what is typed: each once, in the given order."""
    unique = {value: text for value, text in found if value.startswith(typed)}
    return [CompletionItem(value, help=text or None) for value, text in unique.items()]
