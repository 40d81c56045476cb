"""Trained models for deployment: the stripped model of a checkpoint as ONNX, TorchScript or a torch.export archive.

A file holds what inference needs (encoder, a frozen one, too, P_er and C for DSNet; softmax is not in it) and, as JSON under the key
``dsnet``, what the caller needs: the classes and the front end. ONNX has it in ``metadata_props``, the other two among
their extra files.

A model that takes a reference (``dsnet-enrolled``) has two inputs more and one output more, see
:class:`benchmarks.deploy.referred.ReferredModel`.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from backbones import SAMPLE_RATE, FrozenEncoder
from backbones.frontend import FRAME_LENGTH, FRAME_SHIFT, NUM_MEL_BINS
from benchmarks.data.front_end import frozen_encoder
from benchmarks.deploy.export_files import FILE_NAMES, check_form
from benchmarks.deploy.export_formats import FORMATS, RUNTIMES, Run, need_packages
from benchmarks.deploy.export_inputs import BATCHES, Inputs
from benchmarks.deploy.referred import ReferredModel
from benchmarks.errors import RunError
from benchmarks.methods import Method
from benchmarks.training import ModelRecord, load_model
from dsnet_plugin import DisentangleHead, ShapeError
from dsnet_plugin.enrolment import model_digest
from dsnet_plugin.serialization import write_bytes

TOLERANCE = 1e-4
"""By how much the outputs of an exported model may differ from the checkpoint's; of the largest, if that is above 1."""

_SHORTEST = (16, 32)  # frames: of the paper's CNN, of timm's models


class Exported(NamedTuple):
    """A written file: what it takes, and by how much its outputs differ; None where there is no runtime to tell."""

    path: Path
    inputs: Inputs
    classes: list[str]
    difference: float | None

    def __str__(self) -> str:
        """One line for a person."""
        width = self.inputs.reference
        line = f"{self.path}: {self.inputs} to logits (N, {len(self.classes)})"
        line += f", features (N, {width})" if width else ""
        if self.difference is None:
            return f"{line}; not checked, onnxruntime is not installed"
        batches, frames = (" and ".join(map(str, values)) for values in (BATCHES, self.inputs.checked_frames()))
        checked = f"batches of {batches}, {frames} frames" + (", with and without a reference" if width else "")
        return f"{line}; within {self.difference:.2g} of the checkpoint's, {checked}"


def export_model(checkpoint: Path, form: str, out: Path | None = None) -> Exported:
    """Writes the stripped model of a checkpoint, after comparing it with the checkpoint's on random inputs.

    Args:
        checkpoint: a ``best.safetensors``, or the folder of a fold that holds one.
        form: ``"onnx"``, ``"torchscript"`` or ``"pt2"``.
        out: the file, or a folder for it; None is beside the checkpoint. Written whole or not at all.

    Returns:
        What was written. Any batch size; any length, where the encoder can be exported so, else ``max_frames``.

    Raises:
        CheckpointError: see :func:`load_model`.
        ConfigError: the frozen encoder that it was trained on is not there, or another one is in its place.
        RunError: an unknown format, a package that is missing, a method that cannot do without neutral speech in inference
            (DSC), an encoder that cannot be exported, or outputs that differ by more than ``TOLERANCE``.
    """
    check_form(form)
    need_packages(form)
    method, record = load_model(checkpoint)
    if method.neutral_in_inference and not method.neutral_optional:
        raise RunError(
            f"{record.method} hears a neutral recording of the speaker beside each utterance, for which an exported file has "
            "no input; use 'dsnet predict --neutral', or export another method: dsnet-enrolled takes one, too"
        )
    frozen = frozen_encoder(record.encoder) if record.encoder.is_frozen else None
    model = _deployed(method, frozen).eval().requires_grad_(False)
    beside = checkpoint if checkpoint.is_dir() else checkpoint.parent
    out = beside / FILE_NAMES[form] if out is None else out / FILE_NAMES[form] if out.is_dir() else out
    if out.resolve() == checkpoint.resolve():
        raise RunError(f"--out {out} is the checkpoint itself; expected another file")
    reason: Exception | None = None
    about = _metadata(record, method)
    wanted = Inputs(
        kind=(frozen or method.encoder).input_kind,
        frames=record.max_frames,
        shortest=record.max_frames,
        any_length=False,
        reference=method.encoder.num_features if method.neutral_optional else 0,
    )
    for inputs in _ways(model, wanted):
        try:
            content = FORMATS[form](model, inputs, json.dumps({**about, "front_end": _front_end(inputs)}))
            difference = _difference(_Checkpoint(method, frozen), RUNTIMES[form](content), inputs)
        except Exception as error:  # torch.export raises whatever a model does under it
            reason = error
            continue
        write_bytes(out, content)
        return Exported(out, inputs, record.classes, difference)
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    raise RunError(
        f"a model on {record.encoder.title} cannot be exported as {form} for batches of any size ({lines[0]}); "
        "those on cnn, on most timm encoders and on the wav2vec2 family can"
    )


