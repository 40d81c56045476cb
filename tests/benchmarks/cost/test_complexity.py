from functools import cache

import pytest
import torch
import torch.nn.functional as F

from benchmarks.cost.complexity import NUM_SPEAKERS, PAPER_TABLE_3, Complexity, counts_table, measure
from benchmarks.data import EncoderSpec
from benchmarks.methods import METHODS, VARIANTS, Baseline

counted = cache(measure)


def macs(convolutions, linears=()):
    """THOP's rule by hand: multiplications of convolutions and linear layers, 4 for each batch-norm element."""
    return sum(out * time * mel * inputs * k * k for inputs, out, k, time, mel in convolutions) + sum(
        inputs * outputs for inputs, outputs in linears
    )


FRAMES = [(600, 80), (300, 40), (150, 20), (75, 10)]
CHANNELS = [3, 32, 64, 128, 256]
ENCODER = (
    macs([(CHANNELS[i], CHANNELS[i + 1], 5, *FRAMES[i]) for i in range(4)])
    + 4 * (3 * 600 * 80 + sum(CHANNELS[i + 1] * FRAMES[i][0] * FRAMES[i][1] for i in range(4)))
    + 2 * macs([(256, 256, 1, 37, 1)])
)
CLASSIFIER = macs([], [(256, 64), (64, 4)]) + 4 * 64
SPEAKER_CLASSIFIER = macs([], [(256, 64), (64, 8)]) + 4 * 64
DOMAIN_CLASSIFIER = macs([], [(256, 64), (64, 2)]) + 4 * 64
ATTENTION = macs([], [(256, 64), (64, 256), (256, 256)])
RESTORER = macs([], [(512, 256), (256, 256)])
CONDITIONS = macs([], [(256, channels) for channels in CHANNELS[1:]])

BASELINE = (1_227_140, ENCODER + CLASSIFIER)
STANDARDISED = (1_326_020, ENCODER + CLASSIFIER + ATTENTION)
DSC = (2_437_444, 2 * ENCODER + CLASSIFIER)
CONDITIONED = (2_560_804, 2 * ENCODER + CLASSIFIER + CONDITIONS)


