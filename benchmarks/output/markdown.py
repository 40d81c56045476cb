"""The tables that the command line prints: Markdown, which reads well in a terminal and pastes everywhere."""

from collections.abc import Sequence
from math import isnan

from benchmarks.corpora import EMOTIONS, Corpus
from benchmarks.cost.complexity import PAPER_TABLE_3, Complexity
from benchmarks.scores.uar import Scores


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """An aligned Markdown table: the first ``left`` columns to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|".join("-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    rule = f"|{rule}|"
    return "\n".join([line(header), rule, *map(line, rows)])


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


def complexity(counts: Sequence[Complexity], beside_paper: bool = True) -> str:
    """Table 3: what was counted, and in brackets what the paper prints, of its CNN and four methods."""
    rows = []
    for found in counts:
        row = [
            f"{found.training_parameters:,}",
            f"{found.training_macs / 1e9:.4f}G",
            f"{found.inference_parameters:,}",
            f"{found.inference_macs / 1e9:.4f}G",
        ]
        if beside_paper and (printed := PAPER_TABLE_3.get(found.method)):
            row = [f"{own} ({paper:.2f}{unit})" for own, paper, unit in zip(row, printed, "MGMG", strict=True)]
        rows.append([found.method, *row])
    header = ["method", "training params", "training MACs", "inference params", "inference MACs"]
    return markdown(header, rows)


def speakers(corpus: Corpus) -> str:
    """Utterances of each speaker by class."""
    rows = []
    for speaker in corpus.speakers:
        own = [utterance for utterance in corpus.utterances if utterance.speaker == speaker]
        counts = [sum(utterance.label == emotion for utterance in own) for emotion in EMOTIONS]
        rows.append([speaker, own[0].sex or "?", *map(str, counts), str(len(own))])
    total = [str(count) for count in corpus.counts().values()]
    return markdown(
        ["speaker", "sex", *EMOTIONS, "all"], [*rows, ["all", "", *total, str(len(corpus.utterances))]], left=2
    )
