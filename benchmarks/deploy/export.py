"""Trained models for deployment: the stripped model of a checkpoint as ONNX, TorchScript or a torch.export archive.

A file holds what inference needs (encoder, a frozen one, too, P_er and C for DSNet; softmax is not in it) and, as JSON under the key
``dsnet``, what the caller needs: the classes and the front end. ONNX has it in ``metadata_props``, the other two among
their extra files.
"""

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from backbones import SAMPLE_RATE, num_samples
from backbones.frontend import FRAME_LENGTH, FRAME_SHIFT, NUM_MEL_BINS
from benchmarks.data.front_end import frozen_encoder
from benchmarks.deploy.export_files import FILE_NAMES
from benchmarks.errors import RunError
from benchmarks.output.files import RECORD
from benchmarks.training import ModelRecord, load_model
from dsnet_plugin import ShapeError
from dsnet_plugin.serialization import write_bytes

TOLERANCE = 1e-4
"""By how much the logits of an exported model may differ from the checkpoint's; of the largest, if that is above 1."""

"""The default name of each format's file."""

_BATCHES = (1, 3)
_SHORTEST = (16, 32)  # frames: of the paper's CNN, of timm's models

Run = Callable[[Tensor], Tensor]


class Inputs(NamedTuple):
    """What a model takes.

    ``kind`` is its encoder's ``input_kind``; an utterance has ``frames`` frames, or with ``any_length`` at least
    ``shortest``, and with ``bounded`` at most ``frames``. Waveforms are as long as their frames span.
    """

    kind: str
    frames: int
    shortest: int
    any_length: bool = True
    bounded: bool = False

    def example(self, rows: int, frames: int) -> Tensor:
        """Random inputs, (rows, 3, frames, 80) or (rows, samples); the same ones at each call."""
        shape = (rows, num_samples(frames)) if self.kind == "waveform" else (rows, 3, frames, NUM_MEL_BINS)
        return torch.randn(shape, generator=torch.Generator().manual_seed(frames))

    def traced(self) -> Tensor:
        """The inputs that a model is exported with."""
        return self.example(2, 2 * self.shortest + 11 if self.any_length else self.frames)

    def dynamic_shapes(self) -> tuple[dict[int, Any]]:
        """The free axes, for ``torch.export``."""
        axes: dict[int, Any] = {0: Dim("batch", min=1)}
        if self.any_length and self.kind == "waveform":
            longest = {"max": num_samples(self.frames)} if self.bounded else {}
            axes[1] = Dim("samples", min=num_samples(self.shortest), **longest)
        elif self.any_length:
            axes[2] = Dim("frames", min=self.shortest)
        return (axes,)

    def checked_frames(self) -> tuple[int, ...]:
        """The lengths on which an exported model is compared, none of them the one that it was exported with."""
        if self.bounded:
            return (self.shortest, min(self.frames, 3 * self.shortest + 5))
        return (self.shortest, 3 * self.shortest + 5) if self.any_length else (self.frames,)

    def __str__(self) -> str:
        """The shape, for a person."""
        frames = self.shortest if self.any_length else self.frames
        if self.bounded:
            return f"(N, {num_samples(frames)} <= samples <= {num_samples(self.frames)})"
        if self.kind == "waveform":
            return f"(N, samples{' >=' if self.any_length else ' ='} {num_samples(frames)})"
        return f"(N, 3, T{' >=' if self.any_length else ' ='} {frames}, {NUM_MEL_BINS})"


