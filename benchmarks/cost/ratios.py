"""Two ratios within one run: what bf16 gains in training, and what the plug-in costs in inference."""

import copy

import torch
from torch import nn

from backbones import create_encoder
from benchmarks.corpora import EMOTIONS
from benchmarks.cost.clock import Clock, in_turn, median_ratio
from benchmarks.cost.speed import BASELINE
from benchmarks.cost.timed_method import TimedMethod, random_data
from benchmarks.data import PAPERS_CNN, EncoderSpec
from benchmarks.training import TrainingSettings
from benchmarks.training.device import make_accelerator
from dsnet_plugin import Classifier, wrap


def bf16_gain(batch_size: int = 32, max_frames: int = 600, device: str = "auto", rounds: int = 5) -> float:
    """How many times as fast the baseline on the paper's CNN trains in bf16 and channels-last as in fp32 and contiguous."""
    timed = {}
    for precision in (
        "fp32",
        "bf16",
    ):  # in this order: Accelerate keeps one precision a process, and fp32 asks for none
        accelerator = make_accelerator(device, precision)
        settings = TrainingSettings(batch_size=batch_size, max_frames=max_frames, precision=precision)
        data, fold = random_data(settings, 3, accelerator.device)
        timed[precision] = TimedMethod(BASELINE, {}, data, fold, settings, accelerator)
    timed["fp32"].method.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # not in its stubs
    timed["fp32"].step.optimizer.state.clear()  # moments in the other layout, which CUDA's fused Adam refuses
    trainings = in_turn({precision: method.train for precision, method in timed.items()}, rounds)
    return median_ratio(*([seconds for seconds, _ in trainings[precision]] for precision in ("fp32", "bf16")))


def stripped_cost(
    encoder: EncoderSpec = PAPERS_CNN,
    batch_size: int = 32,
    max_frames: int = 600,
    device: str = "auto",
    rounds: int = 20,
) -> float:
    """Seconds of a stripped model's inference, in fp32, over those of the model that was wrapped, with its classifier."""
    where = make_accelerator(device, "fp32").device
    settings = TrainingSettings(encoder=encoder, batch_size=batch_size, max_frames=max_frames)
    data, _ = random_data(settings, 1, where)
    inputs = data.inputs(range(batch_size))
    made = create_encoder(encoder.name, **encoder.options)
    bare = nn.Sequential(made, Classifier(made.num_features, len(EMOTIONS))).to(where).eval()
    stripped = wrap(copy.deepcopy(bare), head="1", num_classes=len(EMOTIONS)).strip()
    clock = Clock(where)

    def seconds(model: nn.Module) -> float:
        with torch.inference_mode():
            return clock.seconds(lambda: model(inputs))

    latencies = in_turn({"stripped": lambda: seconds(stripped), "bare": lambda: seconds(bare)}, rounds)
    return median_ratio(latencies["stripped"], latencies["bare"])
