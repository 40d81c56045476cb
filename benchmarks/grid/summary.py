"""What finished cells come to, in lines for a terminal, in ``summary.json`` and as learning curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from statistics import mean

from benchmarks.corpora import EMOTIONS
from benchmarks.cost import Complexity, measure
from benchmarks.grid.record import CellRecord
from benchmarks.output.files import write_json
from benchmarks.output.formats import terminal
from benchmarks.output.table import Number, Table, Value
from benchmarks.scores.probing import SpaceProbe
from benchmarks.scores.statistics import FEWEST
from benchmarks.scores.uar import Scores, score
from benchmarks.training.curves import write_curves
from dsnet_plugin import DSNetError

SUMMARY_NAME = "summary.json"


def cell_line(record: CellRecord) -> str:
    """One line on a finished cell."""
    story = record.story
    return (
        f"{record.folder}: test {story.test_speaker}, validation {story.validation_speaker}, {story.utterances.train} training "
        f"utterances, best epoch {story.best_epoch} of {len(story.curves)}, validation UAR {story.validation_uar:.2f}, "
        f"{_test_score(record)}, {story.seconds:.0f} s"
    )


def summarise(out: Path, records: Sequence[CellRecord], say: Callable[[str], None] = print) -> dict[str, Scores]:
    """Compares the methods of one corpus, encoder and seed; a larger grid is for ``dsnet report``, and left alone here.

    Writes ``OUT/summary.json``, the scores and the cost of each method, and ``curves.csv`` and ``curves.png`` into the
    folder CORPUS/ENCODER/LABEL of each method.

    Args:
        out: the run's folder.
        records: the records of finished cells.
        say: gets for each method the pooled UAR and the confusion matrix, and last a table of all.

    Returns:
        The scores by the methods' labels; empty for a larger grid.
    """
    if len({Path(r.folder).parts[0:2] + Path(r.folder).parts[3:4] for r in records}) != 1:
        return {}
    by_label: dict[str, list[CellRecord]] = {}
    for record in records:
        by_label.setdefault(record.label, []).append(record)
    scores = {label: _score(cells) for label, cells in by_label.items()}
    costs = {label: _cost(cells[0]) for label, cells in by_label.items()}
    for label, cells in by_label.items():
        trainings = {"/".join(Path(cell.folder).parts[-2:]): cell.story.curves for cell in cells}
        write_curves(out / Path(cells[0].folder).parents[1], trainings)
        say(f"\n{label}: {scores_line(scores[label])}\n\n{terminal(confusion(scores[label]))}\n")
    write_json(
        out / SUMMARY_NAME,
        {label: {**asdict(scores[label]), **(asdict(cost) if cost else {})} for label, cost in costs.items()},
    )
    say(terminal(comparison(scores, costs, {label: len(cells) for label, cells in by_label.items()})))
    say(
        "\nWA is accuracy over all utterances, F1 is macro; ± is the deviation over folds. The interval is a bootstrap over utterances, "
        "for these speakers alone: dsnet report has the wider one, over speakers, and the tests. One seed says nothing of what "
        "another would give: the same command with --seed 1 adds it to the run."
    )
    if inside := contents(by_label):
        say(
            f"\n{terminal(inside)}\n\nWhat linear probes read off each feature space: balanced accuracy in percent, the emotion of "
            "speakers whom the model never saw (the probe knows other utterances of theirs), and which training speaker it is."
        )
    return scores


def scores_line(scores: Scores) -> str:
    """The pooled and the fold-mean UAR as one line of text, or why there is none."""
    held = _classes(scores)
    if len(held) == 1:
        return f"no UAR: all utterances tested are {held[0]}, whose recall is {scores.uar:.2f}; a UAR takes two classes or more"
    spread = f" ± {scores.fold_std:.2f} over folds" if not isnan(scores.fold_std) else " (one fold)"
    return f"pooled UAR {_with_interval(scores)}, fold-mean UAR {scores.fold_uar:.2f}{spread}"


def _classes(scores: Scores) -> list[str]:
    """The classes that were tested."""
    return [emotion for emotion, counts in zip(EMOTIONS, scores.confusion, strict=True) if sum(counts)]


def _with_interval(scores: Scores) -> str:
    low, high = scores.interval
    beside = f"[{low:.2f}, {high:.2f}]" if not isnan(low) else f"(no interval: fewer than {FEWEST} utterances)"
    return f"{scores.uar:.2f} {beside}"


def _test_score(record: CellRecord) -> str:
    """The UAR of a cell's test side, or what stands in its place where that is of one class."""
    held = {digit for speaker in record.own_test.speakers.values() for digit in speaker.truth}
    if len(held) == 1:
        return f"recall of {EMOTIONS[int(held.pop())]} {record.own_test.uar:.2f} (one class: no UAR)"
    return f"UAR {record.own_test.uar:.2f}"


