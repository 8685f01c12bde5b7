"""`cas publish`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, cache_dir_option, common, sign_with_option, use_signer
from cas.errors import InputError

if TYPE_CHECKING:
    from cas.events import Listener
    from cas.ops.publish import publisher
    from cas.store.store import Store


@click.command(short_help="Publish a model from Hugging Face or a folder.")
@click.argument("model")
@click.option("--source", metavar="NAME|FILE", help="A source of `cas sources`, or a TOML file like those.")
@click.option("--repo", "repos", metavar="ORG/NAME[@REV]", multiple=True, help="A repo of the hub; repeatable.")
@click.option("--include", metavar="GLOB", multiple=True, help="Only matching files of --repo or --dir; repeatable.")
@click.option("--exclude", metavar="GLOB", multiple=True, help="No matching files of --repo or --dir; repeatable.")
@click.option("--dir", "folder", metavar="DIR", help="A plain folder of private weights.")
@click.option("--as", "repo_id", metavar="ORG/NAME", help="The repo id under which clients will find --dir.")
@cache_dir_option
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="Tag to move; repeatable. Default: latest.")
@click.option("--replace", is_flag=True, help="Let a tag that names other repos name these.")
@click.option("--no-download", is_flag=True, help="Take what is in the hub cache; ask no hub.")
@click.option("--force", is_flag=True, help="Check every file and upload every chunk anew: heals a damaged store.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be uploaded; write nothing to the store.")
@sign_with_option
@common
def publish(
    settings: Settings,
    model: str,
    source: str | None,
    repos: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    folder: str | None,
    repo_id: str | None,
    cache_dir: str | None,
    tags: tuple[str, ...],
    replace: bool,
    no_download: bool,
    force: bool,
    dry_run: bool,
    sign_with: str | None,
) -> None:
    """Publish MODEL: download what is missing, upload what is new, move the tags, print the reference."""
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.host import traces_wanted
    from cas.ops.publish import publisher
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    store = open_store(settings.store)
    use_signer(store, sign_with)
    with reporter_for(settings) as reporter, contextlib.ExitStack() as stack:
        listen: Listener = reporter.listen
        if traces_wanted():
            from cas.cli.tracing import traced

            listen = stack.enter_context(traced("cas publish", listen))
        done = publisher.publish(
            model,
            _source(source, repos, (include, exclude), folder, repo_id),
            store,
            tags=tags or ("latest",),
            cache_dir=cache_dir,
            download=not no_download,
            force=force,
            replace=replace,
            dry_run=dry_run,
            on_event=listen,
        )
    if settings.json:
        output.document({**dataclasses.asdict(done), "reference": done.reference or None})
        return
    if not settings.quiet:
        if done.made_store:
            print(f"made a new store at {store.where}", file=sys.stderr)
        print(_summary(done, store), file=sys.stderr)
    if done.reference:
        print(done.reference)


def _source(
    file: str | None,
    repos: tuple[str, ...],
    patterns: tuple[tuple[str, ...], tuple[str, ...]],
    folder: str | None,
    repo_id: str | None,
) -> publisher.Source:
    """Return what the options name; `patterns` are those of --include and of --exclude."""
    from cas.hub.builtin_sources import source_path
    from cas.ops.publish.publisher import Source

    if bool(folder) != bool(repo_id):
        raise InputError("--dir and --as go together: --dir DIR --as ORG/NAME")
    if file and any(patterns):
        option = "--include" if patterns[0] else "--exclude"
        raise InputError(f"{option} goes with --repo or --dir; a source file has its own patterns")
    source = Source.from_file(source_path(file)) if file else None
    if source and source.layout and folder and repo_id and not repos:
        return source.of_folder(folder, repo_id)
    if source and source.layout:
        raise InputError(f"source {file} says which files of a folder to take: add --dir DIR --as ORG/NAME")
    if sum(map(bool, (file, repos, folder))) != 1:
        raise InputError("say what to publish: one of --source NAME, --repo ORG/NAME, or --dir DIR --as ORG/NAME")
    if source:
        return source
    if folder and repo_id:
        return Source.from_folder(folder, repo_id, *patterns)
    return Source.from_repos(repos, *patterns)


def _summary(done: publisher.Published, store: Store) -> str:
    if done.dry_run:
        return (
            f"would upload {output.size(done.uploaded)} in {done.uploaded_chunks} of {done.chunks} chunks "
            f"({output.size(done.total)} in all) to {store.where}; nothing was written to the store"
        )
    moved = f"; moved {', '.join(done.moved)}" if done.moved else ""
    if not done.created and not done.uploaded_chunks:
        return (
            f"unchanged in {store.where}: {output.size(done.total)} in {done.chunks} chunks{moved} "
            f"({done.seconds:.1f} s)"
        )
    name = done.reference.partition("@")[0]
    return (
        f"published {name} to {store.where}: {output.size(done.total)} ({output.size(done.wire)} uploaded in "
        f"{done.uploaded_chunks} of {done.chunks} chunks){moved} in {done.seconds:.1f} s"
    )
