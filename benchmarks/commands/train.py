"""``dsnet train``: methods on one corpus, speaker by speaker."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.choices import Backbone, Device, EncoderOptions, Jobs, MissingNeutral, Precision, encoder_spec
from benchmarks.commands.corpus_options import CorpusRoot, Correlation, LabelWords, corpus_spec
from benchmarks.commands.grid_run import compute_and_tell
from benchmarks.data import check_protocol
from benchmarks.methods import METHOD_NAMES, VARIANTS, check_method


def train(
    corpus: Annotated[str, typer.Option(help="One of the names that 'dsnet corpora' lists.")] = "synthetic",
    root: CorpusRoot = None,
    method: Annotated[
        str, typer.Option(help=f"One of {', '.join([*METHOD_NAMES, *VARIANTS])}; several, with commas, are compared.")
    ] = "dsnet",
    backbone: Backbone = "cnn",
    encoder_option: EncoderOptions = None,
    protocol: Annotated[
        str,
        typer.Option(help="loso leaves one speaker out, session one session, groups-6 one of six groups of speakers."),
    ] = "loso",
    folds: Annotated[
        str, typer.Option(help="Test speakers, sessions or groups: 'all', or numbers such as 0,3 in their order.")
    ] = "all",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training speakers.")] = 100,
    max_frames: Annotated[
        int, typer.Option(min=16, help="Frames of 10 ms to which utterances are cut or repeated; time grows with them.")
    ] = 600,
    seed: Annotated[int, typer.Option(help="The seed of weights, order, dropout and neutral references.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to compute; auto takes CUDA where there is one.")] = Device.auto,
    precision: Annotated[Precision, typer.Option(help="bf16 is faster on CUDA and on recent CPUs.")] = Precision.fp32,
    missing_neutral: Annotated[
        MissingNeutral,
        typer.Option(help="Training speakers without neutral speech: refuse, drop them, or mask their calibration."),
    ] = MissingNeutral.error,
    enrol: Annotated[
        int,
        typer.Option(
            min=0,
            help="Neutral sentences of each validation and test speaker that methods may hear, and none is scored on.",
        ),
    ] = 0,
    skip_problems: Annotated[
        bool, typer.Option(help="Go on without missing or unreadable files; says how many.")
    ] = False,
    correlation: Correlation = None,
    words: LabelWords = None,
    jobs: Jobs = 1,
    out: Annotated[Path | None, typer.Option(help="Results, checkpoints, curves.  [default: runs/CORPUS]")] = None,
) -> None:
    """Trains and scores on speakers that were left out.

    The epoch is chosen on validation speakers, never on test speakers. With --encoder-option freeze=all each utterance goes
    through the encoder once, whatever is trained after that. Started again, the same command goes on where
    it was stopped. It is a grid of one corpus, as 'dsnet benchmark' computes it, in the folders
    OUT/CORPUS/ENCODER/METHOD/seed-S/fold-NN; 'dsnet report OUT' makes tables, figures and a page of it.

    \b
    Example:
      dsnet train --corpus ravdess --root ~/data/ravdess --method baseline,dsnet --folds 0 --epochs 3
    """
    from benchmarks.grid.spec import one_corpus

    spec = corpus_spec(corpus, root, correlation, words)
    settings = {
        "epochs": epochs,
        "max_frames": max_frames,
        "precision": precision.value,
        "missing_neutral": missing_neutral.value,
        "enrol": enrol,
    }
    check_protocol(protocol)
    encoder = encoder_spec(backbone, encoder_option)
    names = method.split(",")
    for name in names:
        check_method(name)
    grid = one_corpus(spec, names, encoders=[encoder], protocol=protocol, folds=folds, seeds=[seed], settings=settings)
    compute_and_tell([grid], out or Path("runs") / corpus, jobs, "loky", None, device.value, skip_problems)