def comparison(scores: dict[str, Scores], costs: dict[str, Complexity | None], folds: dict[str, int]) -> Table:
    """One row a method: cost in training and in inference, UAR with its interval over the folds that are finished.

    Args:
        scores: by the methods' labels.
        costs: the same; None for an encoder that is not on this machine.
        folds: how many each method has.
    """
    rows: list[list[Value]] = []
    for label, method_scores in scores.items():
        is_one_class = len(_classes(method_scores)) == 1
        cost = costs[label]
        training_m, training_g, inference_m, inference_g = cost.in_table_3_units() if cost else [float("nan")] * 4
        rows.append(
            [
                label,
                f"{training_m:.2f}M / {training_g:.2f}G" if cost else None,
                f"{inference_m:.2f}M / {inference_g:.2f}G" if cost else None,
                str(folds[label]),
                "- (one class)" if is_one_class else _with_interval(method_scores),
                None if is_one_class else Number(method_scores.fold_uar, method_scores.fold_std),
                Number(method_scores.accuracy),
                Number(method_scores.macro_f1),
            ]
        )
    header = ["method", "training (params / MACs)", "inference", "folds", "pooled UAR [95%]", "fold-mean UAR", "WA"]
    return Table([*header, "macro F1"], rows)


def confusion(scores: Scores) -> Table:
    """Counts with recalls: rows are the truth, columns the prediction."""
    rows: list[list[Value]] = [
        [f"true {emotion}", *map(str, counts), Number(recall, form=".1f")]
        for emotion, counts, recall in zip(EMOTIONS, scores.confusion, scores.recalls, strict=True)
    ]
    return Table(["", *EMOTIONS, "recall %"], rows)


def contents(by_label: Mapping[str, Sequence[CellRecord]]) -> Table | None:
    """How much emotion and how much speaker the feature spaces of each method hold, the mean over its cells; None where nothing
    could be probed."""
    rows: list[list[Value]] = []
    chance: list[SpaceProbe] = []
    for label, cells in by_label.items():
        for space in dict.fromkeys(space for cell in cells for space in cell.probes.spaces):
            probes = [cell.probes.spaces[space] for cell in cells if space in cell.probes.spaces]
            chance += probes
            rows.append([label, space, *(_mean(probes, question) for question in ("emotion", "speaker"))])
    if not rows:
        return None
    foot: list[list[Value]] = [
        ["chance", "", *(_mean(chance, f"{question}_chance") for question in ("emotion", "speaker"))]
    ]
    return Table(["method", "space", "emotion", "speaker"], rows, foot, left=2)


def _mean(probes: Sequence[SpaceProbe], question: str) -> Number:
    return Number(mean(getattr(probe, question) for probe in probes), form=".1f")


def _score(cells: Sequence[CellRecord]) -> Scores:
    """The scores of the cells' test sides."""
    folds = []
    for cell in cells:
        speakers = cell.own_test.speakers.values()
        truth = [int(digit) for speaker in speakers for digit in speaker.truth]
        folds.append((truth, [int(digit) for speaker in speakers for digit in speaker.predicted]))
    return score(folds, cells[0].identity.settings.seed)


def _cost(cell: CellRecord) -> Complexity | None:
    """The cost of a cell's method; None for an encoder that is not on this machine."""
    identity = cell.identity
    config = {key: value for key, value in identity.config.items() if key != "num_speakers"}
    try:
        return measure(identity.method, identity.settings.encoder, identity.settings.max_frames, config)
    except (DSNetError, OSError):
        return None
