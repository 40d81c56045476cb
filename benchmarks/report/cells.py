"""The finished cells of runs, as the suite left them on disk: read, checked, each once."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.data import EncoderSpec
from benchmarks.errors import RunError
from benchmarks.grid import CellRecord, read_record
from benchmarks.output.printable import printable, printable_json
from benchmarks.output.run_folder import line_files
from benchmarks.output.typed_json import from_json, to_json
from benchmarks.training import CorpusIdentity, TrainingSettings
from dsnet_plugin import CheckpointError


class Budget(NamedTuple):
    """The protocol and the settings that all cells of one table share."""

    protocol: str
    """A name of ``PROTOCOLS``."""

    settings: TrainingSettings
    """The settings, with an empty encoder and seed 0 in the place of a cell's own."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One finished cell, with what tables sort it by."""

    record: CellRecord
    """The record that it left."""

    folder: Path
    """Where it left its files, which need not be there any more."""

    @property
    def method(self) -> str:
        """The name of the method or variant."""
        return self.record.identity.method

    @property
    def label(self) -> str:
        """The name that tables give the method with these settings."""
        return self.record.label

    @cached_property
    def config(self) -> dict[str, object]:
        """The method's settings, without what follows from the fold."""
        return {key: value for key, value in self.record.identity.config.items() if key != "num_speakers"}

    @property
    def corpus(self) -> str:
        """The name of the corpus it was trained on."""
        return self.record.identity.corpus.name

    @property
    def fold_and_seed(self) -> tuple[int, int]:
        """The numbers of the fold and of the seed."""
        return self.record.identity.fold, self.record.identity.settings.seed

    @property
    def encoder(self) -> str:
        """How tables call the encoder with its options."""
        return self.record.identity.settings.encoder.title

    @cached_property
    def budget(self) -> Budget:
        """What must be the same for two cells to stand in one table."""
        return Budget(
            self.record.identity.protocol, replace(self.record.identity.settings, encoder=EncoderSpec(""), seed=0)
        )


@dataclass
class Runs:
    """The content of run folders."""

    cells: list[Cell] = field(default_factory=list)
    """The finished cells, each once."""

    speeds: list[SpeedRecord] = field(default_factory=list)
    """The lines of speed, in their order."""

    remarks: list[str] = field(default_factory=list)
    """Sentences on what was odd about the files."""


def read_runs(paths: Sequence[Path]) -> Runs:
    """Reads run folders and files of lines.

    Text that does not print is read in escapes, since a report is opened by many programs. A last line that a killed writer left unfinished is passed over with a remark; of two records of one cell the later
    counts. Corpora that share a name and not their utterances get their fingerprints as part of their names.

    Args:
        paths: a run's folder, with ``cells.jsonl`` and perhaps ``speed.jsonl``, or a file with lines of either kind, ``.jsonl`` or
            ``.jsonl.gz``.

    Raises:
        RunError: nothing there, or neither a finished cell nor a line of speed.
        CheckpointError: a line that is damaged, of another version or of another kind, by its number.
    """
    runs = Runs()
    cells: dict[str, Cell] = {}
    for file in [file for path in paths for file in line_files(path)]:
        for where, line in parsed_lines(file, runs.remarks):
            if _is_speed(line):
                runs.speeds.append(from_json(SpeedRecord, line, where, "delete the line to measure it again"))
                continue
            record = read_record(line, where)
            key = json.dumps(to_json(record.identity), sort_keys=True)
            if key in cells:
                runs.remarks.append(f"{where}: a cell that was there already; the later record counts")
            cells[key] = Cell(record, file.parent / record.folder)
    if not cells and not runs.speeds:
        raise RunError(
            f"{', '.join(map(str, paths))}: no finished cell; expected at least one line that holds one, or a line of speed"
        )
    runs.cells = _tell_corpora_apart(list(cells.values()))
    return runs


def parsed_lines(path: Path, remarks: list[str]) -> Iterator[tuple[str, Any]]:
    """The parsed lines of a file, ``.jsonl`` or ``.jsonl.gz``, with their places.

    Args:
        path: the file.
        remarks: gets a sentence on a last line that a killed writer left unfinished.

    Raises:
        CheckpointError: a line that is no JSON, by its number, or a file that cannot be unpacked.
    """
    lines = _content(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{printable(path)}:{number}"
        try:
            yield where, printable_json(json.loads(line))
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise CheckpointError(f"{where}: damaged ({error}); mend or delete the line") from error
            remarks.append(f"{where}: the last line is unfinished, as a killed run leaves it, and is passed over")


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise CheckpointError(
            f"{printable(path)}: damaged ({error}); take the file from where it came from again"
        ) from error


def _is_speed(line: Any) -> bool:
    return isinstance(line, dict) and {"encoder", "training", "inference"} <= line.keys()


def _tell_corpora_apart(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with the fingerprint added to the names of corpora that share a name."""
    prints: dict[str, set[str]] = {}
    for cell in cells:
        for corpus in (cell.record.identity.corpus, *(test.corpus for test in cell.record.tests.values())):
            prints.setdefault(corpus.name, set()).add(corpus.sha256)

    def told_apart(corpus: CorpusIdentity) -> CorpusIdentity:
        shared = len(prints[corpus.name]) > 1
        return replace(corpus, name=f"{corpus.name} {corpus.sha256[:6]}") if shared else corpus

    def renamed(record: CellRecord) -> CellRecord:
        identity = replace(record.identity, corpus=told_apart(record.identity.corpus))
        tests = [replace(test, corpus=told_apart(test.corpus)) for test in record.tests.values()]
        return replace(record, identity=identity, tests={test.corpus.name: test for test in tests})

    if all(len(digests) == 1 for digests in prints.values()):
        return list(cells)
    return [replace(cell, record=renamed(cell.record)) for cell in cells]
