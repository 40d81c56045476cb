"""``dsnet predict``: the emotion of audio files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.errors import RunError
from benchmarks.output.formats import terminal
from benchmarks.output.printable import printable
from benchmarks.output.run_folder import model_file
from benchmarks.output.table import Table
from dsnet_plugin import DSNetError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.deploy.recogniser import Recogniser
    from benchmarks.deploy.timeline import Answer


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files of any sampling rate and channel count.")],
    neutral: Annotated[
        list[Path] | None,
        typer.Option(
            help="A neutral recording of the speaker of all FILES, for a method that takes one (dsc, dsnet-enrolled); dsnet-enrolled takes several, each with the option."
        ),
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="The speaker of all FILES, whom 'dsnet enrol' knows by this name.")
    ] = None,
    same_speaker: Annotated[
        bool, typer.Option(help="FILES are of one speaker, whom the model enrols from them, without a label.")
    ] = False,
    window: Annotated[
        float | None, typer.Option(help="Seconds that are heard at once.  [default: as many as in training]")
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from window to window of a longer file.  [default: half a window]")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="A folder for a CSV file and a picture of each file with several windows.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
) -> None:
    """Tells the emotion of audio files.

    A file that is longer than the model hears is heard window by window; its row is the mean of them. Files that cannot be
    read are named on standard error; the others are predicted all the same, and the status is 2.

    \b
    Example:
      dsnet predict runs/synthetic/synthetic/cnn/dsnet/seed-0/fold-00 hello.wav
    """
    if sum([bool(neutral), speaker is not None, same_speaker]) > 1:
        raise RunError("expected one of --neutral, --speaker and --same-speaker")
    model_file(checkpoint)
    from tqdm import tqdm

    from benchmarks.data.audio import audio_blocks  # torch
    from benchmarks.deploy.recogniser import Recogniser
    from benchmarks.deploy.timeline import listen

    recogniser = Recogniser(checkpoint)
    window, hop = _checked(window, hop, recogniser.seconds)
    beside = _beside(recogniser, checkpoint, files, neutral or [], speaker, same_speaker)
    answers: dict[Path, Answer] = {}
    broken = []
    for file in dict.fromkeys(files):
        try:
            # A bar for who waits at a terminal: a minute of speech may take several seconds.
            with tqdm(desc=printable(file), unit="window", delay=1, leave=False, disable=None) as bar:

                def hear(waveform: "Tensor", bar: Any = bar) -> dict[str, float]:
                    bar.update()
                    return recogniser.probabilities(waveform, **beside)

                answers[file] = listen(audio_blocks(file), hear, window, hop)
            _remark(file, answers[file])
        except DSNetError as error:
            broken.append(str(error))
    if timeline is not None:
        _write(answers, recogniser.classes, timeline)
    if as_json:
        typer.echo(json.dumps([{"file": str(file), **answer.record()} for file, answer in answers.items()], indent=2))
    elif answers:
        rows = [[printable(file), *_row(answer, recogniser.classes)] for file, answer in answers.items()]
        typer.echo(terminal(Table(["file", "emotion", *recogniser.classes], rows, left=2)))
    for line in broken:
        typer.echo(f"dsnet: {printable(line)}", err=True)
    if broken:
        raise typer.Exit(2)


def _beside(
    recogniser: "Recogniser",
    checkpoint: Path,
    files: Sequence[Path],
    neutral: Sequence[Path],
    speaker: str | None,
    same_speaker: bool,
) -> dict[str, Any]:
    """What the model hears of the speaker beside each file: the arguments of :meth:`Recogniser.probabilities`.

    Raises:
        RunError: the method takes no neutral speech, or needs what is not given.
        AudioError: a neutral recording that cannot be read.
        CheckpointError: no such speaker, or one whom another model enrolled.
    """
    from benchmarks.data.audio import read_audio
    from benchmarks.deploy.enrolled import enrol_files, load_speaker

    if recogniser.needs_neutral:
        if len(neutral) != 1:
            raise RunError(
                f"{recogniser.name} needs neutral speech of the speaker of the files: give it with --neutral FILE"
            )
        return {"neutral": read_audio(neutral[0], recogniser.seconds)}
    if neutral and not recogniser.enrols:
        raise RunError(f"--neutral {neutral[0]}: {recogniser.name} takes no neutral recording; leave the option out")
    if not recogniser.enrols and (speaker is not None or same_speaker):
        raise RunError(f"{recogniser.name} enrols no speaker; leave --speaker and --same-speaker out")
    if speaker is not None:
        return {"speaker": load_speaker(recogniser, checkpoint, speaker)}
    if neutral or same_speaker:
        return {"speaker": enrol_files(recogniser, neutral or files)}
    return {}


def _checked(window: float | None, hop: float | None, heard: float) -> tuple[float, float]:
    """Window and hop in seconds.

    Raises:
        RunError: a window that the model does not hear, or a hop that leaves out a part of the file.
    """
    window = heard if window is None else window
    if not 0.025 <= window <= heard:
        raise RunError(
            f"--window {window:g}: expected 0.025 to {heard:g} seconds, which is what this model hears at once"
        )
    hop = window / 2 if hop is None else hop
    if not 0.01 <= hop <= window:
        raise RunError(
            f"--hop {hop:g}: expected 0.01 to {window:g} seconds, so that nothing between windows is left out"
        )
    return window, hop


def _remark(file: Path, answer: "Answer") -> None:
    """Says on standard error what of a file was heard, and how."""
    from benchmarks.deploy.recogniser import missing_band

    remarks = [missing_band(file)]
    if len(answer.moments) > 1:
        length = answer.moments[0].end
        remarks.append(
            f"{answer.seconds:.2f} s, heard in {len(answer.moments)} windows of {length:.2f} s every {answer.hop:.2f} s; the "
            "row is their mean, --timeline FOLDER writes them"
        )
    if answer.no_speech:
        remarks.append(f"no speech: {answer.no_speech}")
    for remark in filter(None, remarks):
        typer.echo(f"dsnet: {printable(file)}: {remark}", err=True)


def _row(answer: "Answer", classes: list[str]) -> list[str]:
    from benchmarks.deploy.timeline import most_probable

    probabilities = answer.probabilities
    if probabilities is None:
        return ["no speech", *("-" for _ in classes)]
    return [most_probable(probabilities), *(f"{probabilities[name]:.3f}" for name in classes)]


def _write(answers: dict[Path, "Answer"], classes: list[str], folder: Path) -> None:
    """Writes the timelines under the files' names, numbered where two files have one name."""
    from benchmarks.deploy.timeline import write_timeline

    taken: dict[str, int] = {}
    for file, answer in answers.items():
        if len(answer.moments) > 1:
            number = taken[file.stem] = taken.get(file.stem, 0) + 1
            stem = folder / (file.stem if number == 1 else f"{file.stem}-{number}")
            write_timeline(answer, classes, stem, printable(file.name))
