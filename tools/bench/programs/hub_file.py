"""Download one URL as `hf download` does, to a file: `hub_file.py URL FILE`."""

import sys
from pathlib import Path

from huggingface_hub.file_download import http_get

url, target = sys.argv[1:]
with Path(target).open("wb") as file:
    http_get(url, file)
