"""Where a method is trained, and in what arithmetic."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch._functorch import config as functorch

from benchmarks.errors import RunError
from benchmarks.methods import Method


def make_accelerator(device: str, precision: str) -> Accelerator:
    """Accelerate for ``device`` ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        RunError: CUDA asked for and not there, or a launch of several processes.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu or auto")
    # Accelerate keeps one device and precision for the process; a second experiment may want others.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")
    if accelerator.num_processes > 1:
        raise RunError(f"launched as {accelerator.num_processes} processes; dsnet runs as one: start it directly")
    return accelerator


def resolve_precision(precision: str, device: torch.device) -> str:
    """``"auto"`` as what the device is fast in: bf16 on CUDA and on a CPU with AVX-512 bf16, else fp32."""
    if precision != "auto":
        return precision
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if fast else "fp32"


def put_on_device(method: Method, device: torch.device) -> Method:
    """Moves a method to the device in the layout that its convolutions and poolings are fastest in, and returns it."""
    method.to(device)
    if method.encoder.input_kind == "lmfb":
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
    return method


def compile_encoder(method: Method) -> None:
    """Has torch compile a method's encoder at its first call."""
    # Watching goes through a step's graph once a loss, and a compiled backward pass gives its buffers away at the first.
    functorch.donated_buffer = False
    method.encoder.compile()
