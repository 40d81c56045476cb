"""``dsnet speed``: how fast methods train and infer on this machine."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.choices import Backbone, Device, EncoderOptions, encoder_spec
from benchmarks.methods import METHOD_NAMES, check_method
from benchmarks.output.formats import terminal


class SpeedPrecision(str, Enum):
    """Arithmetic of the encoder; auto is bf16 where the device is fast in it."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


def speed(
    method: Annotated[str, typer.Option(help=f"'all', or with commas some of {', '.join(METHOD_NAMES)}.")] = "all",
    backbone: Backbone = "cnn",
    encoder_option: EncoderOptions = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Utterances in a batch.")] = 32,
    max_frames: Annotated[int, typer.Option(min=16, help="Frames of 10 ms of an utterance.")] = 600,
    device: Annotated[Device, typer.Option(help="Where to compute; auto takes CUDA where there is one.")] = Device.auto,
    precision: Annotated[
        SpeedPrecision, typer.Option(help="auto is bf16 where the device is fast in it.")
    ] = SpeedPrecision.auto,
    compile: Annotated[bool, typer.Option("--compile", help="Put the encoder through torch.compile.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of measurements; the median is printed.")] = 5,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets a line for each method.")] = None,
) -> None:
    """Measures training and inference.

    Each method takes turns with the baseline on random features, in the loop that trains. 'outside' is the share of
    training time between the steps, 'statistics' what recomputing batch norm's adds to an epoch, 'of matmul' the arithmetic
    done as a share of what a large matrix product does in that time.

    \b
    Example:
      dsnet speed --method baseline,dsnet --max-frames 300 --out speed.jsonl
    """
    names = list(METHOD_NAMES) if method == "all" else list(dict.fromkeys(method.split(",")))
    for name in names:
        check_method(name)
    encoder = encoder_spec(backbone, encoder_option)
    if out is not None:  # before the work: a folder that may not be written
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch()
    import torch
    from tqdm import tqdm

    from benchmarks.cost.complexity import NUM_SPEAKERS
    from benchmarks.cost.ratios import bf16_gain, stripped_cost
    from benchmarks.cost.speed import measure_speed
    from benchmarks.cost.speed_table import measured_under, speed_table
    from benchmarks.output.files import append_line
    from benchmarks.output.typed_json import to_json
    from benchmarks.training.device import resolve_precision

    records = []
    for name in tqdm(names, desc="speed", unit="method", leave=False):
        records.append(
            measure_speed(
                name,
                encoder,
                None,
                batch_size,
                max_frames,
                precision.value,
                device.value,
                compile,
                rounds,
            )
        )
        if out is not None:
            append_line(out, to_json(records[-1]))
    typer.echo(terminal(speed_table(records)))
    typer.echo(f"\n{measured_under(records[-1])}; {NUM_SPEAKERS} speakers, medians of {rounds} rounds")
    where = torch.device("cpu" if device is Device.cpu or not torch.cuda.is_available() else "cuda")
    if backbone == "cnn" and resolve_precision("auto", where) == "bf16":
        gain = bf16_gain(batch_size, max_frames, device.value, rounds)
        typer.echo(f"bf16 and channels-last train {gain:.2f} times as fast as fp32 and contiguous")
    cost = stripped_cost(encoder, batch_size, max_frames, device.value)
    typer.echo(f"a wrapped and stripped model infers in {cost:.3f} times the bare model's time, in fp32")
