"""The formats of exported models: how each is written, and how it is run again to be compared."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from benchmarks.deploy.export_inputs import Inputs
from benchmarks.errors import RunError
from benchmarks.output.files import RECORD

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""A model at work: its inputs to its outputs."""


def _program(model: nn.Module, inputs: Inputs) -> ExportedProgram:
    # Poolings of feature maps need it; of waveforms it would tie the batch size instead.
    free = _free_shapes() if inputs.kind == "lmfb" else contextlib.nullcontext()
    with _quiet(), free:
        program = torch.export.export(model, inputs.traced(), dynamic_shapes=inputs.dynamic_shapes())
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _pt2(model: nn.Module, inputs: Inputs, metadata: str) -> bytes:
    stream = io.BytesIO()
    with _quiet():
        torch.export.save(_program(model, inputs), stream, extra_files={RECORD: metadata})
    return stream.getvalue()


def _onnx(model: nn.Module, inputs: Inputs, metadata: str) -> bytes:
    names: dict[str, Any] = {"input_names": inputs.names, "output_names": inputs.output_names}
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
        traced = jit.trace(model, inputs.traced(), check_trace=False)
        jit.save(traced, stream, _extra_files={RECORD: metadata})
    return stream.getvalue()


def _onnxruntime(content: bytes) -> Run | None:
    try:
        onnxruntime = import_module("onnxruntime")
    except ModuleNotFoundError:
        return None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [taken.name for taken in session.get_inputs()]
    return lambda inputs: [
        torch.from_numpy(output)
        for output in session.run(None, {name: one.numpy() for name, one in zip(names, inputs, strict=True)})
    ]


def _loaded_pt2(content: bytes) -> Run:
    with _quiet():
        return _listing(torch.export.load(io.BytesIO(content)).module())


def _loaded_torchscript(content: bytes) -> Run:
    with _quiet():
        return _listing(torch.jit.load(io.BytesIO(content)))  # type: ignore[no-untyped-call]


def _listing(module: Callable[..., Any]) -> Run:
    """Runs a module of one output or of several."""

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        outputs = module(*inputs)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    return run


FORMATS: dict[str, Callable[[nn.Module, Inputs, str], bytes]]
FORMATS = {"onnx": _onnx, "torchscript": _torchscript, "pt2": _pt2}
"""How a format writes a model with what it takes and with its metadata, as JSON."""

RUNTIMES: dict[str, Callable[[bytes], Run | None]]
RUNTIMES = {"onnx": _onnxruntime, "torchscript": _loaded_torchscript, "pt2": _loaded_pt2}
"""How a written model is run again; None where no runtime is installed."""


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


def need_packages(form: str) -> None:
    """Refuses a format whose packages are not installed.

    Raises:
        RunError: says what to install.
    """
    if form != "onnx":
        return
    for package in ("onnx", "onnxscript"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise RunError(f"export to ONNX needs {package}: pip install 'dsnet_plugin[export]'") from error
