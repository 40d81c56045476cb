"""A whole experiment: methods by folds on one corpus, the lines that tell of it, and what it leaves on disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from backbones import create_encoder
from benchmarks import tables
from benchmarks.batches import SpeechData
from benchmarks.cell import RESULT_NAME, CorpusData, run_cell
from benchmarks.complexity import measure
from benchmarks.corpora import Corpus
from benchmarks.curves import write_curves
from benchmarks.errors import AudioError
from benchmarks.evaluation import Scores, score
from benchmarks.features import extract
from benchmarks.files import lock, read_json, write_json, write_lines
from benchmarks.methods import method_class
from benchmarks.printable import printable
from benchmarks.protocols import leave_one_speaker_out, select_folds
from benchmarks.settings import TrainingSettings
from benchmarks.training import make_accelerator

LINES_NAME = "cells.jsonl"
"""A run's finished cells, one JSON line each: what a report is made of."""

Say = Callable[[str], None]


def usable(
    corpus: Corpus, max_frames: int, skip_problems: bool, say: Say, input_kind: str = "lmfb"
) -> tuple[Corpus, list[Any]]:
    """Extracts a corpus' features and settles what happens to files that are absent or cannot be read.

    Returns:
        The corpus with the utterances that are left, and their features in the same order.

    Raises:
        AudioError: there are such files and ``skip_problems`` is False, or nothing is left.
    """
    features, broken = extract(corpus.utterances, max_frames, input_kind)
    report = corpus.report
    report.unreadable |= broken
    if report.absent:
        example = next(iter([*report.missing, *report.unreadable, *report.pointers]))
        what = (
            f"{corpus.info.title}: {len(report.missing)} files missing, {len(report.unreadable)} unreadable, "
            f"{len(report.pointers)} Git LFS pointers, such as {example}"
        )
        if not skip_problems:
            raise AudioError(
                f"{what}; 'dsnet corpora {corpus.info.name} --root {corpus.root}' lists them: mend them, or train without "
                "them with --skip-problems"
            )
        say(f"going on without {report.absent} utterances: {what}")
    for remark in ([corpus.info.warning] if corpus.info.warning else []) + report.remarks:
        say(f"note: {corpus.info.title}: {printable(remark)}")
    kept = [(u, f) for u, f in zip(corpus.utterances, features, strict=True) if f is not None]
    if not kept:
        raise AudioError(f"{corpus.info.title}: no utterance in {corpus.root} can be read")
    return Corpus(corpus.info, corpus.root, [u for u, _ in kept], report), [f for _, f in kept]