@pytest.mark.parametrize(
    ("name", "training", "inference"),
    [
        ("baseline", BASELINE, BASELINE),
        ("dsc", DSC, DSC),
        ("dsc-multistage", CONDITIONED, CONDITIONED),
        ("isnet", (2_553_160, 9 * ENCODER + 2 * CLASSIFIER + 2 * ATTENTION), STANDARDISED),
        ("dsnet", (1_622_020, 2 * ENCODER + CLASSIFIER + 2 * ATTENTION + RESTORER), STANDARDISED),
        ("menan", (1_244_236, 2 * ENCODER + CLASSIFIER + 2 * SPEAKER_CLASSIFIER), BASELINE),
        ("dann", (1_244_236, ENCODER + CLASSIFIER + SPEAKER_CLASSIFIER), BASELINE),
        # Of the 16 target utterances beside 32 labelled ones, half a one goes with each.
        (
            "difl",
            (1_260_942, (3 * ENCODER + 3 * DOMAIN_CLASSIFIER) // 2 + CLASSIFIER + SPEAKER_CLASSIFIER),
            BASELINE,
        ),
    ],
)
def test_counts_are_those_of_the_formulas(name, training, inference):
    found = counted(name)
    assert (found.training_parameters, found.training_macs) == training
    assert (found.inference_parameters, found.inference_macs) == inference


def test_the_formulas_give_the_figures_that_table_3_rounds():
    counts = [BASELINE, (0, 2 * ENCODER + CLASSIFIER + 2 * ATTENTION + RESTORER), STANDARDISED, DSC]
    counts.append((0, 9 * ENCODER + 2 * CLASSIFIER + 2 * ATTENTION))
    assert [round(found / 1e9, 4) for _, found in counts] == [1.9754, 3.9511, 1.9755, 3.9507, 17.7783]


@pytest.mark.parametrize("name", ["baseline", "dsc", "isnet", "dsnet"])
def test_macs_round_to_the_papers_table_3_and_parameters_are_within_a_hundredth(name):
    found, paper = counted(name).in_table_3_units(), PAPER_TABLE_3[name]
    assert [round(value, 2) for value in found[1::2]] == list(paper[1::2])
    assert found[0::2] == pytest.approx(paper[0::2], abs=0.01)


@pytest.mark.parametrize("encoder", ["cnn", "timm/resnet10t"])
@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_every_method_is_counted_on_any_encoder(name, encoder):
    if encoder != "cnn":
        pytest.importorskip("timm")
    spec = EncoderSpec(encoder)
    found, bare = counted(name, spec, max_frames=32), counted("baseline", spec, max_frames=32)
    passes = {"dsc": 2, "isnet": 9, "dsnet": 2, "menan": 2, "difl": 1.5}.get(name.split("-")[0], 1)
    assert found.training_macs / bare.training_macs == pytest.approx(passes, rel=0.02)
    in_inference = 2 if name.split("-")[0] == "dsc" or name == "dsnet-enrolled" else 1
    assert found.inference_macs / bare.inference_macs == pytest.approx(in_inference, rel=0.02)
    assert found.method == name


def test_speech_models_are_counted_on_waveforms(tmp_path):
    tiny_speech_models = pytest.importorskip("tests.backbones.tiny_speech_models")
    encoder = f"hf/{tiny_speech_models.save_tiny(tmp_path / 'model', 'wav2vec2')}"
    bare = measure("baseline", EncoderSpec(encoder), max_frames=32)
    assert bare.training_macs == bare.inference_macs > 0
    for name, passes in {"dsc": 2, "isnet": 9, "difl": 1.5}.items():
        assert measure(name, EncoderSpec(encoder), max_frames=32).training_macs / bare.training_macs == pytest.approx(
            passes, rel=0.02
        )


class Demanding(Baseline):
    """Sees each batch twice, with speakers and a quarter as many target utterances; keeps what it is shown."""

    name = "demanding"
    needs_speakers = True
    target_rows = 8
    phases = ("first", "second")

    def __init__(self, encoder, num_classes, num_speakers):
        super().__init__(encoder, num_classes)
        assert num_speakers == NUM_SPEAKERS == 8

    def training_step(self, batch, step):
        shapes = {name: tuple(value.shape) for name, value in batch.items()}
        assert shapes == {"inputs": (4, 3, 32, 80), "labels": (4,), "speakers": (4,), "target": (1, 3, 32, 80)}
        assert not self.training
        loss = F.cross_entropy(self(batch["inputs"]), batch["labels"])
        if step.phase == "second":
            self(batch["target"])
        step.watch({"total": loss})
        before = self.classifier[0].weight.clone()
        step.update(loss, self.classifier.parameters())
        assert torch.equal(before, self.classifier[0].weight)
        return {"total": loss}


def test_a_training_step_is_counted_for_each_phase_and_labelled_utterance(monkeypatch):
    monkeypatch.setitem(METHODS, "demanding", Demanding)
    bare, found = measure("baseline", max_frames=32), measure("demanding", max_frames=32)
    assert found.training_macs == 2.25 * bare.training_macs
    assert found.inference_macs == bare.inference_macs


def test_the_table_has_the_papers_value_in_brackets_where_the_paper_has_one():
    counts = [Complexity(name, 1_000_000, 2_000_000_000, 3_000_000, 4_000_000_000) for name in ("isnet", "dann")]
    _, _, isnet, dann = counts_table(counts).splitlines()
    assert [cell.strip() for cell in isnet.split("|")[2:-1]] == [
        "1,000,000 (2.56M)",
        "2.0000G (17.78G)",
        "3,000,000 (1.33M)",
        "4.0000G (1.98G)",
    ]
    assert [cell.strip() for cell in dann.split("|")[2:-1]] == ["1,000,000", "2.0000G", "3,000,000", "4.0000G"]
    assert "(" not in counts_table(counts, beside_paper=False)
