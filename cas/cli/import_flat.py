"""`cas import-flat`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, common, sign_with_option, use_signer
from cas.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from cas.ops.import_flat.importer import Plan, Rebuilt, Selection
    from cas.ops.publish.publisher import Source

# Repo id -> the model name under which deployments look for the model.
_MODEL_NAMES = {"SWivid/F5-TTS": "f5-tts"}


@click.command("import-flat", short_help="Publish what a plain sync left in a bucket.")
@click.argument("source")
@click.argument("model", required=False)
@click.option(
    "--source",
    "file",
    metavar="NAME|FILE",
    help="A source of `cas sources`, or a file like those: all of it is wanted.",
)
@click.option("--repo", "repos", metavar="ORG/NAME", multiple=True, help="Only this repo; repeatable. Default: all.")
@click.option("--include", metavar="GLOB", multiple=True, help="Only matching files of --repo, all wanted; repeatable.")
@click.option("--revision", metavar="REV", help="The ref or commit to take. Default: main, or the only one there.")
@click.option("--no-torch", is_flag=True, help="Leave out torch/ (TORCH_HOME).")
@click.option(
    "--partial", is_flag=True, help="Accept that files are missing: wanted ones, or others in a repo's listing."
)
@click.option("--cache-dir", metavar="DIR", help="Rebuild the cache here and keep it: a second run goes on from it.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tag to move; repeatable. Default: latest.")
@click.option("--by", help="Who moves the tags. Default: user@host.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be imported; fetch and write nothing.")
@sign_with_option
@common
def import_flat(
    settings: Settings,
    source: str,
    model: str | None,
    file: str | None,
    repos: tuple[str, ...],
    include: tuple[str, ...],
    revision: str | None,
    no_torch: bool,
    partial: bool,
    cache_dir: str | None,
    tags: tuple[str, ...],
    by: str | None,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Publish, as MODEL, the hub/ and torch/ trees that a sync left in SOURCE as plain files.

    SOURCE is s3://bucket/prefix or a folder, and is never written to. MODEL is f5-tts where SWivid/F5-TTS is imported,
    and must be given elsewhere.
    """
    from cas.cli.display.progress import Reporter
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.formats.manifest import check_name
    from cas.ops.import_flat import importer
    from cas.ops.publish import publisher
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    if model is not None:
        check_name(model, "model")
    for tag in tags:
        check_name(tag, "tag")
    wanted = _wanted(file, repos, include, revision)
    with Reporter(quiet=settings.quiet, verbose=settings.verbose) as reporter:
        planned = importer.plan(
            source,
            selections=_selections(wanted, repos, include),
            revision=revision,
            plain_patterns=() if no_torch else wanted.files if wanted else None,
            partial=partial,
            on_event=reporter.listen,
        )
        model = model or _name_of(source, planned)
        done = store = None
        if not dry_run:
            store = open_store(settings.store)
            use_signer(store, sign_with)
            with contextlib.suppress(NotFoundError):
                store.check_format()  # fail on an unreadable store now, before gigabytes are fetched
            with _folder(cache_dir) as folder:
                rebuilt = importer.fetch(source, planned, folder, on_event=reporter.listen)
                done = publisher.publish(
                    model,
                    _source(rebuilt, wanted),
                    store,
                    tags=tags or ("latest",),
                    cache_dir=rebuilt.dirs,
                    download=False,
                    by=by,
                    # A sync gains and loses repos: an import says so, and goes on.
                    replace=True,
                    on_event=reporter.listen,
                )
    if settings.json:
        output.document(
            {"model": model, "imported": _document(planned), "published": dataclasses.asdict(done) if done else None}
        )
        return
    if not settings.quiet:
        _summarise(model, planned, fetched=done is not None)
        if done and store:
            if done.made_store:
                print(f"made a new store at {store.where}", file=sys.stderr)
            print(f"published {model} to {store.where}", file=sys.stderr)
    if done:
        print(done.reference)


def _name_of(source: str, planned: Plan) -> str:
    """The model name that follows from the repos of an import; raises InputError when none of them has a known name."""
    for repo in planned.repos:
        if repo.repo_type == "model" and repo.repo_id in _MODEL_NAMES:
            return _MODEL_NAMES[repo.repo_id]
    repos = ", ".join(repo.repo_id for repo in planned.repos) or "torch/ alone"
    raise InputError(f"say what to call the model, as {repos} does not tell: cas import-flat {source} MODEL")


@contextlib.contextmanager
def _folder(cache_dir: str | None) -> Iterator[Path]:
    if cache_dir:
        yield Path(cache_dir)
        return
    with tempfile.TemporaryDirectory(prefix="cas-import-") as made:
        yield Path(made)


def _wanted(file: str | None, repos: tuple[str, ...], include: tuple[str, ...], revision: str | None) -> Source | None:
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


def _selections(wanted: Source | None, repos: tuple[str, ...], include: tuple[str, ...]) -> list[Selection] | None:
    from cas.ops.import_flat.importer import Selection

    if wanted:
        return [
            Selection(repo.repo_id, repo.repo_type, repo.revision, repo.include, repo.exclude) for repo in wanted.repos
        ]
    return [Selection(repo, include=include) for repo in repos] or None


def _source(rebuilt: Rebuilt, wanted: Source | None) -> Source:
    from cas.hub.source import RepoSource
    from cas.ops.publish.publisher import Source

    refs = {(repo.repo_type, repo.repo_id): repo.refs for repo in wanted.repos} if wanted else {}
    repos = tuple(
        RepoSource(repo.repo_id, repo.repo_type, repo.revision, refs=refs.get((repo.repo_type, repo.repo_id)))
        for repo in rebuilt.repos
    )
    return Source(repos, ("torch/*",) if rebuilt.has_plain_files else ())


def _document(planned: Plan) -> dict[str, object]:
    return {
        "repos": [
            {
                "repo_id": repo.repo_id,
                "repo_type": repo.repo_type,
                "commit": repo.commit,
                "revision": repo.revision,
                "files": {file.path: file.entry.size for file in repo.files},
            }
            for repo in planned.repos
        ],
        "files": {file.path: file.entry.size for file in planned.plain_files},
        "total": planned.size,
        "ignored": dict(planned.ignored),
    }


def _summarise(model: str, planned: Plan, *, fetched: bool) -> None:
    lines = [
        f"{repo.repo_id}@{repo.commit[:12]} ({repo.revision[:12]}): {output.count(len(repo.files), 'file')}, "
        f"{output.size(sum(file.entry.size for file in repo.files))}"
        for repo in planned.repos
    ]
    if planned.plain_files:
        size = output.size(sum(file.entry.size for file in planned.plain_files))
        lines.append(f"torch: {output.count(len(planned.plain_files), 'file')}, {size}")
    for line in lines:
        print(f"{'imported' if fetched else 'would import'} {line}", file=sys.stderr)
    for name, number in planned.ignored.items():
        print(f"ignored {name} ({output.count(number, 'object')})", file=sys.stderr)
    if not fetched:
        print(f"would publish {model}", file=sys.stderr)
