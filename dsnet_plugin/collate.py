"""Batches for transformers' audio models: waveforms and their speakers' neutral references, padded; each reference once."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dsnet_plugin.errors import ShapeError


class FeatureExtractor(Protocol):
    """What :class:`NeutralCollator` asks of a feature extractor; those of transformers have it."""

    model_input_names: Sequence[str]

    def pad(self, rows: Any, /, *, padding: bool, return_tensors: str) -> Mapping[str, Any]:
        """Rows ``[{input: values}, ...]`` to one batch of tensors."""


class NeutralCollator:
    """The data collator that a ``transformers.Trainer`` or a ``DataLoader`` needs to train a wrapped audio model.

    A row is a dict with the model's main input as the extractor gave it (``input_values``, or ``input_features``), ``labels``
    or ``label``, and the neutral reference of its speaker, made the same way, in ``neutral_<main input>``. References that are
    equal in content are encoded once in a batch, however many rows they stand for.

    A row without a reference has None there, or no such key; its calibration is left out. Where no row of a batch has the key
    there is no neutral speech at all, and a model in training says so: a misspelt column does not pass unseen.

    Args:
        extractor: the model's own (of a processor its ``feature_extractor``). It pads, and decides on ``attention_mask``.
        one_a_row: gives each row its reference, equal or not, and no ``neutral_index``. ``torch.nn.DataParallel``, which a Trainer
            uses where one process sees several GPUs, deals out rows and needs this.

    Shape:
        Of N rows with K distinct references, a dict of ``<main input>`` (N, T, ...), ``labels`` (N,) in int64 (or as the
        rows have them: floats stay floats, in float32, and lists of C numbers become (N, C)),
        ``neutral_<main input>`` (K, T', ...), ``neutral_index`` (N,) in int64, ``neutral_mask`` (N,) in bool, and the
        masks ``attention_mask`` and ``neutral_attention_mask``. With no labels, or None alone, their keys are left out.

    Raises:
        ShapeError: labels in some rows only, or of differing shapes; a reference without sound.

    Example:
        >>> class Extractor:
        ...     model_input_names = ["input_values"]
        ...     def pad(self, rows, padding=True, return_tensors="pt"):
        ...         waves = [torch.tensor(row["input_values"]) for row in rows]
        ...         return {"input_values": torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)}
        >>> ann, bob = [0.1, 0.2], [0.3, 0.4, 0.5]
        >>> rows = [
        ...     {"input_values": [1.0, 2.0, 3.0, 4.0], "labels": 0, "neutral_input_values": ann},
        ...     {"input_values": [5.0, 6.0], "labels": 1, "neutral_input_values": bob},
        ...     {"input_values": [7.0], "labels": 1, "neutral_input_values": ann},
        ... ]
        >>> batch = NeutralCollator(Extractor())(rows)
        >>> batch["input_values"].shape, batch["neutral_input_values"].shape, batch["neutral_index"]
        (torch.Size([3, 4]), torch.Size([2, 3]), tensor([0, 1, 0]))
    """

    def __init__(self, extractor: FeatureExtractor, one_a_row: bool = False) -> None:
        self.extractor = extractor
        self.one_a_row = one_a_row

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Rows to one batch."""
        batch = self._padded(rows, "")
        row_labels = [row.get("labels", row.get("label")) for row in rows]
        labels = [torch.as_tensor(label) for label in row_labels if label is not None]
        if len(labels) not in (0, len(rows)):
            raise ShapeError(f"{len(labels)} labels for {len(rows)} rows: expected one in every row, or in none")
        if labels:
            if len({label.shape for label in labels}) > 1:
                shapes = sorted({tuple(label.shape) for label in labels})
                raise ShapeError(f"labels of the shapes {', '.join(map(str, shapes))}: expected the same in every row")
            batch["labels"] = torch.stack(labels)
            batch["labels"] = batch["labels"].float() if batch["labels"].is_floating_point() else batch["labels"].long()
        column = "neutral_" + self.extractor.model_input_names[0]
        if not any(column in row for row in rows):
            return batch
        distinct, index = _distinct([row.get(column) for row in rows])
        batch["neutral_mask"] = torch.tensor([i >= 0 for i in index])
        places = [max(i, 0) for i in index]  # what is masked reads the first
        if self.one_a_row:
            distinct = [distinct[i] for i in places] if distinct else []
        else:
            batch["neutral_index"] = torch.tensor(places, dtype=torch.int64)
        if distinct:
            batch |= self._padded([rows[i] for i in distinct], "neutral_")
        return batch

    def _padded(self, rows: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Tensor]:
        names = self.extractor.model_input_names
        inputs = [{name: row[prefix + name] for name in names if prefix + name in row} for row in rows]
        padded = self.extractor.pad(inputs, padding=True, return_tensors="pt")
        return {prefix + name: value for name, value in padded.items()}


def _distinct(references: Sequence[Any]) -> tuple[list[int], list[int]]:
    """The rows in which each distinct reference stands first, and each row's place among these; -1 for None."""
    seen: list[tuple[int, Tensor]] = []
    index = [-1] * len(references)
    for row, reference in enumerate(references):
        if reference is not None:
            values = torch.as_tensor(reference, dtype=torch.float32)
            if not values.numel():
                raise ShapeError(
                    f"the neutral reference of row {row} is empty; expected sound, or None for a row without one"
                )
            index[row] = next((k for k, (_, known) in enumerate(seen) if torch.equal(known, values)), len(seen))
            if index[row] == len(seen):
                seen.append((row, values))
    return [row for row, _ in seen], index
