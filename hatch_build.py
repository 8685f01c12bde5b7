"""What an archive says of itself beyond pyproject.toml: addresses of the project, and a README whose links hold.

PROJECT_URL is where this repository is published, as https://github.com/OWNER/model-cas: the release workflow sets it.
With it, links and pictures of the README become absolute, at the tag of this version, as an index shows the text alone.
Without it there are no addresses: links to files lose their target, and pictures go.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\((?!https?:)([^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]*`(?!\]))", re.MULTILINE | re.DOTALL)


class ProjectMetadata(MetadataHookInterface):
    """Adds `readme` and `urls` to the project's metadata."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them to `metadata`."""
        root, home = Path(self.root), os.environ.get("PROJECT_URL", "").strip().rstrip("/")
        version = re.findall(r'__version__ = "(.+)"', (root / "cas/version.py").read_text("utf-8"))[0]
        text = for_the_index((root / "README.md").read_text("utf-8"), home, f"v{version}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if home:
            metadata["urls"] = {
                "Homepage": home,
                "Documentation": f"{home}/blob/v{version}/docs/tutorial.md",
                "Changelog": f"{home}/blob/v{version}/CHANGELOG.md",
                "Issues": f"{home}/issues",
            }


def for_the_index(text: str, home: str, tag: str) -> str:
    """Return a README as an index can show it.

    Args:
        text: the README, in Markdown.
        home: the address of the repository; empty where it has none.
        tag: the tag of the version.
    """

    def link(match: re.Match[str]) -> str:
        picture, label, target = match[1], match[2], match[3]
        if not home:
            return "" if picture else label
        return f"{picture}[{label}]({home}/{'raw' if picture else 'blob'}/{tag}/{target})"

    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _LINK.sub(link, part) for part in parts)
