"""Speakers whom a checkpoint's model knows: enrolled from audio files, kept beside the checkpoint."""

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from benchmarks.data.audio import audio_blocks
from benchmarks.deploy.recogniser import Recogniser
from benchmarks.deploy.timeline import speech_in
from benchmarks.errors import RunError
from dsnet_plugin import CheckpointError, Speaker
from dsnet_plugin.enrolment import check_enrolled


def enrol_files(recogniser: Recogniser, files: Iterable[Path]) -> Speaker:
    """Enrols a speaker from recordings of any length, window by window; windows without speech are left out.

    Raises:
        AudioError: a file that cannot be read.
        RunError: no speech in any, or a model that enrols nobody.
    """
    return recogniser.enrol(chain.from_iterable(speech_in(audio_blocks(file), recogniser.seconds) for file in files))


def speaker_file(checkpoint: Path, name: str) -> Path:
    """Where a speaker of this name is kept.

    Raises:
        RunError: a name that is no file name.
    """
    if not re.fullmatch(r"[\w-][\w.-]{0,99}", name):
        raise RunError(f"speaker {name!r}: expected a name of letters, digits, dots, hyphens and underscores")
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return folder / "speakers" / f"{name}.safetensors"


def load_speaker(recogniser: Recogniser, checkpoint: Path, name: str) -> Speaker:
    """The speaker of this name.

    Raises:
        RunError: nobody of this name; says who there is.
        CheckpointError: damaged, or enrolled by another model.
    """
    file = speaker_file(checkpoint, name)
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.safetensors"))) or "nobody"
        raise RunError(
            f"--speaker {name}: not enrolled; known here: {known}. dsnet enrol {checkpoint} {name} FILE enrols them"
        )
    speaker = Speaker.load(file)
    try:
        check_enrolled(speaker, recogniser.digest())
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    return speaker