def _deployed(method: Method, frozen: FrozenEncoder | None) -> nn.Module:
    """What of a method a file holds, behind the frozen encoder if there is one."""
    before = [] if frozen is None else [frozen]
    if method.neutral_optional:
        return ReferredModel(nn.Sequential(*before, method.encoder), _head(method))
    return nn.Sequential(*before, *method.inference_modules())


def _head(method: Method) -> DisentangleHead:
    head: DisentangleHead = method.get_submodule("head")  # type: ignore[assignment]
    return head


class _Checkpoint(NamedTuple):
    """The trained method itself, with which an exported file is compared: none of the code that only files use."""

    method: Method
    frozen: FrozenEncoder | None

    @torch.no_grad()
    def answer(self, inputs: Tensor, *reference: Tensor) -> list[Tensor]:
        encoded = inputs if self.frozen is None else self.frozen(inputs)
        if not reference:
            return [self.method(encoded)]
        h, (neutral, known) = self.method.encoder(encoded), reference
        logits = _head(self.method)(h, neutral=neutral, neutral_mask=known)
        assert isinstance(logits, Tensor)
        return [logits, h]


def _ways(model: nn.Module, wanted: Inputs) -> Iterator[Inputs]:
    """What an exported model should take, the best first; ``wanted`` is one length alone."""
    for shortest in _SHORTEST:
        inputs = wanted._replace(shortest=shortest, any_length=True)
        with contextlib.suppress(ShapeError):
            model(*inputs.example(1, shortest))
            yield inputs
            # Whisper has positions for so long and no longer.
            if wanted.kind == "waveform" and wanted.frames > shortest:
                yield inputs._replace(bounded=True)
            break
    yield wanted


def _metadata(record: ModelRecord, method: Method) -> dict[str, Any]:
    """What whoever runs the file must know of the model."""
    about: dict[str, Any] = {
        "method": record.method,
        "encoder": record.encoder.title,
        "classes": record.classes,
        "output": "logits",
    }
    if record.onset is not None:
        about |= {"onset": record.onset}  # what is given begins with the first sound, by so many dB
    if method.neutral_optional:  # 'dsnet enrol' writes the digest of the model into a speaker's file
        about |= {"reference": {"width": method.encoder.num_features, "model": model_digest(method)}}
    return about


def _front_end(inputs: Inputs) -> dict[str, Any]:
    """What whoever runs the file must know of its first input."""
    front_end: dict[str, Any] = {"input": inputs.kind, "sample_rate": SAMPLE_RATE, "max_frames": inputs.frames}
    front_end |= {"min_frames": inputs.shortest, "any_length": inputs.any_length and not inputs.bounded}
    if inputs.kind == "lmfb":
        front_end |= {"mel_bins": NUM_MEL_BINS, "deltas": 2, "frame_length": FRAME_LENGTH, "frame_shift": FRAME_SHIFT}
    return front_end


def _difference(checkpoint: _Checkpoint, run: Run | None, inputs: Inputs) -> float | None:
    if run is None:
        return None
    differences = [0.0]
    for example in inputs.compared():
        for name, found, expected in zip(inputs.output_names, run(example), checkpoint.answer(*example), strict=True):
            differences.append(float((found - expected).abs().max()))
            if not differences[-1] <= TOLERANCE * max(1.0, float(expected.abs().max())):  # nor is it NaN
                raise RunError(f"the exported model's {name} differ from the checkpoint's by {differences[-1]:.1e}")
    return max(differences)
