"""MEnAN, DANN and DIFL on each kind of encoder: one step of training, and inference."""

import pytest
import torch

from benchmarks.methods import METHODS
from benchmarks.training.device import put_on_device
from benchmarks.training.fit import training_step
from tests.benchmarks.methods.paired_batches import ENCODERS, make_encoder
from tests.benchmarks.methods.steps import SPEAKERS, adam_step, batch, changed, snapshot

FRONT = {
    "cnn": "blocks.0.0.weight",
    "timm/resnet18": "model.conv1.weight",
    "wav2vec2": "model.feature_extractor.conv_layers.0.conv.weight",
}
"""Each encoder's first convolution."""


def waveforms(lengths):
    return {
        "waveform": torch.randn(len(lengths), max(lengths)) * 0.1,
        "mask": torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
    }


def batch_for(encoder, method):
    found = batch(rows=6, target=3 if method.target_rows else 0)
    if encoder.input_kind == "waveform":
        torch.manual_seed(0)
        found["inputs"] = waveforms([5_000, 4_000, 3_000, 5_000, 4_000, 3_500])
        if "target" in found:
            found["target"] = waveforms([6_000, 3_000, 4_000])
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backbone", ENCODERS)
@pytest.mark.parametrize("name", ["menan", "dann", "difl"])
def test_a_step_trains_each_part_and_inference_gives_logits(name, backbone, precision, tmp_path):
    encoder = make_encoder(backbone, tmp_path, precision)
    method = METHODS[name](encoder, 4, num_speakers=SPEAKERS)
    put_on_device(method, torch.device("cpu"))
    method.train()
    before = {part: (module, snapshot(module)) for part, module in method.named_children()}
    step, data, losses = adam_step(method, precision=precision), batch_for(encoder, method), {}
    for step.phase in method.phases:
        losses |= training_step(method, data, step)
    assert {"task", "total"} <= set(losses)
    assert all(loss.isfinite() for loss in losses.values())
    moved = {part: changed(then, module) for part, (module, then) in before.items()}
    assert FRONT[backbone] in moved["encoder"]
    assert all(moved[part] >= {"0.weight", "4.weight"} for part in moved.keys() - {"encoder"})
    method.eval()
    with torch.inference_mode():
        logits = method(data["inputs"])
        output = method(data["inputs"], data["labels"])
    assert logits.shape == (6, 4)
    assert torch.equal(output.logits, logits)


def test_waveforms_of_source_and_target_of_other_lengths_have_the_features_they_have_alone(tmp_path):
    encoder = make_encoder("wav2vec2", tmp_path)
    method = METHODS["difl"](encoder, 4, num_speakers=SPEAKERS).eval()
    data = batch_for(encoder, method)
    with torch.no_grad():
        assert torch.allclose(method(**data).logits, method(data["inputs"]), atol=1e-5)


def test_an_encoder_without_known_stages_is_aligned_at_its_end_alone():
    class Own(torch.nn.Linear):
        num_features = 4
        input_kind = "lmfb"

        def forward(self, inputs):
            return super().forward(inputs.mean((1, 2)))

    method = METHODS["difl"](Own(80, 4), 4, num_speakers=SPEAKERS).train()
    losses = training_step(method, batch(target=3), adam_step(method))
    assert method.omega == [0.1]
    assert losses["alignment"] > 0
