"""What was run, in words: the head of the report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.report.cells import Cell

_PROTOCOLS = {"loso": "leave one speaker out", "session": "leave one session out"}
_KNOWN = {"protocol", "epochs", "batch_size", "max_frames", "precision", "learning_rate"}
_NOT_VERSIONS = {"device", "threads", "revision"}
_USUAL = {"missing_neutral": "error", "compile": False}


def budget_line(budget: Mapping[str, Any]) -> str:
    """A budget in one line; what is as usual goes without saying."""
    protocol = str(budget["protocol"])
    said = [_PROTOCOLS.get(protocol, protocol)]
    forms = {
        "epochs": "{} epochs",
        "batch_size": "batches of {}",
        "max_frames": "{} frames",
        "precision": "{}",
        "learning_rate": "learning rate {}",
    }
    said += [form.format(budget[key]) for key, form in forms.items() if key in budget]
    said += [
        f"{key.replace('_', ' ')} {value}"
        for key, value in budget.items()
        if key not in _KNOWN and _USUAL.get(key, object()) != value
    ]
    return ", ".join(said)


def what_was_run(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """Terms with what there is to say to each."""
    environments = [cell.record["environment"] for cell in cells]
    hours = sum(cell.record["seconds"] for cell in cells) / 3600
    return [
        ("Corpora", _corpora(cells)),
        ("Methods", [", ".join(_distinct(cell.label for cell in cells))]),
        ("Encoders", [", ".join(_distinct(cell.encoder for cell in cells))]),
        ("Folds and seeds", _places(cells)),
        ("Budget", _distinct(budget_line(cell.budget) for cell in cells)),
        ("Training", [f"{len(cells):,} cells, {hours:,.1f} hours in all"]),
        ("Hardware", _distinct(_hardware(environment) for environment in environments)),
        ("Versions", _distinct(_versions(environment) for environment in environments)),
        ("Revision", _distinct(str(environment.get("revision") or "unknown") for environment in environments)),
    ]


def _corpora(cells: Sequence[Cell]) -> list[str]:
    identities = [test["corpus"] for cell in cells for test in cell.record["tests"].values()]
    utterances = {identity["name"]: identity["utterances"] for identity in identities}
    trained = {cell.corpus for cell in cells}
    return [
        f"{name}: {count:,} utterances" + ("" if name in trained else ", for tests alone")
        for name, count in utterances.items()
    ]


def _places(cells: Sequence[Cell]) -> list[str]:
    said = []
    for corpus in _distinct(cell.corpus for cell in cells):
        folds, seeds = (sorted(set(own)) for own in zip(*(c.place for c in cells if c.corpus == corpus), strict=True))
        said.append(f"{corpus}: folds {_numbers(folds)}; seeds {_numbers(seeds)}")
    return said


def _numbers(found: Sequence[int]) -> str:
    """``0, 2`` or, of three and more without a gap, ``0 to 9``."""
    if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))


def _hardware(environment: Mapping[str, Any]) -> str:
    threads = environment.get("threads")
    return str(environment.get("device", "unknown")) + (f", {threads} threads" if threads else "")


def _versions(environment: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment.items() if name not in _NOT_VERSIONS)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
