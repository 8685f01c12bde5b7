"""F5-TTS, loaded and speaking.

The audio is that of `f5_tts.api.F5TTS` for the same seed and settings, as far as that is reproducible: F5TTS makes the
parts of a long text in several threads, which draw from one random generator in any order. Here the parts are made
one after the other, so that one seed always gives the same audio.

f5_tts.infer.utils_infer, when it is imported, looks for a device, sets PYTORCH_ENABLE_MPS_FALLBACK, appends to sys.path
and makes matplotlib draw without a display. Nothing here depends on the device that it finds.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from f5_tts.infer.utils_infer import cross_fade_duration, infer_batch_process, target_sample_rate

from cas.config import read
from cas.errors import InputError
from worker.errors import WorkerBroken
from worker.speech import configs, model_files, networks, reference
from worker.speech.reference import Voice
from worker.speech.sound import Samples
from worker.speech.speaker import Manner, OnStep
from worker.speech.text_parts import faded, sentences, split

_WAIT = 600.0  # seconds for another inference to end
_WHOLE = 1 << 40  # samples in a chunk of F5-TTS's output: each part of a text is one chunk


class Stopped(Exception):
    """The caller asked to stop in the middle of an inference."""


class Busy(Exception):
    """Another inference did not end in time."""


class Spoken(NamedTuple):
    """Speech, and the seed that it was made with.

    Attributes:
        samples: mono, -1 to 1.
        rate: samples in a second.
        seed: gives the same samples again.
    """

    samples: Samples
    rate: int
    seed: int


class Speaker:
    """F5-TTS with its vocoder in memory; it makes one inference at a time, and any thread may call it.

    Attributes:
        model: F5-TTS's CFM.
        vocoder: a Vocos.
        device: such as "cuda" or "cpu".
        rate: samples in a second of the audio that it makes.
    """

    rate: int = target_sample_rate

    def __init__(self, model: Any, vocoder: Any, device: str) -> None:
        self.model, self.vocoder, self.device = model, vocoder, device
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        model.transformer.register_forward_pre_hook(self._between_steps)

    def speak(
        self,
        text: str,
        ref_audio: bytes | Voice,
        ref_text: str = "",
        *,
        manner: Manner,
        step: OnStep | None = None,
        stop: threading.Event | None = None,
    ) -> Spoken:
        """Say `text` in the voice of the reference.

        Args:
            text: what to say; longer ones are split at punctuation, as F5-TTS does.
            ref_audio: a recording of the voice (wav, flac, mp3, ogg), or the result of `reference.prepare`.
            ref_text: what is said in the recording.
            manner: how to say it, and with which seed.
            step: called with the progress.
            stop: set it from another thread to end the inference at its next step.

        Raises:
            InputError: the text is empty, or the reference cannot be used.
            Stopped: `stop` was set.
            Busy: another inference took longer than ten minutes.
            WorkerBroken: the GPU failed.
        """
        waves = self._speak([text], ref_audio, ref_text, manner, step, stop)
        return Spoken(np.concatenate(list(waves)), self.rate, manner.seed)

    def stream(
        self,
        text: str,
        ref_audio: bytes | Voice,
        ref_text: str = "",
        *,
        manner: Manner,
        step: OnStep | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[Samples]:
        """Yield the audio sentence by sentence, each as soon as it is made.

        Arguments and errors are those of `speak`. The intonation differs: `speak` says several sentences at once.
        Other inferences wait until the iterator ends or is closed.
        """
        return self._speak(sentences(text), ref_audio, ref_text, manner, step, stop)

    def _speak(
        self,
        texts: list[str],
        ref_audio: bytes | Voice,
        ref_text: str,
        manner: Manner,
        step: OnStep | None,
        stop: threading.Event | None,
    ) -> Iterator[Samples]:
        voice = ref_audio if isinstance(ref_audio, Voice) else reference.prepare(ref_audio, ref_text)
        parts = split(texts, voice, manner.speed)
        if not parts:
            raise InputError("the text is empty: send what to say")
        return self._parts(parts, voice, manner, step, stop)

    def warm_up(self) -> None:
        """Speak two words in a made-up voice, so that no job waits for what happens at the first inference only."""
        tone = 0.1 * np.sin(np.linspace(0, 220 * 2 * np.pi, self.rate))
        voice = Voice(tone.astype(np.float32)[None], self.rate, "A tone. ")
        self.speak("Warm up, 你好.", voice, manner=Manner(seed=0, nfe_step=2))

    def _parts(
        self, parts: list[str], voice: Voice, manner: Manner, step: OnStep | None, stop: threading.Event | None
    ) -> Iterator[Samples]:
        with self._alone(stop):
            _seed_everything(manner.seed)
            waves = infer_batch_process(
                (torch.from_numpy(voice.samples), voice.rate),
                voice.text,
                parts,
                self.model,
                self.vocoder,
                progress=None,
                device=self.device,
                streaming=True,
                chunk_size=_WHOLE,
                speed=manner.speed,
                nfe_step=manner.nfe_step,
                cfg_strength=manner.cfg_strength,
            )
            yield from faded(
                self._each(waves, len(parts), step or _ignore), len(parts), int(cross_fade_duration * self.rate)
            )

    def _each(self, waves: Iterator[tuple[Any, int]], count: int, step: OnStep) -> Iterator[Any]:
        for done in range(count):
            step(done, count)
            try:
                wave, _ = next(waves, (np.zeros(0, np.float32), self.rate))  # F5-TTS yields no wave if it is empty
            finally:
                # F5-TTS stores the text's embedding for the thread, and drops it only if there was no error.
                self.model.transformer.clear_cache()
            yield wave

    @contextlib.contextmanager
    def _alone(self, stop: threading.Event | None) -> Iterator[None]:
        """Wait for other inferences: all of them share the random generator, the hook and the caches."""
        if not self._lock.acquire(timeout=_WAIT):
            raise Busy(f"another inference has not ended in {_WAIT:g} s: send the job again, or restart the worker")
        try:
            self._stop = stop
            yield
        except torch.AcceleratorError as error:  # after it, CUDA refuses every further call of the process
            raise WorkerBroken(f"the GPU failed ({str(error).partition(chr(10))[0]}): send the job again") from error
        finally:
            self._stop = None
            self._lock.release()

    def _between_steps(self, *_: object) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Stopped("the inference was stopped")


def load(hub: Path, device: str, *, config: Path | None = None, must_be_verified: bool = False) -> Speaker:
    """Load F5-TTS and Vocos from a hub cache.

    Args:
        hub: a Hugging Face hub cache.
        device: such as "cuda" or "cpu".
        config: an architecture in the form of F5-TTS's configs; else what CAS_F5_CONFIG names, else the one beside
            the weights, else v1 Base.
        must_be_verified: refuse files that no restore has verified; else only what changed since then is refused.

    Raises:
        NotFoundError: a file is not in the cache.
        IntegrityError: a file changed since it was verified.
        FormatError: a file is damaged, or does not fit the architecture.
    """
    files = model_files.find(hub, must_be_verified=must_be_verified)
    if config is None and (named := read("CAS_F5_CONFIG")):
        config = Path(named)
    if config is None and files.config is not None:
        with files.config.unchanged() as path:
            network = configs.read_architecture(path)
    else:
        network = configs.read_architecture(config or networks.shipped_config())
    vocoder = networks.vocoder(files.vocoder_config, files.vocoder_weights, device)
    return Speaker(networks.speech_model(network, files.weights, device), vocoder, device)


def _ignore(_done: int, _count: int) -> None:
    pass


def _seed_everything(seed: int) -> None:
    """As f5_tts.model.utils.seed_everything, without PYTHONHASHSEED: no Python starts with a value from 2**32 on."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
