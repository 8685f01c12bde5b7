"""Run in the worker's environment, warm: loads and speaks as a job does, and tells what is imported.

Arguments: the hub cache, and a recording.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.worker.speech.clients import absent
from worker.speech import configs, f5, model_files, networks, sound
from worker.speech.speaker import Manner


def main() -> None:
    answer = {"first": sorted(sys.modules)}
    hub, recording = map(Path, sys.argv[1:])
    speaker = f5.load(model_files.find(hub, must_be_verified=True), "cpu")
    speaker.warm_up()
    spoken = speaker.speak("So, 你好, and no more.", recording.read_bytes(), "Words.", manner=Manner(nfe_step=2))
    samples = sound.without_silence(spoken.samples, spoken.rate)
    answer["bytes"] = [len(sound.encode(samples, spoken.rate, kind)) for kind in sound.FORMATS]  # type: ignore[assignment]
    answer["then"] = sorted(sys.modules)
    # The network of E2-TTS; the third kind has no config that F5-TTS ships.
    e2 = networks.shipped_config("E2TTS_Base")
    assert e2
    others = networks.speech_network(configs.read_architecture(e2)).transformer, networks._backbone("MMDiT")
    answer["others"] = [type(others[0]).__name__, others[1].__name__]
    answer["looked for"] = absent.looked_for
    print(json.dumps(answer), file=sys.__stdout__)


if __name__ == "__main__":
    main()
