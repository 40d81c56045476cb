"""Speed: what is measured, that it reacts to what it should react to, and the command. No test asserts how fast."""

import itertools
import json
import math
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones import CNNEncoder
from benchmarks.cost.clock import Clock
from benchmarks.cost.complexity import measure
from benchmarks.cost.ratios import bf16_gain, stripped_cost
from benchmarks.cost.speed import measure_speed
from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.cost.timed_method import TimedMethod, random_data
from benchmarks.data import EncoderSpec
from benchmarks.data.batches import FoldSide
from benchmarks.errors import RunError
from benchmarks.methods import METHODS
from benchmarks.output.typed_json import from_json, to_json
from benchmarks.training.batch_norm_statistics import STATISTICS_UTTERANCES
from benchmarks.training.device import make_accelerator
from benchmarks.training.settings import TrainingSettings
from dsnet_plugin import ConfigError, ShapeError
from tests.backbones.tiny_speech_models import save_tiny

SMALL = {"batch_size": 4, "max_frames": 32, "device": "cpu", "rounds": 1, "steps": 2}
TRAINING = {"samples_per_second", "times_baseline", "outside_share", "statistics_steps", "matmul_share", "peak_bytes"}
INFERENCE = {"latency_ms", "samples_per_second", "times_baseline", "peak_bytes"}
CPU = torch.device("cpu")


def assert_positive(record):
    assert set(record["training"]) == TRAINING
    assert set(record["inference"]) == INFERENCE
    for value in (*record["training"].values(), *record["inference"].values()):
        assert math.isfinite(value)
        assert value > 0
    assert record["training"]["outside_share"] < 1


def measured(*arguments):
    """The record of a small measurement, as JSON gives it back."""
    record = measure_speed(*arguments, precision="fp32", **SMALL)
    written = json.loads(json.dumps(to_json(record)))
    assert from_json(SpeedRecord, written, "a line", "") == record
    return written


@pytest.fixture
def timed():
    """Makes a small method in the training loop."""

    def make(name="baseline", steps=2, batch_size=4):
        settings = TrainingSettings(batch_size=batch_size, max_frames=32)
        data, fold = random_data(settings, steps, CPU)
        return TimedMethod(name, {}, data, fold, settings, make_accelerator("cpu", "fp32"))

    return make


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_record_of_positive_numbers_that_json_can_hold(name):
    record = measured(name)
    assert_positive(record)
    chosen = {
        "method": name,
        "encoder": "cnn",
        "batch_size": 4,
        "max_frames": 32,
        "precision": "fp32",
        "compile": False,
    }
    assert record.items() >= chosen.items()
    assert torch.__version__.startswith(record["environment"]["versions"]["torch"])
    assert (record["training"]["times_baseline"] == record["inference"]["times_baseline"] == 1) == (name == "baseline")


@pytest.mark.parametrize("kind", ["timm", "hf"])
def test_other_encoders_are_measured_with_their_kind_of_input(kind, tmp_path):
    name = "timm/mobilenetv3_small_050" if kind == "timm" else f"hf/{save_tiny(tmp_path / 'w2v', 'wav2vec2')}"
    assert_positive(measured("dsnet", EncoderSpec(name)))


def test_slow_preparation_of_batches_shows_as_time_outside_the_step(monkeypatch):
    plain = measure_speed("baseline", precision="fp32", **SMALL).training.outside_share
    prepare = FoldSide.batch

    def slow(*arguments):
        time.sleep(0.5)
        return prepare(*arguments)

    monkeypatch.setattr(FoldSide, "batch", slow)
    assert measure_speed("baseline", precision="fp32", **SMALL).training.outside_share > plain + 0.1


def test_times_baseline_is_the_median_ratio_to_the_baseline_of_the_same_round(monkeypatch):
    rounds = {"baseline": iter([9, 1, 2, 4]), "dsnet": iter([9, 3, 4, 8])}  # seconds; the first round warms up

    def measured(self):
        return dict.fromkeys(
            ("training", "outside", "statistics", "latency", "inference"), next(rounds[self.method.name])
        )

    monkeypatch.setattr(TimedMethod, "round", measured)
    record = measure_speed("dsnet", precision="fp32", **{**SMALL, "rounds": 3})
    assert record.training.times_baseline == record.inference.times_baseline == 2
    assert record.training.samples_per_second == SMALL["batch_size"] / 4
    assert record.training.statistics_steps == STATISTICS_UTTERANCES / SMALL["batch_size"]


def test_macs_are_those_of_forward_and_twice_as_many_of_backward(timed):
    # Backward has a product for the weights' gradient and one for the input's.
    timed = timed()
    forward = 4 * sum(
        o * i * 25 * (32 >> k) * (80 >> k) for k, (i, o) in enumerate([(3, 32), (32, 64), (64, 128), (128, 256)])
    )
    assert timed.macs == pytest.approx(3 * forward, rel=0.01)


