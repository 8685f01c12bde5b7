"""Download repositories from HF_ENDPOINT, as `hf download` does: `hub_snapshots.py CACHE_DIR ORG/NAME...`."""

import sys

from huggingface_hub import snapshot_download

cache_dir, *repos = sys.argv[1:]
for repo in repos:
    snapshot_download(repo, cache_dir=cache_dir)