def run(
    corpus: Corpus,
    methods: Sequence[str],
    settings: TrainingSettings,
    out: Path,
    folds: str = "all",
    device: str = "auto",
    skip_problems: bool = False,
    say: Say = print,
) -> dict[str, Scores]:
    """Trains and tests methods by leaving one speaker out; finished folds in ``out`` are read, not computed again.

    Writes for each method and fold what :func:`benchmarks.cell.run_cell` leaves in ``OUT/METHOD/fold-NN``, for each method
    ``curves.csv`` and ``curves.png``, and ``OUT/summary.json`` and ``OUT/cells.jsonl``.

    Args:
        corpus: what was found on disk.
        methods: names of ``METHODS`` or ``VARIANTS``.
        settings: the budget.
        out: the folder of this experiment.
        folds: ``"all"`` or numbers such as ``"0,3"``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        skip_problems: go on without files that are absent or cannot be read.
        say: gets each line of the story.

    Returns:
        The scores by method.

    Raises:
        DSNetError: any input that does not allow the experiment; finished folds stay.
    """
    for name in methods:
        method_class(name)
    if corpus.utterances:  # before the features: folds that cannot be fail fast, and so does an encoder
        select_folds(leave_one_speaker_out(corpus.utterances), folds)
    input_kind = create_encoder(settings.encoder).input_kind
    accelerator = make_accelerator(device, settings.precision)
    corpus, features = usable(corpus, settings.max_frames, skip_problems, say, input_kind)
    chosen = select_folds(leave_one_speaker_out(corpus.utterances), folds)
    say(describe(corpus))
    if low := corpus.report.low_rate:
        name, rate = next(iter(low.items()))
        say(f"{len(low)} files below 16,000 Hz, such as {name} ({rate:,} Hz), are resampled and lack the upper band")
    data = SpeechData(corpus.utterances, features, settings.max_frames, accelerator.device, input_kind)
    own = CorpusData(identify(corpus, corpus.info.name), data)
    scores, counts = {}, {}
    with lock(out):
        for name in methods:
            results = []
            for fold in chosen:
                folder = out / name / f"fold-{fold.number:02d}"
                results.append(run_cell(name, {}, own, "loso", fold, settings, folder, accelerator))
                say(fold_line(results[-1]))
            scores[name] = score([_truth_and_prediction(result) for result in results], settings.seed)
            counts[name] = measure(name, settings.encoder, settings.max_frames)
            write_curves(out / name, results)
            say(f"\n{name}: {scores_line(scores[name])}\n\n{tables.confusion(scores[name])}\n")
        finished = sorted(out.glob(f"*/fold-*/{RESULT_NAME}"))  # those of earlier calls too
        write_lines(
            out / LINES_NAME, [{"folder": p.parent.relative_to(out).as_posix(), **read_json(p)} for p in finished]
        )
        write_json(out / "summary.json", {n: {**asdict(scores[n]), **asdict(counts[n])} for n in methods})
    say(tables.comparison(scores, counts))
    say(
        f"\nWA is accuracy over all utterances, F1 is macro; the interval is a bootstrap over utterances.\nwrote {out}; "
        f"dsnet report {out} makes a page of it"
    )
    return scores


def describe(corpus: Corpus) -> str:
    """One line on what was found."""
    counts = ", ".join(f"{emotion} {count}" for emotion, count in corpus.counts().items())
    found = len(corpus.utterances)
    return f"{corpus.info.title}: {found:,} utterances ({counts}), {len(corpus.speakers)} speakers"


def fold_line(result: dict[str, Any]) -> str:
    """One line on a finished fold."""
    cell = result["cell"]
    return (
        f"{cell['method']} fold {cell['fold']}: test {result['test_speaker']}, validation {result['validation_speaker']}, "
        f"{result['utterances']['train']} training utterances, best epoch {result['best_epoch']} of "
        f"{cell['settings']['epochs']}, validation UAR {result['validation_uar']:.2f}, UAR {result['uar']:.2f}, "
        f"{result['seconds']:.0f} s"
    )


def scores_line(scores: Scores) -> str:
    """Pooled and fold-mean UAR in words."""
    spread = f" ± {scores.fold_std:.2f}" if not isnan(scores.fold_std) else " (one fold)"
    low, high = scores.interval
    return f"pooled UAR {scores.uar:.2f} [{low:.2f}, {high:.2f}], fold-mean UAR {scores.fold_uar:.2f}{spread}"


def fingerprint(corpus: Corpus) -> str:
    """A digest of the utterances' keys, speakers and labels, so that a run does not go on with other data."""
    rows = "\n".join(f"{u.key}\t{u.speaker}\t{u.label}" for u in corpus.utterances)
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def identify(corpus: Corpus, name: str) -> dict[str, Any]:
    """What identifies a corpus in a record, under the name that it has there."""
    return {
        "name": name,
        "corpus": corpus.info.name,
        "utterances": len(corpus.utterances),
        "sha256": fingerprint(corpus),
    }


def _truth_and_prediction(result: dict[str, Any]) -> tuple[list[int], list[int]]:
    own = result["tests"][result["cell"]["corpus"]["name"]]["speakers"].values()
    return [int(digit) for s in own for digit in s["truth"]], [int(digit) for s in own for digit in s["predicted"]]
