"""How fast a method trains and infers on this device, and what keeps it from being faster."""

import statistics
from collections.abc import Callable
from typing import Any, Literal

import torch

from benchmarks.cost.clock import Clock, in_turn, median_ratio
from benchmarks.cost.speed_record import InferenceSpeed, SpeedRecord, TrainingSpeed
from benchmarks.cost.timed_method import TimedMethod, random_data
from benchmarks.data import PAPERS_CNN, EncoderSpec
from benchmarks.errors import RunError
from benchmarks.methods import Config
from benchmarks.output.environment import describe
from benchmarks.training import TrainingSettings
from benchmarks.training.batch_norm_statistics import STATISTICS_UTTERANCES
from benchmarks.training.device import make_accelerator, resolve_precision
from dsnet_plugin.config import check_choice

BASELINE = "baseline"
"""What every method is measured beside."""


def measure_speed(
    name: str,
    encoder: EncoderSpec = PAPERS_CNN,
    config: Config | None = None,
    batch_size: int = 32,
    max_frames: int = 600,
    precision: str = "auto",
    device: str = "auto",
    compile: bool = False,
    rounds: int = 5,
    steps: int | None = None,
) -> SpeedRecord:
    """Measures a method and the baseline in turn, on random features of eight speakers; times are medians over rounds.

    Args:
        name: a name of ``METHODS`` or ``VARIANTS``.
        encoder: what the method is on; one that is trained.
        config: the method's settings.
        batch_size: utterances in a batch, in training and in inference.
        max_frames: the frames of 10 ms of an utterance.
        precision: ``"fp32"``, ``"bf16"``, or ``"auto"`` for what the device is fast in.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        compile: put the encoder through ``torch.compile``.
        rounds: the rounds that count; one more comes first, to warm up.
        steps: training batches a round, of which the first does not count; None for 3 on the CPU and 20 on CUDA.

    Raises:
        DSNetError: an unknown name, no such device, or fewer utterances, rounds or steps than can be measured.
    """
    check_choice("precision", precision, Literal["auto", "fp32", "bf16"])
    check_choice("device", device, Literal["auto", "cpu", "cuda"])
    for what, number, least in (("batch_size", batch_size, 2), ("rounds", rounds, 1), ("steps", steps, 2)):
        if number is not None and number < least:
            raise RunError(f"{what}={number}: expected at least {least}")
    where = make_accelerator(device, "fp32").device
    precision = resolve_precision(precision, where)
    settings = TrainingSettings(
        encoder=encoder, batch_size=batch_size, max_frames=max_frames, precision=precision, compile=compile
    )
    accelerator = make_accelerator(device, precision)
    data, fold = random_data(settings, steps or (20 if where.type == "cuda" else 3), where)
    methods = {name: TimedMethod(name, config or {}, data, fold, settings, accelerator)}
    if name != BASELINE:
        methods[BASELINE] = TimedMethod(BASELINE, {}, data, fold, settings, accelerator)
    runs: dict[str, Callable[[], Any]] = {key: timed.round for key, timed in methods.items()}
    rounds_of = in_turn({**runs, "matmul": _matmul_rate(where, precision)}, rounds)
    seconds, baseline = _columns(rounds_of[name]), _columns(rounds_of[BASELINE])
    shares = [
        methods[name].macs / batch / rate for batch, rate in zip(seconds["training"], rounds_of["matmul"], strict=True)
    ]
    return SpeedRecord(
        method=name,
        encoder=encoder.title,
        config=methods[name].method.config(),
        max_frames=max_frames,
        batch_size=batch_size,
        precision=precision,
        compile=compile,
        training=TrainingSpeed(
            samples_per_second=batch_size / statistics.median(seconds["training"]),
            times_baseline=median_ratio(seconds["training"], baseline["training"]),
            outside_share=median_ratio(seconds["outside"], seconds["training"]),
            statistics_steps=median_ratio(seconds["statistics"], seconds["training"])
            * STATISTICS_UTTERANCES
            / batch_size,
            matmul_share=statistics.median(shares),
            peak_bytes=methods[name].training_peak(),
        ),
        inference=InferenceSpeed(
            latency_ms=1000 * statistics.median(seconds["latency"]),
            samples_per_second=batch_size / statistics.median(seconds["inference"]),
            times_baseline=median_ratio(seconds["inference"], baseline["inference"]),
            peak_bytes=methods[name].inference_peak(),
        ),
        environment=describe(where),
    )


def _matmul_rate(device: torch.device, precision: str) -> Callable[[], float]:
    """A call that measures the multiply-accumulate operations a second of a large matrix product."""
    side, clock = 8192 if device.type == "cuda" else 2048, Clock(device)
    matrix = torch.randn(side, side, device=device).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    return lambda: side**3 / clock.seconds(lambda: matrix @ matrix)


def _columns(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    return {key: [one[key] for one in rounds] for key in rounds[0]}
