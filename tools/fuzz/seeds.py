"""Write the seeds of the corpus: `python -m tools.fuzz.seeds`. Faults found later lie beside them, and are left alone.

A seed is a real document (of the golden store, of the generators in tools/models) or a hostile one, and small: a fuzzer
changes one byte of a thousand seldom enough.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cas.formats import frame
from tools.fuzz import signatures
from tools.fuzz.__main__ import CORPUS, ROOT
from tools.fuzz.job_seeds import JOB, jobs
from tools.models.f5tts import vocos
from tools.models.gguf import write_gguf
from tools.models.safetensors import trained_like
from tools.models.tiny_f5 import SPEECH, VOCOS
from tools.models.torchzip import write_torch_zip
from tools.models.weights import Recipe, Shapes, Weights

_GOLDEN = ROOT / "tests/golden"
_LARGEST = 4096  # bytes
_SHAPES: Shapes = {"a.weight": ("F32", (4, 3)), "b": ("F16", (5,)), "c": ("BF16", (2, 2)), "d": ("I64", ())}
_HEX, _COMMIT = "0123456789abcdef" * 4, "0123456789abcdef" * 2 + "01234567"
_CHUNK = [_HEX, 3]
_FILE = {"path": "a/b.bin", "size": 3, "blob": _COMMIT, "chunks": [_CHUNK]}
_REPO = {"repo_id": "o/m", "repo_type": "model", "commit": _COMMIT, "refs": ["main"], "files": [_FILE]}
_MANIFEST = {
    "version": 2, "model": "m",
    "repos": [_REPO], "files": [{"path": "torch/hub/a.pth", "size": 3, "chunks": [_CHUNK]}],
    "derived": {"from": f"blake3:{_HEX}", "transform": "cast:float16"},
    "annotations": {"a": "b"},
}  # fmt: skip
_MANIFEST_1 = {
    **_MANIFEST, "version": 1, "created": "2026-01-01T00:00:00Z", "created_by": "cas", "parent": None,
    "derived": {"from": f"blake3:{_HEX}", "transform": "cast:float16", "equivalent": "yes"},
}  # fmt: skip
_REF = {"manifest": f"blake3:{_HEX}", "created": "2026-01-01T00:00:00Z", "by": "a@b", "reason": "c"}
_LEASE = {"by": "a@b", "purpose": "cas publish", "seconds": 600, "waits": True}
_ANSWERS = (
    "Server returned non-2xx status code: 503 Slow: <Error><Code>SlowDown</Code><Message>m</Message></Error>",
    "Generic S3 error: Error performing GET https://h/b?X-Amz-Signature=secret in 1s - status code: 403 Forbidden",
    "Generic LocalFileSystem error: unable to open /a: Permission denied (os error 13)",
    "x (os error " + "9" * 1000 + ")",
    'Error parsing Path "a//b": Path "a//b" contained empty path segment',
    "error sending request: client error (Connect): InvalidCertificate(UnknownIssuer) \x1b[2J\u202e{said}{0}",
)
_ADDRESSES = (
    "https://example.com:443/a.wav?x=y#z", "https://[::1]/", "https://[", "https://h:99999999/", "https://u:p@h/",
    "https://\u2100/", "93.184.216.34", "::ffff:10.0.0.1", "fe80::1%eth0", "64:ff9b::a00:1", "0x7f.1", "1" * 5000,
    _COMMIT, _HEX, "a/../b", "C:a", "a//b",
)  # fmt: skip
_TREE = {"format_version": 1, "files": {"a": {"size": 1, "blob_id": _COMMIT, "lfs_sha256": _HEX}}}
_HUB_ANSWER = {"sha": _COMMIT, "gated": "auto", "siblings": [
    {"rfilename": "a", "size": 1, "blobId": _COMMIT}, {"rfilename": "b", "lfs": {"sha256": _HEX, "size": 2}}
]}  # fmt: skip
_REQUESTS = {
    "range": b"bytes=0-9", "suffix": b"bytes=-3", "digits": b"bytes=\xb2-", "etags": b'W/"x", *',
    "begin": b"bytes 5-9/10", "superscript": b"bytes \xb2-9/10", "token": b"Bearer secret:x", "form": b"paths=a%2F&x=y",
    "json": b'{"paths": ["a"]}', "escapes": b"a%2e%00%ff",
}  # fmt: skip
_RECEIPT = {"manifest": f"blake3:{_HEX}", "model": "m", "ok": True, "reason": "pin", "host": {"pod": "p"}}
_DEEP = b"[" * 3000


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Yield target, name and bytes of each seed."""
    for target, document in (
        ("manifest", _MANIFEST), ("ref", _REF), ("lease", _LEASE), ("format", {"format": "cas", "version": 1}),
        ("condemned", {"version": 1, "manifests": [["m", _HEX]], "chunks": [_HEX]}), ("job", JOB),
        ("speech_config", {"model": SPEECH}), ("hub_cache", _TREE), ("hub_answer", _HUB_ANSWER),
        ("audited_receipt", _RECEIPT),
    ):  # fmt: skip
        data = _compact(document) if target == "manifest" else json.dumps(document).encode()
        yield target, "small", data
        yield target, "deep", _DEEP
        yield target, "not-utf-8", data.replace(b'"', b'"\xff', 1)
        yield target, "cut", data[: len(data) // 2]
    yield from (("request", name, data) for name, data in _REQUESTS.items())
    yield "hub_answer", "lacks", _compact([["a/b", 3, _HEX]])
    yield from signatures.seeds()
    yield from _documents()
    yield from _environments()
    yield from _files()


def _documents() -> Iterator[tuple[str, str, bytes]]:
    for folder, target in (("refs", "ref"), ("manifests", "manifest"), ("chunks", "frame")):
        files = sorted(
            path
            for path in (_GOLDEN / "v1/store" / folder).rglob("*")
            if path.is_file() and path.stat().st_size < _LARGEST
        )
        for number, path in enumerate(files):
            yield target, f"golden-{number}", path.read_bytes()
    for number, path in enumerate(sorted((_GOLDEN / "v2/store/manifests").rglob("*.json"))):
        yield "manifest", f"golden-v2-{number}", path.read_bytes()
    yield "manifest", "version-1", _compact(_MANIFEST_1)
    yield "manifest", "white-space", json.dumps(_MANIFEST).encode()
    yield "manifest", "out-of-order", _compact(_files_of("b", "a"))
    removed = json.dumps({**_REF, "manifest": None}).encode()
    yield "ref", "removed", removed
    yield "manifest", "case-twins", _compact(_files_of("A/b", "a/b"))
    yield "manifest", "unicode-twins", _compact(_files_of("\u00e9", "e\u0301"))
    yield "manifest", "file-and-folder", _compact(_files_of("a", "a/b"))
    yield "manifest", "climbs", _compact(_files_of("../x"))
    document = _compact(_MANIFEST)
    yield "lock", "named", b"\0" + document
    yield "lock", "beside", b"@  model.json\n\0" + document
    yield "lock", "changed", _HEX.encode() + b"  model.json\n\0" + document
    yield "lock", "two-lines", b"@  a\n@  b\n\0" + document
    yield "receipt", "words", b"CAS_MODEL\0/models\0it has room\0/seed\0no answer\0http://u:p@h/x?secret"
    yield "receipt", "escapes", "\x1b[2J\0\udcff/\u202e\0\n\0\udcff\0\u2028".encode(errors="surrogateescape")
    yield "keys", "all", "\n".join((
        f"chunks/01/{_HEX}", f"manifests/m/{_HEX}.json", "refs/tags/m/latest/00000001-0123456789abcdef.json",
        "refs/pins/d/m/00000002-0123456789abcdef.json", f"receipts/d/2026-01-01/010203-{_HEX}-0123456789abcdef.json",
        "leases/0123456789abcdef-000001.json", "gc/20260101T000000Z-01234567-0000.json",
        "gc/20260101T000000Z-01234567-sweep-000001.json", "gc/20260101T000000Z-01234567-probe.json",
        "refs/tags/m/latest/99999999999999999999-0123456789abcdef.json", "../x", "refs/tags/\x1b/a/1-0.json",
    )).encode()  # fmt: skip
    yield "options", "usual", b"24h\n60s\n20\n5%"
    yield "options", "longest", b"9999999w\n9999999w\n99999999999999999999\n0.000001%"
    yield "options", "strange", "\u0663\u0669s\n1m\n\u0663\n\u0661%".encode()
    for number, text in enumerate(_ANSWERS):
        yield "server_error", f"answer-{number}", text.encode()
    for number, text in enumerate(_ADDRESSES):
        yield "address", f"address-{number}", text.encode()
    for name, data in jobs():
        yield "job", name, data
    yield "speech_config", "vocos", json.dumps(VOCOS).encode()
    yield (
        "speech_config",
        "tags",
        b"model: !!map [a]\nbackbone: !!python/name:os.system\na: !!int x\nb: !!timestamp 9\n",
    )
    yield "speech_config", "aliases", b"a: &a [1]\nb: [*a, *a]\n<<: {c: 1}\n? [1]\n: 2\n"
    yield (
        "speech_config",
        "scalars",
        b"a: 1:99:1\nb: 0x1f\nc: 1e5\nd: .nan\ne: 2026-99-99\nf: !!binary x\ng: ~\nh: no\n",
    )
    yield "source", "real", (ROOT / "manifests/sources/f5-tts.toml").read_bytes()
    yield "vocabulary", "small", b" \n!\na\nni3\n"
    yield "vocabulary", "twice", b"a\nb\r\na\rc\n\n\nd"
    yield "vocabulary", "latin", b"a\n\xe9\n"
    yield "source", "deep", b"a = " + b"[" * 3000
    yield "source", "dotted", b".".join([b"a"] * 1000) + b" = 1\n"
    yield "source", "date", b"files = [2026-99-99, 1e400, 0x1, inf]\n[[repo]]\nrepo_id = 'o/m'\n"
    yield "hub_cache", "commit", _COMMIT.encode()
    yield (
        "hub_cache",
        "verified",
        json.dumps({"version": 1, "files": {"a": [_HEX, 1, 1], "\0": [_HEX, -1, -1]}}).encode(),
    )
    yield "hub_cache", "chunks", json.dumps({"version": 1, "contents": {_HEX: [_CHUNK]}}).encode()
    state = {"version": 1, "store": "memory:", "scope": None, "sample": 1.0, "seed": "a", "found": {}}
    yield "hub_cache", "checkpoint", json.dumps(state).encode()


def _compact(document: object) -> bytes:
    """A document as JSON without white space: the only form in which a manifest of version 2 is read."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _files_of(*names: str) -> dict[str, object]:
    return {**_MANIFEST, "repos": [{**_REPO, "files": [{**_FILE, "path": name} for name in names]}]}


def _environments() -> Iterator[tuple[str, str, bytes]]:
    for name, lines in {
        "model": ("CAS_MODEL=m:latest", "CAS_STORE=s3://bucket/prefix", "AWS_ENDPOINT_URL=https://s3.example.com"),
        "digest": (f"CAS_MODEL=m@blake3:{_HEX}", "CAS_STORE=https://h/p", "HF_ENDPOINT=https://u:p@h/?q#f"),
        "short-digest": ("CAS_MODEL=m@01234567", "CAS_STORE=file:///a/b", "CAS_FALLBACK=bytes", "CAS_DEVICE=cuda"),
        "pin": ("CAS_MODEL=pin:d/m", "CAS_LEASE_SECONDS=60", "CAS_SEEDS=/a:/b", "CAS_CACHE_DIRS=/a:~/b:$HOME/c"),
        "deployment": ("CAS_DEPLOYMENT=eu", "S3_BUCKET=b", "CAS_MIRRORS=s3://a/b, https://h/p /c", "CAS_RECEIPT=no"),
        "lock": ("CAS_LOCK=/dev/null/x", "ENABLE_S3_MODEL_CACHE=off", "HF_HOME=/h", "HF_HUB_CACHE=$HOME/hub"),
        "no-such-user": ("CAS_STORE=~nobody-of-this-name/x", "CAS_SEEDS=~nobody-of-this-name", "HF_HOME=~nobody-x"),
        "long": ("CAS_STORE=/" + "a" * 300, "CAS_LOCK=/" + "b" * 300, "CAS_CACHE_DIRS=/" + "c" * 5000),
        "brackets": (
            "CAS_STORE=s3://[",
            "AWS_ENDPOINT_URL=https://[",
            "HF_ENDPOINT=https://[",
            "CAS_MIRRORS=https://[",
        ),
        "port": ("CAS_STORE=https://h:x/p", "AWS_ENDPOINT_URL=https://h:99999", "HF_ENDPOINT=https://h:x"),
        "s3-port": ("CAS_STORE=s3://b:x/p", "AWS_ENDPOINT_URL_S3=http://[::1]:9000", "AWS_REGION=\u2028"),
        "azure": ("CAS_STORE=az://container/p", "AZURE_STORAGE_CONNECTION_STRING=AccountName=abc;AccountKey=aGV4"),
        "azure-sas": ("CAS_STORE=az://c/p", "AZURE_STORAGE_ACCOUNT=abc", "AZURE_STORAGE_SAS_TOKEN=?sv=1&sig=%zz"),
        "google": ("CAS_STORE=gs://bucket/p", 'GOOGLE_SERVICE_ACCOUNT_KEY={"type": "service_account"}'),
        "google-file": ("CAS_STORE=gs://bucket/p", "GOOGLE_APPLICATION_CREDENTIALS=/dev/null/x"),
        "read-url": ("CAS_STORE=s3://bucket/p", "CAS_READ_URL=https://h/p", "HTTPS_PROXY=http://u:p@h:x"),
        "header": ("CAS_STORE=https://h/p", "CAS_HTTP_HEADER=Authorization: Bearer x", "NETRC=/dev/null"),
        "s3-options": (
            "CAS_STORE=s3://b/p",
            "AWS_SERVER_SIDE_ENCRYPTION=aws:kms",
            "AWS_SSE_KMS_KEY_ID=k",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST=maybe",
            "AWS_CONFIG_FILE=/dev/null/x",
            "AWS_PROFILE=p",
        ),
        "not-utf-8": ("CAS_STORE=/\udcff", "CAS_MODEL=\udcff", "CAS_DEPLOYMENT=\udcff", "HF_HOME=\udcff"),
    }.items():
        yield "environment", name, "\n".join(lines).encode(errors="surrogateescape")


def _files() -> Iterator[tuple[str, str, bytes]]:
    """Yield small files of tensors, and frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        trained_like(_SHAPES, path, 0, header_note="note")
        tensors = path.read_bytes()
        write_gguf(path, {"a": np.ones((2, 32), np.float32), "b": np.ones(3, np.float16)}, {"a"})
        gguf = path.read_bytes()
        write_torch_zip(path, Weights(_SHAPES, Recipe(0)))
        yield "zip", "torch", path.read_bytes()
        vocos(Path(folder), shrink=400)
        yield "speech_config", "vocos-yaml", Path(folder, "config.yaml").read_bytes()
    yield "safetensors", "small", tensors
    yield "safetensors", "cut", tensors[:-1]
    yield "safetensors", "empty", (2).to_bytes(8, "little") + b"{}"
    yield "safetensors", "long", (2**63).to_bytes(8, "little") + b"{}"
    yield "gguf", "small", gguf
    yield "gguf", "counts", struct.pack("<4sIQQ", b"GGUF", 3, 2**18, 2**64 - 1) + b"\0" * 64
    yield "gguf", "array", struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 1, 1, 1, b"a", 9, 8, 2**64 - 1)
    yield from _zips()
    yield from _tars()
    yield "onnx", "small", b"\x08\x08\x12\x01t\x3a\x2b\x2a\x29\x08\x08\x10\x01\x42\x01w\x4a\x20" + bytes(32)
    yield "onnx", "far", b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    plain = bytes(range(256)) * 8
    for width in (1, 2, 4, 7):
        yield "frame", f"width-{width}", bytes(frame.Encoder().encode(plain, width))
        yield "planes", f"width-{width}", bytes([width]) + plain[:512]
    yield "frame", "empty", bytes(frame.Encoder().encode(b"", 1))
    yield (
        "frame",
        "claims-64-mib",
        struct.pack("<II4sBBHQ", 0x184D2A5C, 16, b"CAS1", 1, 2, 0, 1 << 26) + b"\x28\xb5\x2f\xfd",
    )
    yield "planes", "sampled", bytes([0]) + np.arange(256, dtype="<f4").tobytes()


