"""What each command prints with --json."""

from __future__ import annotations

from typing import Any

from cas.cli.display.json_lines import ProgressLine, TextLine
from cas.ops import verify
from cas.ops.attest.attester import Attested
from cas.ops.attest.release import Release
from cas.ops.audit.result import AuditedMove
from cas.ops.derive.check import Proven
from cas.ops.derive.result import Variant
from cas.ops.doctor.examiner import Diagnosis
from cas.ops.fsck.report import Checked
from cas.ops.gc.explain import Explained
from cas.ops.gc.result import Collected
from cas.ops.inspect.usage import Usage, VersionUsage
from cas.ops.prune.result import Pruned
from cas.ops.publish.publisher import Published
from cas.ops.report.figures import Report
from cas.ops.restore.result import Restored
from cas.ops.transfer.result import Copied, Exported
from cas.refs.lock_file import Locked
from cas.store.receipt import Receipt
from tools.output_schemas import keys, moves, others, versions
from tools.output_schemas.generator import Output, Patch, described

_STORE = {"store": described(str, "URL of the store.")}
_SOUND = {"sound": described(bool, "whether nothing is missing or damaged.")}
_UNCHECKED = {"unchecked": described(dict[str, str], "why shards were not checked, by the shard, with --fleet.")}
_NAMES = {
    "tags": described(list[str], "tags of the model that name it now."),
    "pins": described(list[str], "deployments whose pins name it now."),
}
_RECEIPT = Patch(
    {
        "id": described(str, "of the receipt: what `cas receipts show` takes, whole or its first digits."),
        "key": described(str, "where it lies in the store."),
        "written": described(str, "when it was written, by the server's clock (RFC 3339)."),
        "wall": described(float, "seconds from the beginning of the start to its end."),
        "named": described(float, "seconds of these that some phase covers."),
    },
    optional=["signed"],
)
_ORIGIN: dict[type, Patch] = {versions.Origin: Patch({"from": described(str, "the original's digest.")})}

_PRINTED: list[tuple[str, list[Any], dict[type, Patch]]] = [
    ("init", [others.Made], {}),
    ("publish", [Published], {Published: Patch(nullable=["reference"])}),
    ("sources", [list[others.Source], others.Source], {}),
    ("import-flat", [others.ImportedFlat], {}),
    ("restore", [Restored], {}),
    ("env", [dict[str, str]], {}),
    ("serve", [others.Served], {}),
    ("copy", [Copied], {}),
    ("mirror", [Copied], {}),
    ("import", [Copied], {}),
    ("export", [Exported], {}),
    ("prune", [Pruned], {}),
    ("derive", [Variant, Proven], {Variant: Patch(_STORE, nullable=["reference", "proof"])}),
    ("ls", [list[versions.Version]], _ORIGIN),
    ("tree", [list[versions.Tree]], _ORIGIN),
    ("show", [versions.Shown], {}),
    ("diff", [versions.Diff], {}),
    (
        "du",
        [Usage],
        {
            Usage: Patch({"ratio": described(float | None, "`plain` divided by `stored`; null for an empty store.")}),
            VersionUsage: Patch(_NAMES, ["names"]),
        },
    ),
    ("tag", [moves.Moved], {}),
    ("untag", [moves.Removed], {}),
    ("pin", [moves.Moved], {}),
    ("pins", [list[moves.Pin]], {}),
    ("unpin", [moves.Removed], {}),
    ("history", [list[moves.PastMove]], {}),
    ("rollback", [moves.RolledBack], {}),
    ("sign", [list[moves.Signed]], {}),
    ("keygen", [keys.NewKey], {keys.NewKey: Patch(optional=["secret_key"])}),
    ("trust-add", [keys.Trusted], {}),
    ("trust-ls", [keys.TrustList], {}),
    ("trust-rm", [keys.Untrusted], {}),
    ("trust-floor", [keys.NewFloor], {}),
    ("lock", [Locked], {Locked: Patch(optional=["signature_file", "key_id"])}),
    (
        "attest",
        [Attested],
        {
            Attested: Patch(
                {"file": described(str | None, "the file that holds the statement; null where it was printed.")},
                ["data"],
            ),
            Release: Patch(nullable=["key_id"]),
        },
    ),
    (
        "audit",
        [keys.Audited],
        {AuditedMove: Patch({"below_floor": described(bool, "whether the entry is below the ref's floor.")})},
    ),
    ("verify", [verify.Report], {verify.Report: Patch(_SOUND)}),
    ("fsck", [Checked], {Checked: Patch(_SOUND | _UNCHECKED, optional=["unchecked"])}),
    ("gc", [Collected, Explained], {Collected: Patch(_STORE)}),
    ("info", [others.Info], {}),
    ("doctor", [Diagnosis], {}),
    ("completion", [others.Script, others.InstalledScript], {}),
    ("help", [others.HelpText], {}),
    ("version", [others.ProgramVersion], {}),
    ("report", [Report], {}),
    ("receipts", [list[Receipt], Receipt], {Receipt: _RECEIPT}),
    ("man", [others.ManualPage, others.ManualPages], {}),
    # What is no command's document.
    ("receipt", [Receipt], {Receipt: Patch(optional=["signed"])}),
    ("progress", [ProgressLine, TextLine], {}),
    ("error", [others.Failed], {others.Failure: Patch({"class": described(str, "the name of the error.")})}),
]

OUTPUTS = {
    name: Output(f"cas {name.replace('trust-', 'trust ')} --json", types, patches) for name, types, patches in _PRINTED
}
"""By the command's name, with `-` before that of a command below it. Whatever fails prints `error`."""
