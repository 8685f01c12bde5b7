"""Read the tensors of a safetensors file into memory: `streamer.py s3://BUCKET/KEY`."""

import json
import sys
import time

begun = time.monotonic()

from runai_model_streamer import SafetensorsStreamer  # noqa: E402 (its own imports, torch first, are timed)

imported = time.monotonic()
size = 0
with SafetensorsStreamer() as streamer:
    streamer.stream_files([sys.argv[1]])
    for _, tensor in streamer.get_tensors():
        size += tensor.nbytes
print(json.dumps({"imports": imported - begun, "bytes": size}))
