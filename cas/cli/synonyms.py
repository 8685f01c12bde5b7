"""Words that people bring from other tools (docker, git, restic, hf): the command that each is, or the way to it.

They stand in no list and are not completed: there is one word for one thing.
"""

from __future__ import annotations

SYNONYMS = {
    "pull": "restore",
    "download": "restore",
    "fetch": "restore",
    "clone": "restore",
    "push": "publish",
    "upload": "publish",
    "list": "ls",
    "images": "ls",
    "models": "ls",
    "snapshots": "ls",
    "versions": "ls",
    "inspect": "show",
    "log": "history",
    "check": "fsck",
    "status": "info",
    "config": "info",
    "whoami": "info",
    "forget": "untag",
    "exec": "run",
    "cp": "copy",
    "sync": "mirror",
    "save": "export",
    "load": "import",
    "size": "du",
    "df": "du",
    "undo": "rollback",
    "revert": "rollback",
}
"""Word -> the one command that it is."""

_REMOVE = (
    "a version goes when nothing names it: `cas untag` removes a tag, `cas unpin` a pin, and `cas gc` frees the store; "
    "`cas prune` frees this machine"
)
_READ = "`cas restore --to` puts files into a folder, and `cas show` lists them; cas.open_file reads one in Python"
_KEYS = (
    "a store's key comes from variables such as AWS_ACCESS_KEY_ID: `cas info` shows them, and `cas doctor` tries them"
)
_FREE = "`cas gc` frees the store, and `cas prune` frees this machine"

ADVICE = {
    "rm": _REMOVE,
    "rmi": _REMOVE,
    "remove": _REMOVE,
    "delete": _REMOVE,
    "unpublish": _REMOVE,
    "cat": _READ,
    "get": _READ,
    "clean": _FREE,
    "cleanup": _FREE,
    "login": _KEYS,
    "logout": _KEYS,
    "auth": _KEYS,
    "add": "`cas publish` publishes a repo or a folder, and `cas tag` names a version",
    "commit": "`cas publish` publishes a repo or a folder, and `cas tag` names a version",
    "backup": "`cas mirror` keeps a second store equal, and `cas export` writes one file",
    "checkout": "`cas restore` puts a version on this machine, and `cas tag` or `cas pin` moves a name to it",
    "switch": "`cas tag` moves a tag to a version, and `cas pin` the pin of a deployment",
    "mv": "`cas tag` gives a version another tag, and `cas untag` removes one",
    "rename": "`cas tag` gives a version another tag, and `cas untag` removes one",
    "logs": "`cas history` shows what a tag or pin named, and `cas audit` who released what",
    "repair": "`cas fsck --repair-from` repairs a store, and `cas restore` what is on this machine",
    "key": "`cas keygen` makes a key, and `cas trust` says whose count",
    "keys": "`cas keygen` makes a key, and `cas trust` says whose count",
    "update": "pip install -U model-cas updates the program, and `cas restore` gets the newest version of a model",
    "upgrade": "pip install -U model-cas updates the program, and `cas restore` gets the newest version of a model",
}
"""Word -> what to call instead, where that depends on what is meant."""
