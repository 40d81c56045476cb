"""The table and the picture of the study of references, from its lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from benchmarks.output.environment import Environment
from benchmarks.output.table import Table


@dataclass(frozen=True)
class ReferenceRecord:
    """What one model scores with each kind of reference."""

    method: str
    """The label of the method."""

    source: str
    """What it was trained on."""

    fold: int
    """The fold of the source."""

    seed: int
    """Of the training, and of the draw of sentences."""

    utterances: Mapping[str, int]
    """How many utterances were scored, by the corpus; of the source its left-out speakers'."""

    uars: Mapping[str, Mapping[str, float]]
    """The UAR in percent by the corpus and by the kind of reference."""

    environment: Environment
    """What it was computed with."""


def draw(lines: Sequence[ReferenceRecord], path: Path) -> None:
    """What each kind of reference adds to the UAR of the baseline, within and across, as bars."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = table(lines).rows
    baseline, (method, *_) = rows[0], next(row for row in rows if row[1] == "1 sentence")
    kinds = [row for row in rows if row[0] == method]
    picture = Figure(figsize=(8, 0.42 * len(kinds) + 1), layout="constrained")
    axes = picture.subplots(1, 2, sharey=True)
    for axis, column, title in zip(axes, (2, -1), ("within", "on other corpora"), strict=True):
        gains = [0.0 if row[column] == "-" else _points(row[column]) - _points(baseline[column]) for row in kinds]
        places = range(len(kinds))
        axis.barh(places, gains, color=["C2" if gain > 0 else "C3" for gain in gains])
        axis.set(
            title=title, xlabel="points of UAR above the baseline", yticks=places, yticklabels=[row[1] for row in kinds]
        )
        axis.axvline(0, color="k", linewidth=0.8)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Text as text, and the same file each time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "references"}):
        picture.savefig(path, format="svg", metadata={"Date": None})


def _points(cell: object) -> float:
    """The mean that a cell of the table says."""
    return float(str(cell).split(maxsplit=1)[0])


def tables(lines: Sequence[ReferenceRecord]) -> list[Table]:
    """A table for each source."""
    return [
        table([line for line in lines if line.source == source])
        for source in dict.fromkeys(line.source for line in lines)
    ]


def table(lines: Sequence[ReferenceRecord]) -> Table:
    """UAR by method and kind of reference: within the source, on each other corpus, and the mean over those.

    Mean over folds and seeds; behind it the deviation over seeds, where there are several.
    """
    sources = list(dict.fromkeys(line.source for line in lines))
    others = [name for name in dict.fromkeys(name for line in lines for name in line.uars) if name not in sources]
    rows = []
    for method in dict.fromkeys(line.method for line in lines):
        chosen = [line for line in lines if line.method == method]
        for reference in dict.fromkeys(kind for line in chosen for uars in line.uars.values() for kind in uars):
            columns = [sources, *([name] for name in others), others]
            rows.append([method, reference, *(_mean(chosen, reference, names) for names in columns)])
    return Table(["method", "reference", f"within {', '.join(sources)}", *others, "across"], rows, left=2)


def _mean(lines: Sequence[ReferenceRecord], reference: str, corpora: Sequence[str]) -> str:
    by_seed: dict[int, list[float]] = {}
    for line in lines:
        uars = [line.uars[name][reference] for name in corpora if reference in line.uars.get(name, {})]
        if uars:
            by_seed.setdefault(line.seed, []).append(mean(uars))
    if not by_seed:
        return "-"
    seeds = [mean(uars) for uars in by_seed.values()]
    return f"{mean(seeds):.1f}" + (f" ± {stdev(seeds):.1f}" if len(seeds) > 1 else "")
