"""F5-TTS and its vocoder, made in steps: each step is done as soon as the files that it needs are on this machine.

    make_networks   vocabulary and both configs: the networks, with made-up weights; what they speak is noise
    fill            one file of weights: its network gets them
    finish          all files: everything that was not done yet, or was done with another file

What was made of a file that came early counts only if, at the end, that very file is the one to be used, and has not
changed since it was verified: the rule is that of `ModelFile.unchanged`, as for a file that is read at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal

from cas.config import read
from cas.errors import FormatError
from worker.speech import configs, gpu_errors, model_files, networks
from worker.speech.empty_weights import memory_for
from worker.speech.f5 import Speaker
from worker.speech.model_files import Identity, ModelFiles, ReadableFile
from worker.speech.vocabulary import read_vocabulary, shipped

Weights = Literal["weights", "vocoder_weights"]
"""A file of weights: F5-TTS's own, or its vocoder's; the name of its field in `ModelFiles`."""

WEIGHTS: tuple[Weights, ...] = ("vocoder_weights", "weights")
"""Both, the smaller first."""

OfNetworks = Literal["vocabulary", "config", "vocoder_config"]
"""A file that a network is made from; the name of its field in `ModelFiles`."""

OF_NETWORKS: tuple[OfNetworks, ...] = ("vocabulary", "config", "vocoder_config")
"""All of them; the first two may be missing."""


class Loading:
    """One loading of F5-TTS, by one thread at a time.

    Attributes:
        speaker: speaks noise until `finish`; None before the networks are made.
    """

    def __init__(self, device: str, *, config: Path | None = None) -> None:
        """Read no file yet.

        Args:
            device: such as "cuda" or "cpu".
            config: an architecture in the form of F5-TTS's configs; else what CAS_F5_CONFIG says: a file, or the name
                of a config that f5_tts ships; else that of the version; else one that f5_tts ships: that of the name
                of the weights' folder, as in F5-TTS's repos, or v1 Base.
        """
        if config is None and (named := read("CAS_F5_CONFIG")):
            config = networks.shipped_config(named) or Path(named)
        self._config = config
        self._roles: tuple[OfNetworks, ...] = tuple(role for role in OF_NETWORKS if role != "config" or config is None)
        self._device = device
        self._used: dict[str, Identity | None] = {}  # the file that each step was done with; None: there is none
        self._folder = ""
        self._vocabulary = read_vocabulary(shipped())
        self._memory: dict[str, Any] | None = None  # for F5-TTS's weights; None until it is taken
        self.speaker: Speaker | None = None

    def make_networks(self, files: Mapping[OfNetworks, ReadableFile], weights: PurePath) -> Speaker:
        """Make both networks on the device, with made-up weights.

        Args:
            files: those of OF_NETWORKS that there are.
            weights: path in its repo of the file of weights, to read nothing of it: its folder may be named after a
                config.

        Raises:
            IntegrityError: a file changed since it was verified.
            FormatError: a config is damaged, or describes no network; the vocabulary is damaged.
        """
        self._used, self._memory, self.speaker = {}, None, None
        used: dict[str, Identity | None] = dict.fromkeys(OF_NETWORKS)
        with contextlib.ExitStack() as stack:
            paths = {role: stack.enter_context(files[role].unchanged()) for role in self._roles if role in files}
            used |= {role: model_files.identity(path) for role, path in paths.items()}
            vocabulary = read_vocabulary(paths.get("vocabulary") or shipped())
            network = networks.speech_network(self._architecture(paths.get("config"), weights), vocabulary)
            vocoder = networks.vocoder_network(paths["vocoder_config"])
        speaker = Speaker(
            networks.made_up(network, self._device, networks.precision(self._device)),
            networks.made_up(vocoder, self._device),
            self._device,
        )
        self._used, self._folder, self._vocabulary, self.speaker = used, weights.parent.name, vocabulary, speaker
        return speaker

    def _architecture(self, of_version: Path | None, weights: PurePath) -> configs.Architecture:
        config, folder = self._config or of_version, weights.parent.name
        if config is None and folder.endswith("_bigvgan"):
            raise FormatError(f"{weights} is for the vocoder bigvgan: only vocos is supported here")
        config = config or networks.shipped_config(folder) or networks.shipped_config(networks.DEFAULT)
        assert config, "f5_tts ships it"
        return configs.read_architecture(config)

    @property
    def wants_memory(self) -> bool:
        """Whether memory for F5-TTS's weights can be taken before they come: on a CPU, once."""
        return self._device == "cpu" and self._memory is None

    def take_memory(self) -> None:
        """Take the memory for F5-TTS's weights from the system, which then need only be copied into it."""
        assert self.speaker, "make the networks first"
        self._memory = memory_for(self.speaker.model, networks.precision(self._device))

    def fill(self, role: Weights, file: ReadableFile) -> None:
        """Give a network its weights.

        Args:
            role: which network's.
            file: the file that has them.

        Raises:
            IntegrityError: the file changed since it was verified.
            FormatError: it is damaged, or does not fit the network or the vocabulary.
        """
        assert self.speaker, "make the networks first"
        self._used.pop(role, None)
        with file.unchanged() as path:
            identity = model_files.identity(path)
            if role == "weights":
                model, memory = self.speaker.model, self._memory
                networks.fill_speech(model, path, file.name, self._device, self._vocabulary, memory)
            else:
                networks.fill_vocoder(self.speaker.vocoder, path, self._device)
        self._used[role] = identity

    @gpu_errors.while_loading()
    def finish(self, files: ModelFiles) -> Speaker:
        """Do what was not done yet, or was done with another file, and return the speaker.

        Args:
            files: the files of the model, all of which are on this machine.

        Raises:
            IntegrityError: a file changed since it was verified, or was never verified and has to be.
            FormatError: a file is damaged, or does not fit the others.
            GpuFailed: the GPU cannot run the model.
        """
        weights = files.weights.path_in_repo
        if weights.parent.name != self._folder or not all(
            self._is_used(role, getattr(files, role)) for role in self._roles
        ):
            self.make_networks(dict(_of_networks(files)), weights)
        if files.vocabulary:  # errors name the file in its snapshot
            self._vocabulary = self._vocabulary._replace(source=str(files.vocabulary.path))
        for role in WEIGHTS:
            file: ReadableFile = getattr(files, role)
            if not self._is_used(role, file):
                self.fill(role, file)
        assert self.speaker
        return self.speaker

    def _is_used(self, role: str, file: ReadableFile | None) -> bool:
        """Return whether a step was done with this very file, which has not changed since it was verified."""
        if role not in self._used:
            return False
        if file is None:
            return self._used[role] is None
        with file.unchanged() as path:
            return model_files.identity(path) == self._used[role]


def _of_networks(files: ModelFiles) -> Iterator[tuple[OfNetworks, ReadableFile]]:
    for role in OF_NETWORKS:
        file: ReadableFile | None = getattr(files, role)
        if file is not None:
            yield role, file
