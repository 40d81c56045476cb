"""What was run, in words: the head of the report."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from benchmarks.data.protocols import describe_protocol
from benchmarks.output.environment import Environment
from benchmarks.report.cells import Budget, Cell, Runs

_SAID = {
    "epochs": "{} epochs",
    "batch_size": "batches of {}",
    "max_frames": "{} frames",
    "onset": "begun {:g} dB below their loudest",
    "precision": "{}",
    "learning_rate": "learning rate {}",
    "patience": "patience {}",
}
_CELLS_OWN = {"encoder", "seed"}


def budget_line(budget: Budget) -> str:
    """A budget in one line, which names only the settings that differ from the usual."""
    said = [describe_protocol(budget.protocol)]
    said += [form.format(value) for key, form in _SAID.items() if (value := getattr(budget.settings, key)) is not None]
    said += [
        f"{field.name.replace('_', ' ')} {value}"
        for field in fields(budget.settings)
        if field.name not in _SAID.keys() | _CELLS_OWN
        and (value := getattr(budget.settings, field.name)) != field.default
    ]
    return ", ".join(said)


def what_was_run(runs: Runs) -> list[tuple[str, list[str]]]:
    """Pairs of a term and the texts that explain it: of the cells or, where there are none, of the lines of speed."""
    cells, lines = runs.cells, runs.cells or runs.speeds
    environments = [cell.record.environment for cell in cells] or [line.environment for line in runs.speeds]
    methods = [cell.label for cell in cells] or [line.method for line in runs.speeds]
    hours = sum(cell.record.story.seconds for cell in cells) / 3600
    said = [
        ("Corpora", _corpora(cells)),
        ("Methods", [", ".join(_distinct(methods))]),
        ("Encoders", [", ".join(_distinct(line.encoder for line in lines))]),
        ("Folds and seeds", _places(cells)),
        ("Budget", _distinct(budget_line(cell.budget) for cell in cells)),
        ("Training", [f"{len(cells):,} cells, {hours:,.1f} hours in all"] if cells else []),
        ("Hardware", _distinct(_hardware(environment) for environment in environments)),
        ("Versions", _distinct(_versions(environment) for environment in environments)),
        ("Revision", _distinct(environment.revision or "unknown" for environment in environments)),
    ]
    return [(term, texts) for term, texts in said if texts]


def _corpora(cells: Sequence[Cell]) -> list[str]:
    tested = [test.corpus for cell in cells for test in cell.record.tests.values()]
    utterances = {corpus.name: corpus.utterances for corpus in tested}
    trained = {cell.corpus for cell in cells}
    return [
        f"{name}: {count:,} utterances" + ("" if name in trained else ", for tests alone")
        for name, count in utterances.items()
    ]


def _places(cells: Sequence[Cell]) -> list[str]:
    said = []
    for corpus in _distinct(cell.corpus for cell in cells):
        pairs = [cell.fold_and_seed for cell in cells if cell.corpus == corpus]
        folds, seeds = (sorted(set(numbers)) for numbers in zip(*pairs, strict=True))
        said.append(f"{corpus}: folds {_numbers(folds)}; seeds {_numbers(seeds)}")
    return said


def _numbers(numbers: Sequence[int]) -> str:
    """``0, 2`` or, of three and more without a gap, ``0 to 9``."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _hardware(environment: Environment) -> str:
    return f"{environment.device}, {environment.threads} threads"


def _versions(environment: Environment) -> str:
    return ", ".join(f"{name} {version}" for name, version in environment.versions.items())


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
