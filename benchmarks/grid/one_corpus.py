"""A whole experiment: methods by folds on one corpus, the lines that tell of it, and what it leaves on disk."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from backbones import create_encoder
from benchmarks.corpora import EMOTIONS, Corpus
from benchmarks.cost import Complexity, measure
from benchmarks.data import SpeechData, leave_one_speaker_out, select_folds
from benchmarks.grid.cell import run_cell
from benchmarks.grid.corpus_data import CorpusData, Say, describe, identify, usable
from benchmarks.grid.record import LINES_NAME, RESULT_NAME
from benchmarks.methods import method_class
from benchmarks.output.files import lock, read_json, write_json, write_lines
from benchmarks.output.markdown import markdown
from benchmarks.scores.uar import Scores, score
from benchmarks.training import TrainingSettings
from benchmarks.training.curves import write_curves
from benchmarks.training.device import make_accelerator


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

    Writes for each method and fold what :func:`benchmarks.grid.cell.run_cell` leaves in ``OUT/METHOD/fold-NN``, for each method
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
            say(f"\n{name}: {scores_line(scores[name])}\n\n{confusion(scores[name])}\n")
        finished = sorted(out.glob(f"*/fold-*/{RESULT_NAME}"))  # those of earlier calls too
        write_lines(
            out / LINES_NAME, [{"folder": p.parent.relative_to(out).as_posix(), **read_json(p)} for p in finished]
        )
        write_json(out / "summary.json", {n: {**asdict(scores[n]), **asdict(counts[n])} for n in methods})
    say(comparison(scores, counts))
    say(
        f"\nWA is accuracy over all utterances, F1 is macro; the interval is a bootstrap over utterances.\nwrote {out}; "
        f"dsnet report {out} makes a page of it"
    )
    return scores


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


def comparison(scores: dict[str, Scores], counts: dict[str, Complexity]) -> str:
    """One row a method: cost in training and in inference, UAR with its interval."""
    rows = []
    for name, found in scores.items():
        training_m, training_g, inference_m, inference_g = counts[name].in_table_3_units()
        rows.append(
            [
                name,
                f"{training_m:.2f}M / {training_g:.2f}G",
                f"{inference_m:.2f}M / {inference_g:.2f}G",
                f"{found.uar:.2f} [{found.interval[0]:.2f}, {found.interval[1]:.2f}]",
                f"{found.fold_uar:.2f}" + (f" ± {found.fold_std:.2f}" if not isnan(found.fold_std) else ""),
                f"{found.accuracy:.2f}",
                f"{found.macro_f1:.2f}",
            ]
        )
    header = ["method", "training (params / MACs)", "inference", "pooled UAR [95%]", "fold-mean UAR", "WA", "macro F1"]
    return markdown(header, rows)


def confusion(scores: Scores) -> str:
    """Counts with recalls: rows are the truth, columns the prediction."""
    rows = [
        [f"true {emotion}", *map(str, counts), "-" if isnan(recall) else f"{recall:.1f}"]
        for emotion, counts, recall in zip(EMOTIONS, scores.confusion, scores.recalls, strict=True)
    ]
    return markdown(["", *EMOTIONS, "recall %"], rows)


def _truth_and_prediction(result: dict[str, Any]) -> tuple[list[int], list[int]]:
    own = result["tests"][result["cell"]["corpus"]["name"]]["speakers"].values()
    return [int(digit) for s in own for digit in s["truth"]], [int(digit) for s in own for digit in s["predicted"]]
