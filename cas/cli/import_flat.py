"""`cas import-flat`."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from cas.cli.display import output
from cas.cli.options import Settings, common, sign_with_option, use_signer

if TYPE_CHECKING:
    from cas.ops.import_flat.importer import Plan


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
    from cas.api import flat_import
    from cas.cli.display.progress import reporter_for
    from cas.cli.process import keep_memory_together, leave_cores_alone
    from cas.store.store import open_store

    keep_memory_together()
    leave_cores_alone()
    store = None
    if not dry_run:
        store = open_store(settings.store)
        use_signer(store, sign_with)
    with reporter_for(settings) as reporter:
        imported = flat_import.import_flat(
            source,
            model,
            store,
            file=file,
            repos=repos,
            include=include,
            revision=revision,
            torch=not no_torch,
            partial=partial,
            cache_dir=cache_dir,
            tags=tags or ("latest",),
            by=by,
            dry_run=dry_run,
            on_event=reporter.listen,
        )
    planned, done = imported.plan, imported.published
    if settings.json:
        output.document(
            {
                "model": imported.model,
                "imported": _document(planned),
                "published": dataclasses.asdict(done) if done else None,
            }
        )
        return
    if not settings.quiet:
        _summarise(imported.model, planned, fetched=done is not None)
        if done and store:
            if done.made_store:
                print(f"made a new store at {store.where}", file=sys.stderr)
            print(f"published {imported.model} to {store.where}", file=sys.stderr)
    if done:
        print(done.reference)


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
