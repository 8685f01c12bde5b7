"""What other commands print: `init`, `sources`, `import-flat`, `serve`, `info`, `completion`."""

from __future__ import annotations

from typing import Literal, TypedDict

from cas.ops.publish.publisher import Published


class Made(TypedDict):
    """The store that `cas init` made or found.

    Attributes:
        store: URL of the store.
        made: whether it was made now.
    """

    store: str
    made: bool


class SourceRepo(TypedDict):
    """A repo that a source names.

    Attributes:
        id: the repo on the hub.
        revision: a branch, a tag or a commit.
        include: patterns of the files that are published; none for all.
        exclude: patterns of the files that are not.
    """

    id: str
    revision: str
    include: list[str]
    exclude: list[str]


class Source(TypedDict):
    """A built-in source.

    Attributes:
        name: what --source takes.
        description: what it is for.
        command: the command that publishes it.
        file: where it is defined.
        repos: the repos that it names.
        layout: plain files of which the model consists.
    """

    name: str
    description: str
    command: str
    file: str
    repos: list[SourceRepo]
    layout: list[str]


class FlatRepo(TypedDict):
    """A repo that was found in a bucket.

    Attributes:
        repo_id: the repo on the hub.
        repo_type: model, dataset or space.
        commit: the commit whose files they are.
        revision: the branch or tag that names it.
        files: the size in bytes of each file, by its path.
    """

    repo_id: str
    repo_type: str
    commit: str
    revision: str
    files: dict[str, int]


class FlatPlan(TypedDict):
    """What an import takes from a bucket.

    Attributes:
        repos: the repos.
        files: the size in bytes of each plain file, by its path.
        total: bytes of all.
        ignored: what is left behind, and how much of it.
    """

    repos: list[FlatRepo]
    files: dict[str, int]
    total: int
    ignored: dict[str, int]


class ImportedFlat(TypedDict):
    """What `cas import-flat` did.

    Attributes:
        model: the model.
        imported: what was found.
        published: what was published; null with --dry-run.
    """

    model: str
    imported: FlatPlan
    published: Published | None


class ServedRepo(TypedDict):
    """A repo that is served.

    Attributes:
        repo_id: what clients ask for.
        repo_type: model, dataset or space.
        commit: the commit that they get.
        reference: the tag or pin that chose the version.
        version: the exact reference of the version.
    """

    repo_id: str
    repo_type: str
    commit: str
    reference: str
    version: str


class Served(TypedDict):
    """What `cas serve` serves.

    Attributes:
        endpoint: what HF_ENDPOINT must be.
        store: URL of the store.
        repos: the repos, at the start.
    """

    endpoint: str
    store: str
    repos: list[ServedRepo]


class SettingRow(TypedDict):
    """A setting.

    Attributes:
        name: of the setting.
        value: what counts, without secrets; empty for none.
        source: the variable, the file or the default that gave it.
        decides: what it decides.
        error: why it cannot be used; empty for a sound one.
    """

    name: str
    value: str
    source: str
    decides: str
    error: str


class VariableRow(TypedDict):
    """A variable that is set.

    Attributes:
        name: of the variable.
        value: its value, without secrets.
        decides: what it decides.
    """

    name: str
    value: str
    decides: str


class Info(TypedDict):
    """The settings that count.

    Attributes:
        version: of this program.
        settings: the settings.
        variables: the variables that are set.
    """

    version: str
    settings: list[SettingRow]
    variables: list[VariableRow]


class Script(TypedDict):
    """A shell's completion.

    Attributes:
        shell: the shell.
        script: what it loads.
    """

    shell: Literal["bash", "zsh", "fish"]
    script: str


class InstalledScript(TypedDict):
    """What `cas completion --install` did.

    Attributes:
        shell: the shell.
        script_file: the file that holds the script.
        start_file: the start file whose line loads it; null where the shell finds it by itself.
        changed: the files that were written; none where all was there.
    """

    shell: Literal["bash", "zsh", "fish"]
    script_file: str
    start_file: str | None
    changed: list[str]


class Failure(TypedDict):
    """Why a command failed.

    Attributes:
        message: the line that is on standard error, too.
        exit_code: of the command.
        hint: what to do; null where the message says all.
    """

    message: str
    exit_code: int
    hint: str | None
    # `class` is a keyword of Python: `table.py` adds it.


class Failed(TypedDict):
    """What a command prints when it fails.

    Attributes:
        error: why it failed.
    """

    error: Failure


class ManualPage(TypedDict):
    """A manual page.

    Attributes:
        name: of the page.
        page: its text in roff.
    """

    name: str
    page: str


class ManualPages(TypedDict):
    """The manual pages that were written.

    Attributes:
        files: their paths.
    """

    files: list[str]


class HelpText(TypedDict):
    """The help of a command.

    Attributes:
        command: the command.
        help: what --help prints.
    """

    command: str
    help: str


class ProgramVersion(TypedDict):
    """The version of this program.

    Attributes:
        version: such as `1.2.3`.
    """

    version: str
