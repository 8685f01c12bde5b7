"""The examples at the end of each command's help, and the page of the documents that says more.

All are of `minilm`, the model of the tutorial. A test parses each with the options of its command.
"""

from __future__ import annotations

from typing import NamedTuple


class Examples(NamedTuple):
    """What stands at the end of a command's help.

    Attributes:
        page: the page below docs/operations/, with the section if it has several; other folders by `../`.
        lines: calls of the command.
    """

    page: str
    lines: tuple[str, ...]


_MINILM = "sentence-transformers/all-MiniLM-L6-v2"

EXAMPLES = {
    "init": Examples("set-up.md#which-store", ("cas init", "cas init --store s3://my-models/cas")),
    "doctor": Examples(
        "something-is-wrong.md#is-everything-in-order",
        ("cas doctor", "cas doctor --role reader", "cas doctor --store s3://my-models/cas --json"),
    ),
    "info": Examples("set-up.md#settings", ("cas info", "cas info --json")),
    "completion": Examples(
        "set-up.md#completion-in-your-shell", ("cas completion --install", "cas completion zsh > ~/.zfunc/_cas")
    ),
    "man": Examples("set-up.md#manual-pages", ("cas man", "cas man restore", "cas man -o ~/.local/share/man/man1")),
    "help": Examples("../tutorial.md", ("cas help", "cas help restore", "cas help trust add")),
    "version": Examples("../tutorial.md", ("cas version", "cas version --json")),
    "publish": Examples(
        "publishing.md",
        (
            f"cas publish minilm --repo {_MINILM}",
            "cas publish minilm --repo my-org/minilm --exclude '*.bin'",
            "cas publish minilm --dir ./finetuned --as my-org/minilm --tag candidate",
            f"cas publish minilm --repo {_MINILM} --dry-run",
        ),
    ),
    "sources": Examples("publishing.md#sources", ("cas sources", "cas sources f5-tts")),
    "derive": Examples(
        "publishing.md#variants",
        ("cas derive minilm --cast float16 --tag fp16", "cas derive minilm:fp16 --check"),
    ),
    "import-flat": Examples(
        "publishing.md#coming-from-a-plain-sync",
        (
            "cas import-flat s3://my-models/models/ --dry-run",
            "cas import-flat s3://my-models/models/ minilm --tag flat",
        ),
    ),
    "restore": Examples(
        "restoring.md",
        (
            "cas restore minilm",
            "cas restore minilm:fp16 --to ./model",
            "cas restore pin:eu-prod/minilm --receipt",
            "cas restore minilm --include '*.json' --dry-run",
        ),
    ),
    "run": Examples(
        "versions.md",
        ("cas run minilm -- python app.py", "CAS_DEPLOYMENT=eu-prod cas run -- python app.py"),
    ),
    "env": Examples("restoring.md#one-version-for-each-program", ('eval "$(cas env minilm)"', "cas env minilm --json")),
    "serve": Examples(
        "serve.md",
        ("cas serve --port 8080", f"cas serve -- hf download {_MINILM}", "cas serve --pin eu-prod --cache-size 50GB"),
    ),
    "verify": Examples("damage-and-backups.md#a-chunk-is-corrupt", ("cas verify minilm", "cas verify minilm --json")),
    "prune": Examples(
        "restoring.md#freeing-this-machine",
        ("cas prune --unused-for 30d --dry-run", "cas prune --keep-free 20GB", "cas prune --keep 1"),
    ),
    "ls": Examples("versions.md", ("cas ls", "cas ls minilm", "cas ls -q")),
    "show": Examples("versions.md", ("cas show minilm", "cas show minilm:fp16 --json")),
    "tree": Examples("publishing.md#variants", ("cas tree", "cas tree minilm")),
    "diff": Examples("versions.md", ("cas diff minilm:latest minilm:fp16",)),
    "du": Examples("retention.md", ("cas du", "cas du minilm")),
    "receipts": Examples(
        "a-start-is-slow.md#receipts",
        ("cas receipts", "cas receipts minilm --since 30d --failed", "cas receipts show latest"),
    ),
    "report": Examples(
        "a-start-is-slow.md#every-start-on-one-page",
        ("cas report", "cas report eu-prod --since 7d -o eu-prod.html", "cas report --json --no-store"),
    ),
    "tag": Examples(
        "versions.md", ("cas tag minilm:latest prod", "cas tag minilm:fp16 prod --reason 'half the bytes'")
    ),
    "untag": Examples("versions.md", ("cas untag minilm:candidate",)),
    "pin": Examples("versions.md", ("cas pin eu-prod minilm:prod", "cas pin eu-prod minilm:prod --expect none")),
    "pins": Examples("versions.md", ("cas pins", "cas pins eu-prod")),
    "unpin": Examples("versions.md", ("cas unpin eu-prod minilm",)),
    "history": Examples("versions.md", ("cas history minilm", "cas history pin:eu-prod/minilm")),
    "rollback": Examples(
        "versions.md",
        ("cas rollback pin:eu-prod/minilm", "cas rollback minilm:prod --reason 'the tests failed'"),
    ),
    "lock": Examples(
        "versions.md#lock-files",
        ("cas lock minilm:prod -o minilm.lock", "cas lock minilm -o m.lock --sign-with me.key"),
    ),
    "copy": Examples(
        "between-stores.md",
        ("cas copy minilm:prod s3://eu-models/cas", "cas copy minilm ./store --no-refs --dry-run"),
    ),
    "mirror": Examples("between-stores.md", ("cas mirror s3://eu-models/cas", "cas mirror minilm s3://eu-models/cas")),
    "export": Examples(
        "between-stores.md", ("cas export minilm:prod -o minilm.cas", "cas export minilm --no-refs -o - > minilm.cas")
    ),
    "import": Examples(
        "between-stores.md",
        ("cas import minilm.cas", "cas import minilm.cas --tag from-lab", "cas ls --store minilm.cas"),
    ),
    "fsck": Examples(
        "damage-and-backups.md#a-chunk-is-corrupt",
        ("cas fsck", "cas fsck minilm --sample 5%", "cas fsck minilm --repair-from s3://eu-models/cas"),
    ),
    "gc": Examples("retention.md", ("cas gc --dry-run", "cas gc", "cas gc --explain 3f2a9c01")),
    "keygen": Examples("signatures.md", ("cas keygen release", "cas keygen release --passphrase")),
    "trust": Examples(
        "signatures.md",
        ("cas trust add release.pub", "cas trust ls", "cas trust floor minilm:prod 42", "cas trust rm release"),
    ),
    "sign": Examples(
        "signatures.md",
        (
            "cas sign minilm:prod --sign-with release.key --dry-run",
            "cas sign minilm@3f2a9c01 --tag prod --sign-with release.key",
        ),
    ),
    "attest": Examples(
        "signatures.md#statements-for-others",
        ("cas attest minilm:prod", "cas attest minilm:prod --sign-with attest.pem -o minilm.sigstore"),
    ),
    "audit": Examples("signatures.md#who-released-what", ("cas audit", "cas audit minilm:prod --since 30d")),
}


def epilog(name: str) -> str | None:
    """Return the end of a command's help, in click's notation; None for a command without examples."""
    if name not in EXAMPLES:
        return None
    page, lines = EXAMPLES[name]
    path = f"docs/{page[3:]}" if page.startswith("../") else f"docs/operations/{page}"
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines), "", "\b", f"Learn more: {path}"])