def _tars() -> Iterator[tuple[str, str, bytes]]:
    for name, kind in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
            for member, data in (("a" * (90 if name == "ustar" else 120), b"{}"), ("w.npz", b"PK\5\6" + bytes(18))):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                if name == "pax":
                    info.pax_headers = {"size": str(len(data))}
                archive.addfile(info, io.BytesIO(data))
        yield "tar", name, out.getvalue()[:4096]
        yield "archive", name, out.getvalue()[:4096]


def _zips() -> Iterator[tuple[str, str, bytes]]:
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            infos = [zipfile.ZipInfo(member) for member in ("a/data.pkl", "a/data/0")]  # of 1980
            for info in infos:
                info.compress_type = method
            archive.writestr(infos[0], b"x" * 64)
            archive.comment = b"comment"
            with archive.open(infos[1], "w", force_zip64=True) as file:
                file.write(bytes(64))
        yield "zip", name, out.getvalue()
        yield "zip", f"{name}-cut", out.getvalue()[:-8]
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0)
    yield "zip", "many-disks", b"PK\3\4" + bytes(60) + struct.pack("<4sIQI", b"PK\6\7", 1, 0, 2) + end
    yield "zip", "far-record", b"PK\3\4" + bytes(60) + struct.pack("<4sIQI", b"PK\6\7", 0, 2**64 - 1, 1) + end
    yield "zip", "page", b"<!DOCTYPE html><html></html>"
    yield "zip", "pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + _HEX.encode() + b"\nsize 1\n"
    yield "zip", "link", b"../../blobs/" + _HEX.encode()


def main() -> None:
    """Write every seed into the corpus."""
    for target, name, data in seeds():
        path = CORPUS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
