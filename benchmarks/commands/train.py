"""``dsnet train``: methods on one corpus, speaker by speaker."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.choices import Backbone, Device, MissingNeutral, Precision
from benchmarks.commands.corpus_options import CorpusRoot, Correlation, LabelWords, open_corpus
from benchmarks.grid.one_corpus import run
from benchmarks.methods import METHODS
from benchmarks.training import TrainingSettings


def train(
    corpus: Annotated[str, typer.Option(help="One of the names that 'dsnet corpora' lists.")] = "synthetic",
    root: CorpusRoot = None,
    method: Annotated[
        str, typer.Option(help=f"Of {', '.join(METHODS)}; several, with commas, are compared.")
    ] = "dsnet",
    backbone: Backbone = "cnn",
    folds: Annotated[
        str, typer.Option(help="Test speakers: 'all', or numbers such as 0,3 in the order of names.")
    ] = "all",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training speakers.")] = 100,
    max_frames: Annotated[
        int, typer.Option(min=16, help="Frames of 10 ms to which utterances are cut or repeated; time grows with them.")
    ] = 600,
    seed: Annotated[int, typer.Option(help="Of weights, order, dropout and neutral references.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to compute; auto takes CUDA where there is one.")] = Device.auto,
    precision: Annotated[Precision, typer.Option(help="bf16 is faster on CUDA and on recent CPUs.")] = Precision.fp32,
    missing_neutral: Annotated[
        MissingNeutral,
        typer.Option(help="Training speakers without neutral speech: refuse, drop them, or mask their calibration."),
    ] = MissingNeutral.error,
    skip_problems: Annotated[
        bool, typer.Option(help="Go on without missing or unreadable files; says how many.")
    ] = False,
    correlation: Correlation = None,
    words: LabelWords = None,
    out: Annotated[
        Path | None, typer.Option(help="Results, checkpoints, curves.  [default: runs/CORPUS-seedSEED]")
    ] = None,
) -> None:
    """Trains and scores by leaving one speaker out.

    The epoch is chosen on a validation speaker, never on the test speaker. Started again, the same command goes on where
    it was stopped.

    \b
    Example:
      dsnet train --corpus ravdess --root ~/data/ravdess --method baseline,dsnet --folds 0 --epochs 3
    """
    settings = TrainingSettings(
        encoder=backbone,
        epochs=epochs,
        max_frames=max_frames,
        seed=seed,
        precision=precision.value,
        missing_neutral=missing_neutral.value,
    )
    run(
        open_corpus(corpus, root, correlation, words),
        list(dict.fromkeys(method.split(","))),
        settings,
        out or Path("runs") / f"{corpus}-seed{seed}",
        folds,
        device.value,
        skip_problems,
        say=typer.echo,
    )