class Exported(NamedTuple):
    """A written file: what it takes, and by how much its logits differ; None where there is no runtime to tell."""

    path: Path
    inputs: Inputs
    classes: list[str]
    difference: float | None

    def __str__(self) -> str:
        """One line for a person."""
        line = f"{self.path}: {self.inputs} to logits (N, {len(self.classes)})"
        if self.difference is None:
            return f"{line}; not checked, onnxruntime is not installed"
        batches, frames = (" and ".join(map(str, values)) for values in (_BATCHES, self.inputs.checked_frames()))
        return f"{line}; within {self.difference:.2g} of the checkpoint's, batches of {batches}, {frames} frames"


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
        RunError: an unknown format, a package that is missing, a method that takes neutral speech in inference (DSC), an
            encoder that cannot be exported, or logits that differ by more than ``TOLERANCE``.
    """
    if form not in FILE_NAMES:
        near = get_close_matches(form, FILE_NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(FILE_NAMES)}"
        raise RunError(f"unknown format {form!r}; {hint}")
    if form == "onnx":
        _need_onnx()
    method, record = load_model(checkpoint)
    if method.neutral_in_inference:
        raise RunError(
            f"{record.method} hears a neutral recording of the speaker beside each utterance, and an exported file has "
            "one input; use 'dsnet predict --neutral', or export another method"
        )
    frozen = [frozen_encoder(record.encoder)] if record.encoder.is_frozen else []
    model = nn.Sequential(*frozen, *method.inference_modules()).eval().requires_grad_(False)
    beside = checkpoint if checkpoint.is_dir() else checkpoint.parent
    out = beside / FILE_NAMES[form] if out is None else out / FILE_NAMES[form] if out.is_dir() else out
    if out.resolve() == checkpoint.resolve():
        raise RunError(f"--out {out} is the checkpoint itself; expected another file")
    reason: Exception | None = None
    kind = (frozen[0] if frozen else method.encoder).input_kind
    for inputs in _wanted(model, kind, record.max_frames):
        try:
            content = _FORMATS[form](model, inputs, json.dumps(_metadata(record, inputs)))
            difference = _difference(model, _RUNTIMES[form](content), inputs)
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


def _wanted(model: nn.Module, kind: str, max_frames: int) -> Iterator[Inputs]:
    """What an exported model should take, the best first."""
    for shortest in _SHORTEST:
        inputs = Inputs(kind, max_frames, shortest)
        with contextlib.suppress(ShapeError):
            model(inputs.example(1, shortest))
            yield inputs
            if kind == "waveform" and max_frames > shortest:  # Whisper has positions for so long and no longer
                yield inputs._replace(bounded=True)
            break
    yield Inputs(kind, max_frames, max_frames, any_length=False)


def _metadata(record: ModelRecord, inputs: Inputs) -> dict[str, Any]:
    """What whoever runs the file must know."""
    front_end: dict[str, Any] = {"input": inputs.kind, "sample_rate": SAMPLE_RATE, "max_frames": record.max_frames}
    front_end |= {"min_frames": inputs.shortest, "any_length": inputs.any_length and not inputs.bounded}
    if inputs.kind == "lmfb":
        front_end |= {"mel_bins": NUM_MEL_BINS, "deltas": 2, "frame_length": FRAME_LENGTH, "frame_shift": FRAME_SHIFT}
    named = {"method": record.method, "encoder": record.encoder.title, "classes": record.classes}
    return {**named, "output": "logits", "front_end": front_end}


def _difference(model: nn.Module, run: Run | None, inputs: Inputs) -> float | None:
    if run is None:
        return None
    differences = []
    for rows in _BATCHES:
        for frames in inputs.checked_frames():
            example = inputs.example(rows, frames)
            expected = model(example)
            differences.append(float((run(example) - expected).abs().max()))
            if not differences[-1] <= TOLERANCE * max(1.0, float(expected.abs().max())):  # nor is it NaN
                raise RunError(f"the exported model's logits differ from the checkpoint's by {differences[-1]:.1e}")
    return max(differences)


def _program(model: nn.Module, inputs: Inputs) -> ExportedProgram:
    # Poolings of feature maps need it; of waveforms it would tie the batch size instead.
    free = _free_shapes() if inputs.kind == "lmfb" else contextlib.nullcontext()
    with _quiet(), free:
        program = torch.export.export(model, (inputs.traced(),), dynamic_shapes=inputs.dynamic_shapes())
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _pt2(model: nn.Module, inputs: Inputs, metadata: str) -> bytes:
    stream = io.BytesIO()
    with _quiet():
        torch.export.save(_program(model, inputs), stream, extra_files={RECORD: metadata})
    return stream.getvalue()


def _onnx(model: nn.Module, inputs: Inputs, metadata: str) -> bytes:
    names: dict[str, Any] = {"input_names": ["inputs"], "output_names": ["logits"]}
    names["dynamic_shapes"] = inputs.dynamic_shapes()  # free already; here they name the axes
    with _quiet():
        program = torch.onnx.export(_program(model, inputs), dynamo=True, verbose=False, **names)
    assert program is not None
    program.model.metadata_props[RECORD] = metadata
    content: bytes = program.model_proto.SerializeToString()
    return content


def _torchscript(model: nn.Module, inputs: Inputs, metadata: str) -> bytes:
    jit: Any = torch.jit
    stream = io.BytesIO()
    with _quiet():
        traced = jit.trace(model, (inputs.traced(),), check_trace=False)
        jit.save(traced, stream, _extra_files={RECORD: metadata})
    return stream.getvalue()


def _onnxruntime(content: bytes) -> Run | None:
    try:
        onnxruntime = import_module("onnxruntime")
    except ModuleNotFoundError:
        return None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {"inputs": inputs.numpy()})[0])


def _loaded_pt2(content: bytes) -> Run:
    with _quiet():
        run: Run = torch.export.load(io.BytesIO(content)).module()
    return run


def _loaded_torchscript(content: bytes) -> Run:
    with _quiet():
        run: Run = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]
    return run


_FORMATS: dict[str, Callable[[nn.Module, Inputs, str], bytes]]
_FORMATS = {"onnx": _onnx, "torchscript": _torchscript, "pt2": _pt2}

_RUNTIMES: dict[str, Callable[[bytes], Run | None]]
_RUNTIMES = {"onnx": _onnxruntime, "torchscript": _loaded_torchscript, "pt2": _loaded_pt2}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences torch's warnings, which are for maintainers of export code: tracing is deprecated, a value is
    constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _free_shapes() -> Iterator[None]:
    """Keeps ``torch.export`` from tying an axis to a length for no need.

    Torch 2.11 computes a pooling's output length with a floor division that asks whether there is a remainder, though
    the answer changes nothing for Python's ``//``: a CNN would be valid for lengths of one pattern of remainders alone.
    And an axis that is 1 somewhere, such as T // 16, would have to be so or never be.
    """
    with contextlib.ExitStack() as stack:
        meta: Any = import_module("torch._meta_registrations")
        if hasattr(meta, "div_rtn"):
            stack.enter_context(mock.patch.object(meta, "div_rtn", lambda x, y: x // y))
        config: Any = import_module("torch.fx.experimental._config")
        if hasattr(config, "backed_size_oblivious"):
            stack.enter_context(config.patch(backed_size_oblivious=True))
        yield


def _need_onnx() -> None:
    for package in ("onnx", "onnxscript"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise RunError(f"export to ONNX needs {package}: pip install 'dsnet_plugin[export]'") from error