def test_a_phase_counts_its_own_steps(timed):
    one, two = timed("baseline"), timed("menan")
    for method in (one, two):
        method.clock.mark = itertools.count().__next__
    # Marks fall at a step's start and end: 2 ticks from end to end, of which 1 lies before the step.
    assert one.train() == (2, 1)
    assert two.train() == (4, 2)


def test_the_first_batch_and_a_last_smaller_one_do_not_count(timed):
    baseline = timed(steps=2, batch_size=5)  # 24 utterances
    marks = iter([0, 2, 10, 12, 20, 22, 30, 32, 1000, 1002])  # a step's start, its end
    baseline.clock.mark = marks.__next__
    assert baseline.train() == (10, 8)
    assert list(marks) == []


def test_peaks_hold_weights_gradients_and_moments_in_training_and_the_deployed_weights_in_inference(timed):
    dsnet = timed("dsnet")
    dsnet.train()
    weights = 4 * sum(p.numel() for p in dsnet.method.parameters())
    deployed = 4 * sum(p.numel() for m in dsnet.method.inference_modules() for p in m.parameters())
    assert dsnet.training_peak() > 4 * weights
    assert deployed < dsnet.inference_peak() < dsnet.training_peak()


def test_the_gain_of_bf16_compares_two_precisions_and_two_layouts(monkeypatch):
    seen = []
    train = TimedMethod.train

    def watched(self):
        weight = self.method.encoder.blocks[1][0].weight
        hook = self.method.encoder.blocks.register_forward_hook(lambda _, __, output: kinds.add(output.dtype))
        kinds = set()
        found = train(self)
        hook.remove()
        seen.append((kinds, weight.is_contiguous(memory_format=torch.channels_last)))
        return found

    monkeypatch.setattr(TimedMethod, "train", watched)
    gain = bf16_gain(batch_size=4, max_frames=32, device="cpu", rounds=1)
    assert math.isfinite(gain)
    assert gain > 0
    assert seen.count(({torch.float32}, False)) == seen.count(({torch.bfloat16}, True)) == 2


def test_the_stripped_models_cost_is_that_of_encoder_projector_and_classifier_over_encoder_and_classifier(monkeypatch):
    def operations(_, run):
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    monkeypatch.setattr(Clock, "seconds", operations)  # so that no other work on this machine counts
    projector = 256 * 64 + 64 * 256 + 256 * 256
    bare = measure("baseline", max_frames=32).inference_macs
    cost = stripped_cost(batch_size=4, max_frames=32, device="cpu", rounds=1)
    assert cost - 1 == pytest.approx(projector / bare, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"name": "dsnett"}, RunError, "unknown method 'dsnett'; did you mean dsnet"),
        ({"encoder": EncoderSpec("cnnn")}, ConfigError, "unknown encoder 'cnnn'; did you mean 'cnn'"),
        ({"config": {"depth": 3}}, RunError, "does not take these settings: .*depth"),
        ({"batch_size": 1}, RunError, "batch_size=1: expected at least 2"),
        ({"steps": 1}, RunError, "steps=1: expected at least 2"),
        ({"steps": 0}, RunError, "steps=0: expected at least 2"),
        ({"rounds": 0}, RunError, "rounds=0: expected at least 1"),
        ({"max_frames": 8}, ShapeError, "8 frames; .* at least 16"),
        ({"precision": "fp8"}, ConfigError, "precision='fp8': expected one of 'auto', 'fp32', 'bf16'"),
        ({"device": "tpu"}, ConfigError, "device='tpu': expected one of 'auto', 'cpu', 'cuda'"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        measure_speed(**{"name": "dsnet", **SMALL, **settings})


def test_the_command_prints_a_row_and_writes_a_line_for_each_method(dsnet, tmp_path):
    lines = tmp_path / "new" / "speed.jsonl"
    options = ("--batch-size", "4", "--max-frames", "32", "--rounds", "1", "--device", "cpu", "--precision", "fp32")
    status, out, errors = dsnet("speed", "--method", "baseline,dsnet", *options, "--out", lines)
    assert (status, errors) == (0, [])
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ")]
    assert rows == ["method", "baseline", "dsnet"]
    assert "cnn, batches of 4, 32 frames, fp32, CPU" in out
    assert "8 speakers, medians of 1 rounds" in out
    assert "the bare model's time" in out
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["method"] for record in records] == ["baseline", "dsnet"]
    for record in records:
        assert_positive(record)


def test_the_command_refuses_an_unknown_method_before_it_measures_any(dsnet, tmp_path):
    status, out, errors = dsnet("speed", "--method", "baseline,dsnett", "--out", tmp_path / "speed.jsonl")
    assert (status, out) == (2, "")
    assert errors == ["dsnet: unknown method 'dsnett'; did you mean dsnet?"]
    assert not (tmp_path / "speed.jsonl").exists()


def test_cuda_is_refused_where_there_is_none(dsnet):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    status, _, errors = dsnet("speed", "--method", "baseline", "--device", "cuda")
    assert status == 2
    assert "torch sees no CUDA device" in errors[0]


def test_the_encoder_is_the_papers_unless_another_is_named(timed):
    assert isinstance(timed().method.encoder, CNNEncoder)
