"""What the stripped DSNet's inference costs against the bare model's: ``python -m benchmarks.inference_cost``.

The bare model is the paper's CNN with its classifier; the other is that model wrapped and stripped. Both are timed in turn
in one run, the first of a pair alternating, so that what else the machine does falls on both; the figure is the median
of the pairs' ratios.
"""

import argparse
import copy
import statistics
import time

import torch
from torch import nn

from backbones import create_encoder
from backbones.frontend import NUM_MEL_BINS
from benchmarks.corpora import EMOTIONS
from benchmarks.environment import describe
from dsnet_plugin import Classifier, wrap

BATCH_SIZE, PAIRS, WARM_UP, BOUND = 8, 20, 2, 1.03


def main() -> None:
    """Prints the median seconds of both models and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--max-frames", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()

    encoder = create_encoder("cnn")
    bare = nn.Sequential(encoder, Classifier(encoder.num_features, len(EMOTIONS))).to(options.device).eval()
    models = {"bare": bare, "stripped": wrap(copy.deepcopy(bare), head="1", num_classes=len(EMOTIONS)).strip()}
    inputs = torch.randn(BATCH_SIZE, 3, options.max_frames, NUM_MEL_BINS, device=options.device)

    def seconds(name: str) -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            models[name](inputs)
        if options.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    pairs = []
    for i in range(WARM_UP + options.pairs):
        order = ("bare", "stripped") if i % 2 else ("stripped", "bare")
        pairs.append({name: seconds(name) for name in order})
    pairs = pairs[WARM_UP:]
    bare_seconds, stripped_seconds = (statistics.median(pair[name] for pair in pairs) for name in models)
    ratio = statistics.median(pair["stripped"] / pair["bare"] for pair in pairs)
    print(f"{describe(torch.device(options.device))}")
    print(f"batch {BATCH_SIZE}, {options.max_frames} frames, fp32, {options.pairs} pairs")
    print(f"bare {bare_seconds:.4f} s, stripped DSNet {stripped_seconds:.4f} s: {ratio:.3f} times (bound {BOUND})")


if __name__ == "__main__":
    main()
