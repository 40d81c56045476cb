"""What a DSNet training step costs against a baseline step: ``python -m benchmarks.step_cost``.

Both are timed in turn in one run, so that what else the machine does falls on both; the figure is the median of the
pairs' ratios.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from backbones import create_encoder
from backbones.frontend import NUM_MEL_BINS
from benchmarks.batches import Side, SpeechData
from benchmarks.corpora import EMOTIONS, Utterance
from benchmarks.environment import describe
from benchmarks.methods import METHODS, create_method
from benchmarks.training import make_accelerator, training_step

BATCH_SIZE, SPEAKERS, PAIRS, WARM_UP = 32, 8, 10, 2


def main() -> None:
    """Prints the median seconds of both steps and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--max-frames", type=int, default=600)
    options = parser.parse_args()
    accelerator = make_accelerator(options.device, options.precision)

    # Every speaker has as many utterances in the batch, and one more, neutral, as the reference.
    utterances = [
        Utterance(f"{speaker}-{i}", Path(), f"speaker {speaker}", EMOTIONS[i % 4 if i < BATCH_SIZE // SPEAKERS else 2])
        for speaker in range(SPEAKERS)
        for i in range(BATCH_SIZE // SPEAKERS + 1)
    ]
    features = [torch.randn(options.max_frames, NUM_MEL_BINS) for _ in utterances]
    data = SpeechData(utterances, features, options.max_frames, accelerator.device)

    steps = {}
    for name in ("baseline", "dsnet"):
        method = create_method(name, create_encoder("cnn"), len(EMOTIONS)).train()
        side = Side(data, range(len(utterances)), "error" if METHODS[name].needs_neutral else None, seed=0)
        model, optimizer = accelerator.prepare(method, torch.optim.Adam(method.parameters(), lr=1e-3))
        steps[name] = (model, optimizer, side)

    def seconds(name: str) -> float:
        model, optimizer, side = steps[name]
        started = time.perf_counter()
        training_step(model, side.batch(side.training_indices(0)[:BATCH_SIZE], 0), optimizer, accelerator)
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    pairs = [(seconds("baseline"), seconds("dsnet")) for _ in range(WARM_UP + PAIRS)][WARM_UP:]
    baseline, dsnet = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{describe(accelerator.device)}")
    print(f"batch {BATCH_SIZE}, {SPEAKERS} speakers, {options.max_frames} frames, {options.precision}, {PAIRS} pairs")
    print(f"baseline {baseline:.3f} s, DSNet {dsnet:.3f} s a step: {ratio:.2f} times")


if __name__ == "__main__":
    main()
