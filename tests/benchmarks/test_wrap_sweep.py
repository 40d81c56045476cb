"""A model of each kind from ``python -m benchmarks.wrap_sweep``, which wraps them all."""

import pytest
import torch
from torch import nn

from benchmarks import wrap_sweep as sweep
from benchmarks.wrap_sweep import Subject, SweepError, check, timm_subject, torchvision_subject, transformers_subject
from dsnet_plugin import HeadNotFoundError

# Odd heads: another width than num_features, two of them, a norm of its own, a pooling behind or inside, a convolution.
TIMM = {
    "mobilenetv3_small_050": (1024, ("classifier",)),
    "regnetx_002": (368, ("head.fc",)),
    "deit_tiny_distilled_patch16_224": (192, ("head", "head_dist")),
    "levit_128s": (384, ("head", "head_dist")),
    "crossvit_tiny_240": (288, ("head.0", "head.1")),
    "coat_lite_tiny": (320, ("head",)),
    "convnext_atto": (320, ("head.fc",)),
    "resnet50_clip": (2048, ("head.proj",)),
    "dla46_c": (256, ("fc",)),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_model_is_wrapped_without_a_name(name):
    pytest.importorskip("timm")
    place = check(timm_subject(name))
    assert (place.in_features, place.names) == TIMM[name]


@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "audio-spectrogram-transformer", "wav2vec2-bert", "sew-d"])
def test_a_transformers_class_is_wrapped_without_a_name(name):
    pytest.importorskip("transformers")
    assert check(transformers_subject(name)).names == ("classifier",)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"])
def test_a_torchvision_model_is_wrapped_by_an_example(name):
    pytest.importorskip("torchvision")
    assert check(torchvision_subject(name)).in_features == sweep.TORCHVISION_MODELS[name]


def test_the_sweep_is_as_wide_as_it_says():
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    from timm.models import _registry

    families = {_registry._model_to_module[name] for name in sweep.TIMM_MODELS if name not in sweep.REFUSED}
    assert len(families) >= 60
    assert len(sweep.transformers_names()) == 12
    assert len(sweep.TORCHVISION_MODELS) >= 10


@pytest.mark.parametrize("name", ["efficientvim_m1", "volo_d1_224"])
def test_a_timm_model_whose_logits_are_not_one_classifiers_is_refused(name):
    timm = pytest.importorskip("timm")
    from dsnet_plugin import wrap

    model = timm.create_model(name, num_classes=4)
    before = dict(model.named_modules())
    with pytest.raises(HeadNotFoundError, match=r"does not join|use_aux_head=False"):
        wrap(model)
    assert dict(model.named_modules()) == before


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.fc = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.fc(self.inner(x).relu())


def test_the_sweep_shows_a_failing_model_as_failing(capsys, monkeypatch):
    """A width that is not the model's is a row with an error, and exit status 1."""
    subject = Subject("own", _Net(), {"x": torch.randn(2, 8)}, 17, by_example=True)
    with pytest.raises(SweepError, match="a head of width 16, the features have 17"):
        check(subject)
    make = lambda name: Subject("own", _Net(), {"x": torch.randn(2, 8)}, int(name), by_example=True)  # noqa: E731
    monkeypatch.setattr("sys.argv", ["sweep"])
    monkeypatch.setattr(sweep, "subjects", lambda kinds: [("own", "16", make), ("own", "17", make)])
    assert sweep.main() == 1
    printed = capsys.readouterr().out
    assert "Total: 1 of 2 models work" in printed
    assert "SweepError: a head of width 16" in printed
    monkeypatch.setattr(sweep, "subjects", lambda kinds: [("own", "16", make)])
    assert sweep.main() == 0
