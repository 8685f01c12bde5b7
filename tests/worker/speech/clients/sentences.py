"""Run in the worker's environment: the sentences of each text that is an argument."""

from __future__ import annotations

import json
import sys

from worker.speech.text_parts import sentences

print(json.dumps([sentences(text) for text in sys.argv[1:]]))
