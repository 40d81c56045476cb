"""Wraps every model at hand without naming its classifier: ``python -m benchmarks.wrap_sweep``.

All models have random weights. Prints a Markdown table and a total; the exit status is 1 if a model goes wrong, or is
refused although it should work, or the other way round. A library that is not installed is passed over and named.
"""

import argparse
import gc
import sys
import time
from collections import Counter
from dataclasses import dataclass

import torch

from benchmarks.output.formats import terminal
from benchmarks.output.table import Table
from benchmarks.wrap_sweep import (
    panns_models,
    passt_models,
    peft_models,
    s3prl_models,
    speechbrain_models,
    timm_models,
    torchaudio_models,
    torchvision_models,
    transformers_models,
)
from benchmarks.wrap_sweep.promises import check
from benchmarks.wrap_sweep.subject import Library
from dsnet_plugin.errors import DSNetError

LIBRARIES = {
    "timm": timm_models.LIBRARY,
    "transformers": transformers_models.LIBRARY,
    "peft": peft_models.LIBRARY,
    "torchvision": torchvision_models.LIBRARY,
    "torchaudio": torchaudio_models.LIBRARY,
    "speechbrain": speechbrain_models.LIBRARY,
    "s3prl": s3prl_models.LIBRARY,
    "panns-inference": panns_models.LIBRARY,
    "hear21passt": passt_models.LIBRARY,
}
WORKS, REFUSED, WRONG = "works", "refused", "wrong"


@dataclass(frozen=True)
class Row:
    """How it went with one model."""

    library: str
    """The library's name."""
    family: str
    """What the model is one of."""
    model: str
    """The model's name."""
    result: str
    """``WORKS``, ``REFUSED`` as it should be, or ``WRONG``."""
    place: str
    """Where the head stands and how wide its features are; or the error."""
    hint: str
    """What ``wrap`` had to be given beside the number of classes."""
    seconds: float
    """How long it took."""

    def cells(self) -> list[str]:
        """The row of the table."""
        return [self.library, self.model, self.result, self.hint, self.place, f"{self.seconds:.1f}"]


def tried(library_name: str, library: Library, name: str) -> Row:
    """Makes a model, checks it, and says how it went."""
    started = time.perf_counter()
    torch.manual_seed(0)
    family, hint, should_work = library_name, "", name not in library.refused
    try:
        subject = library.subject(name)
        family = subject.family
        kept = check(subject)
        result, hint = WORKS if should_work else WRONG, kept.hint
        place = f"{kept.location.name}{' (behind)' if kept.location.behind else ''}, D = {kept.location.in_features}"
    except Exception as raised:  # any failure is a row of the table
        result = REFUSED if isinstance(raised, DSNetError) and not should_work else WRONG
        place = f"{type(raised).__name__}: {' '.join(str(raised).split())[:150]}"
    return Row(library_name, family, name, result, place, hint, time.perf_counter() - started)


def total(rows: list[Row]) -> str:
    """How many models work, with which hint, and how many are refused or go wrong, in whole sentences."""
    counts = Counter(row.result for row in rows)
    works = [row for row in rows if row.result == WORKS]
    hints = ", ".join(f"{number} with {hint}" for hint, number in Counter(row.hint for row in works).most_common())
    libraries = Counter(row.library for row in works)
    all_of = Counter(row.library for row in rows)
    parts = ", ".join(f"{name} {libraries[name]} of {number}" for name, number in all_of.items())
    families = len({row.family for row in works if row.library == "timm"})
    return (
        f"Total: {counts[WORKS]} of {len(rows)} models work ({hints}): {parts}"
        + (f" ({families} families of timm)" if families else "")
        + f". {counts[REFUSED]} are refused with the reason, as they should be; {counts[WRONG]} went wrong."
    )


def main() -> int:
    """Prints the table and the total; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=LIBRARIES, action="append", help="all if unset")
    parser.add_argument("--only", default="", help="the models whose name contains this")
    options = parser.parse_args()
    rows: list[Row] = []
    missing = []
    for library in options.library or LIBRARIES:
        try:
            names = LIBRARIES[library].names()
        except ImportError as error:
            missing.append(f"{library} ({error})")
            continue
        for name in names:
            if options.only in name:
                rows.append(tried(library, LIBRARIES[library], name))
                print(f"{len(rows):3} {library} {name}: {rows[-1].result}", file=sys.stderr, flush=True)
                gc.collect()
    header = ["library", "model", "result", "with", "the head's place", "seconds"]
    print(terminal(Table(header, [row.cells() for row in rows], left=5)))
    print(f"\n{total(rows)}")
    if missing:
        print(f"Not installed, and passed over: {', '.join(missing)}.")
    return int(any(row.result == WRONG for row in rows))


if __name__ == "__main__":
    sys.exit(main())
