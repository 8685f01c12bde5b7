"""Publish what a plain sync left in a bucket: an import rebuilds a hub cache, and a publish takes it from there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cas import events
from cas.errors import InputError, NotFoundError
from cas.store.store import Store, open_store

if TYPE_CHECKING:
    from cas.ops.import_flat.importer import Plan, Rebuilt, Selection
    from cas.ops.publish.publisher import Published, Source

# Repo id -> the model name under which deployments look for the model.
_MODEL_NAMES = {"SWivid/F5-TTS": "f5-tts"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import of plain files did.

    Attributes:
        model: the name under which they were published.
        plan: what was chosen, and what was ignored.
        published: what the publish did; None for a dry run.
    """

    model: str
    plan: Plan
    published: Published | None


def import_flat(
    source: str,
    model: str | None = None,
    store: Store | str | None = None,
    *,
    file: str | None = None,
    repos: Sequence[str] = (),
    include: Sequence[str] = (),
    revision: str | None = None,
    torch: bool = True,
    partial: bool = False,
    cache_dir: str | Path | None = None,
    tags: Sequence[str] = ("latest",),
    by: str | None = None,
    dry_run: bool = False,
    on_event: events.Listener = events.log,
) -> Imported:
    """Publish, as a model, the hub/ and torch/ trees that a sync left as plain files.

    Args:
        source: `s3://bucket/prefix` or a folder, which is never written to.
        model: the model's name; None where the repos tell it.
        store: an open store, a URL, or None for the default.
        file: name or path of a source (`sources`), all of which is wanted.
        repos: only these repos; all without.
        include: glob patterns of the files of `repos` to take; all without.
        revision: the ref or commit to take, by default main or the only one there.
        torch: False to leave out torch/ (TORCH_HOME).
        partial: accept that files are missing.
        cache_dir: rebuild the cache here and keep it; a second import goes on from it.
        tags: the tags to move.
        by: who moves the tags, by default user@host.
        dry_run: fetch nothing, and write nothing.
        on_event: hears what happens.

    Raises:
        InputError: the source or the selection is ambiguous, or nothing tells what to call the model.
        NotFoundError: something that is wanted is not there.
        IntegrityError: something is damaged, or a placeholder.
        CasError: what `publish` raises.
    """
    from cas.formats.manifest import check_name
    from cas.ops.import_flat import importer
    from cas.ops.publish import publisher

    if model is not None:
        check_name(model, "model")
    for tag in tags:
        check_name(tag, "tag")
    wanted = _wanted(file, repos, include, revision)
    planned = importer.plan(
        source,
        selections=_selections(wanted, repos, include),
        revision=revision,
        plain_patterns=() if not torch else wanted.files if wanted else None,
        partial=partial,
        on_event=on_event,
    )
    model = model or _name_of(source, planned)
    if dry_run:
        return Imported(model, planned, None)
    opened = open_store(store)
    with contextlib.suppress(NotFoundError):
        opened.check_format()  # fail on an unreadable store now, before gigabytes are fetched
    with _folder(cache_dir) as folder:
        rebuilt = importer.fetch(source, planned, folder, on_event=on_event)
        done = publisher.publish(
            model,
            _source(rebuilt, wanted),
            opened,
            tags=tags,
            cache_dir=rebuilt.dirs,
            download=False,
            by=by,
            # A sync gains and loses repos: an import says so, and goes on.
            replace=True,
            on_event=on_event,
        )
    return Imported(model, planned, done)


def _name_of(source: str, planned: Plan) -> str:
    """The model name that follows from the repos of an import; raises InputError when none of them has a known name."""
    for repo in planned.repos:
        if repo.repo_type == "model" and repo.repo_id in _MODEL_NAMES:
            return _MODEL_NAMES[repo.repo_id]
    repos = ", ".join(repo.repo_id for repo in planned.repos) or "torch/ alone"
    raise InputError(f"say what to call the model, as {repos} does not tell: cas import-flat {source} MODEL")


@contextlib.contextmanager
def _folder(cache_dir: str | Path | None) -> Iterator[Path]:
    if cache_dir:
        yield Path(cache_dir)
        return
    with tempfile.TemporaryDirectory(prefix="cas-import-") as made:
        yield Path(made)


def _wanted(file: str | None, repos: Sequence[str], include: Sequence[str], revision: str | None) -> Source | None:
    """The repos and files that --source FILE names; None without it. Raises InputError when options contradict."""
    from cas.hub.builtin_sources import source_path
    from cas.ops.publish.publisher import Source

    if file and (repos or include or revision):
        raise InputError("--repo, --include and --revision go without --source: a source file has its own")
    if include and not repos:
        raise InputError("--include goes with --repo: say which repo's files the patterns are to match")
    source = Source.from_file(source_path(file)) if file else None
    if source and source.layout:
        raise InputError(f"source {file} is for `cas publish --dir`: it names no repo of a sync")
    return source


def _selections(wanted: Source | None, repos: Sequence[str], include: Sequence[str]) -> list[Selection] | None:
    from cas.ops.import_flat.importer import Selection

    if wanted:
        return [
            Selection(repo.repo_id, repo.repo_type, repo.revision, repo.include, repo.exclude) for repo in wanted.repos
        ]
    return [Selection(repo, include=tuple(include)) for repo in repos] or None


def _source(rebuilt: Rebuilt, wanted: Source | None) -> Source:
    from cas.hub.source import RepoSource
    from cas.ops.publish.publisher import Source

    refs = {(repo.repo_type, repo.repo_id): repo.refs for repo in wanted.repos} if wanted else {}
    repos = tuple(
        RepoSource(repo.repo_id, repo.repo_type, repo.revision, refs=refs.get((repo.repo_type, repo.repo_id)))
        for repo in rebuilt.repos
    )
    return Source(repos, ("torch/*",) if rebuilt.has_plain_files else ())
