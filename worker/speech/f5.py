"""F5-TTS, loaded and speaking.

The audio is that of `f5_tts.api.F5TTS` for the same seed and settings, as far as that is reproducible: F5TTS makes the
parts of a long text in several threads, which draw from one random generator in any order. Here the parts are made
one after the other, so that one seed always gives the same audio.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from msgspec import structs

from cas.errors import InputError
from worker.speech import gpu_errors, inference, reference
from worker.speech.model_files import ModelFiles
from worker.speech.reference import Voice
from worker.speech.sound import Samples
from worker.speech.speaker import Manner, OnStep, Passage
from worker.speech.spectrum import RATE
from worker.speech.text_parts import CROSS_FADE, check_length, faded, seconds, sentences, split

_WAIT = 600.0  # seconds for another inference to end


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


class _Span(NamedTuple):
    """Parts of a text that one voice speaks at one speed."""

    parts: list[str]
    voice: Voice
    speed: float


class Speaker:
    """F5-TTS with its vocoder in memory; it makes one inference at a time, and any thread may call it.

    Attributes:
        model: F5-TTS's CFM.
        vocoder: a Vocos.
        device: such as "cuda" or "cpu".
        rate: samples in a second of the audio that it makes.
    """

    rate: int = RATE

    def __init__(self, model: Any, vocoder: Any, device: str) -> None:
        self.model, self.vocoder, self.device = model, vocoder, device
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        # Weakly: in a cycle the networks of a loading that begins anew would stay in memory beside the new ones.
        model.transformer.register_forward_pre_hook(partial(_between_steps, weakref.ref(self)))

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
            GpuFull: the GPU has too little memory.
            WorkerBroken: the GPU failed.
        """
        passage = Passage(text, ref_audio, ref_text)
        waves = self.recite([passage], by_sentence=False, manner=manner, step=step, stop=stop)
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
        passage = Passage(text, ref_audio, ref_text)
        return self.recite([passage], by_sentence=True, manner=manner, step=step, stop=stop)

    def recite(
        self,
        passages: Sequence[Passage],
        *,
        by_sentence: bool,
        manner: Manner,
        step: OnStep | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[Samples]:
        """Yield the audio of passages, each in its voice, in parts as soon as they are made.

        One passage follows the other without a cross-fade, as in F5-TTS's infer_cli; within one there is a cross-fade.

        Args:
            passages: what to say, in whose voice.
            by_sentence: make each sentence by itself, as `stream` does.
            manner: how to say it, and with which seed; a passage may have its own speed.
            step: called with the progress.
            stop: set it from another thread to end the inference at its next step.

        Raises:
            InputError, Stopped, Busy, WorkerBroken: as `speak`.
        """
        voices: dict[tuple[int, str], Voice] = {}  # each recording is prepared once
        spans = []
        for passage in passages:
            known = (id(passage.ref_audio), passage.ref_text)
            if known not in voices:
                voices[known] = _prepared(passage)
            speed = manner.speed if passage.speed is None else passage.speed
            texts = sentences(passage.text) if by_sentence else [passage.text]
            spans.append(_Span(split(texts, voices[known], speed), voices[known], speed))
        spans = [span for span in spans if span.parts]
        if not spans:
            raise InputError("the text is empty: send what to say")
        check_length(sum(seconds(*span) for span in spans))
        return self._parts(spans, manner, step or _ignore, stop)

    @gpu_errors.while_loading()
    def warm_up(self, *, briefly: bool = False) -> None:
        """Speak two words in a made-up voice, so that no job waits for what happens at the first inference only.

        Args:
            briefly: make one step of a quarter of the length, which calls everything once: enough where there are no
                kernels to load for the lengths of a job, or where they are loaded.
        """
        seconds, steps = (0.25, 1) if briefly else (1.0, 2)
        tone = 0.1 * np.sin(np.linspace(0, 220 * 2 * np.pi * seconds, int(self.rate * seconds)))
        voice = Voice(tone.astype(np.float32)[None], self.rate, "A tone. ")
        self.speak("Warm up, 你好.", voice, manner=Manner(seed=0, nfe_step=steps))

    def _parts(
        self, spans: list[_Span], manner: Manner, step: OnStep, stop: threading.Event | None
    ) -> Iterator[Samples]:
        count, numbers = sum(len(span.parts) for span in spans), itertools.count()

        def begin() -> None:
            step(next(numbers), count)

        with self._alone(stop):
            _seed_everything(manner.seed)
            for parts, voice, speed in spans:
                prompt = inference.prompt(voice, self.device)
                waves = self._each(prompt, parts, structs.replace(manner, speed=speed), begin)
                yield from faded(waves, len(parts), int(CROSS_FADE * self.rate))

    def _each(
        self, prompt: inference.Prompt, parts: list[str], manner: Manner, begin: Callable[[], None]
    ) -> Iterator[Samples]:
        for part in parts:
            begin()
            try:
                wave = inference.speak(self.model, self.vocoder, prompt, part, manner)
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
            with gpu_errors.in_job(self.device):
                yield
        finally:
            self._stop = None
            self._lock.release()


def load(files: ModelFiles, device: str, *, config: Path | None = None) -> Speaker:
    """Load F5-TTS and Vocos.

    Args:
        files: what to load them from.
        device: such as "cuda" or "cpu".
        config: an architecture in the form of F5-TTS's configs; else what `loading.Loading` finds.

    Raises:
        IntegrityError: a file changed since it was verified.
        FormatError: a file is damaged, or does not fit the architecture or the vocabulary.
        GpuFailed: the GPU cannot run the model.
    """
    from worker.speech.loading import Loading  # it makes speakers of this module

    return Loading(device, config=config).finish(files)


def _prepared(passage: Passage) -> Voice:
    if isinstance(passage.ref_audio, Voice):
        return passage.ref_audio
    try:
        return reference.prepare(passage.ref_audio, passage.ref_text)
    except InputError as error:
        if not passage.voice:
            raise
        raise InputError(f"{passage.voice}: {error}") from error


def _between_steps(speaking: weakref.ref[Speaker], *_: object) -> None:
    """End the inference if it is to stop."""
    speaker = speaking()
    if speaker is not None and speaker._stop is not None and speaker._stop.is_set():
        raise Stopped("the inference was stopped")


def _ignore(_done: int, _count: int) -> None:
    pass


def _seed_everything(seed: int) -> None:
    """As f5_tts.model.utils.seed_everything, without PYTHONHASHSEED: no Python starts with a value from 2**32 on."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
