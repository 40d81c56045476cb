"""What the folds of a grid lack, said before the first batch of the first cell."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch

from backbones import create_encoder
from benchmarks.corpora import EMOTIONS, Utterance
from benchmarks.data import Fold, divide, select_folds
from benchmarks.grid.plan import PlannedCell
from benchmarks.grid.spec import CorpusSpec
from benchmarks.methods import Method, Speakers, create_method, method_class
from dsnet_plugin import NeutralReferenceError


def check_folds(
    cells: Sequence[PlannedCell], corpora: Mapping[CorpusSpec, Sequence[Utterance]], say: Callable[[str], None]
) -> None:
    """Refuses folds that a method cannot be trained on, and warns of those whose scores say little.

    Args:
        cells: what is to be computed.
        corpora: the utterances in use of each corpus.
        say: gets a line on each corpus with a test or validation side of one class alone.

    Raises:
        NeutralReferenceError: a method needs neutral speech that a training speaker lacks, and ``missing_neutral`` does not
            allow that; names the first such cell, how many more there are, and the remedy.
        SplitError: a fold that was planned is not there without the files that are left out.
    """
    divided = {
        (corpus, protocol): divide(corpora[corpus], protocol)
        for corpus, protocol in dict.fromkeys((cell.corpus, cell.protocol) for cell in cells)
    }
    folds = {cell.folder: select_folds(divided[cell.corpus, cell.protocol], str(cell.fold))[0] for cell in cells}
    _check_neutral(cells, corpora, folds)
    sides: dict[str, dict[str, None]] = {}
    for cell in cells:
        lines = dict.fromkeys(_sides_of_one_class(folds[cell.folder], corpora[cell.corpus]))
        sides.setdefault(cell.corpus.name, {}).update(lines)
    for name, lines in sides.items():
        if lines:
            say(
                f"warning: {name}: {'; '.join(lines)}: always guessing that class has a UAR of 100% there. Trust the pooled "
                "UAR, not that of such a fold, and leave out with --folds those that validate so: it chooses their epoch"
            )


def _check_neutral(
    cells: Sequence[PlannedCell], corpora: Mapping[CorpusSpec, Sequence[Utterance]], folds: Mapping[str, Fold]
) -> None:
    methods: dict[str, Method] = {}
    refused: list[str] = []
    for cell in cells:
        if not method_class(cell.method.method).needs_neutral:
            continue
        key = json.dumps([cell.method.method, dict(cell.method.config)], sort_keys=True)
        if key not in methods:  # on any encoder: what stands beside what does not depend on it
            methods[key] = create_method(cell.method.method, create_encoder("cnn"), len(EMOTIONS), **cell.method.config)
        training = [corpora[cell.corpus][index] for index in folds[cell.folder].train]
        names = [utterance.speaker for utterance in training]
        neutral = [utterance.label == "neutral" for utterance in training]
        speakers = Speakers(
            names, neutral, partial(torch.zeros, len(training), 1), cell.settings.missing_neutral, cell.settings.seed
        )
        try:
            methods[key].pairing(speakers)
        except NeutralReferenceError as error:
            refused.append(f"{cell.folder}: {error}")
    if refused:
        more = f"; {len(refused) - 1} further cells likewise" if refused[1:] else ""
        remedies = {
            "missing='drop'": "--missing-neutral drop",
            "missing='mask'": "--missing-neutral mask (in a specification: missing_neutral)",
            "DSNet needs": "the method needs",
        }
        reason = refused[0]
        for parameter, option in remedies.items():
            reason = reason.replace(parameter, option)
        raise NeutralReferenceError(f"{reason}{more}")


def _sides_of_one_class(fold: Fold, utterances: Sequence[Utterance]) -> Iterator[str]:
    for side, speaker in (("test", fold.test_speaker), ("validation", fold.validation_speaker)):
        labels = {utterances[index].label for index in getattr(fold, side)}
        if len(labels) == 1:
            yield f"fold {fold.number}: the {side} side ({speaker}) is {labels.pop()} alone"
