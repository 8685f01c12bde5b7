"""Add hashes to lock files: `python -m tools.lock [FILE...]`, all of requirements/ by default.

`pip freeze | python -m tools.lock --divide NAME...` writes lock files without hashes: requirements/NAME.lock gets the
packages that requirements/NAME.in names, and the last one all others.

pip then installs exactly the files that the registry had when the lock was made (`--require-hashes`), whatever a
registry or a mirror serves later. `uv pip compile` asks the registry for the hashes of every file of a version, so one
lock serves all platforms. `uv` has to be on the PATH; `make lock` installs it for the time of the call.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"

_COMPILE = ("uv", "pip", "compile", "--quiet", "--no-deps", "--universal", "--python-version", "3.11")
_PLAIN = ("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links")


def pins(text: str) -> Iterator[str]:
    """Yield the pins of a lock file, `NAME==VERSION` with a marker where there is one, without hashes and comments."""
    for line in text.splitlines():
        pin = line.removesuffix("\\").strip()
        if pin and not pin.startswith(("#", "--hash=")):
            yield pin


def with_hashes(text: str, compiled: str) -> str:
    """Return the text of a lock file with a hash for every file of each version; comments, names and order stay.

    Args:
        text: the lock file, with or without hashes.
        compiled: the same pins, as uv prints them: names normalised, each followed by its hashes.

    Raises:
        KeyError: a pin is not among the compiled ones.
    """
    hashes: dict[str, list[str]] = {}
    name = ""
    for line in compiled.splitlines():
        if match := re.match(r"\s+(--hash=sha256:[0-9a-f]{64})", line):
            hashes[name].append(match[1])
        else:
            name = _normalized(line)
            hashes[name] = []
    lines = [line for line in text.splitlines() if line.startswith("#")]
    lines += [" \\\n    ".join([pin, *sorted(set(hashes[_normalized(pin)]))]) for pin in pins(text)]
    return "\n".join(lines) + "\n"


def divided(frozen: str, wanted: Sequence[str]) -> list[str]:
    """Divide what `pip freeze` lists among lock files without hashes, and return the text of each.

    Args:
        frozen: pins, one a line.
        wanted: for each lock file, requirements that name its packages, one a line, with a marker where a package is
            for some platforms only; the last lock file gets all that none of them names, too.

    Raises:
        KeyError: a package is named twice, or was not installed.
    """
    left = {_normalized(pin): pin for pin in pins(frozen)}
    found = []
    for text in wanted:
        lock = []
        for requirement in pins(text):
            name, _, marker = requirement.partition(";")
            pin = left.pop(_normalized(re.split(r"[=<>~!\[]", name)[0]))
            lock.append(f"{pin}; {marker.strip()}" if marker else pin)
        found.append(lock)
    found[-1] += left.values()
    return ["\n".join(sorted(lock, key=str.lower)) + "\n" for lock in found]


def _normalized(pin: str) -> str:
    return re.sub(r"[-_.]+", "-", pin.partition("==")[0]).strip().lower()


def main(words: list[str]) -> None:
    """Write the lock files that the arguments name, or add hashes to the files named, or to all lock files."""
    if words[:1] == ["--divide"]:
        wanted = [(REQUIREMENTS / f"{name}.in").read_text("utf-8") for name in words[1:]]
        for name, text in zip(words[1:], divided(sys.stdin.read(), wanted), strict=True):
            (REQUIREMENTS / f"{name}.lock").write_text(text, "utf-8")
        return
    for path in map(Path, words) if words else sorted(REQUIREMENTS.glob("*.lock")):
        bare = "\n".join(pins(path.read_text("utf-8"))) + "\n"
        compiled = subprocess.run([*_COMPILE, *_PLAIN, "-"], input=bare, capture_output=True, text=True, check=True)
        path.write_text(with_hashes(path.read_text("utf-8"), compiled.stdout), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
