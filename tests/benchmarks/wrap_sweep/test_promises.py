"""A model of each kind from ``python -m benchmarks.wrap_sweep``, and promises that are broken on purpose."""

import pytest
import torch
from torch import nn

from benchmarks.wrap_sweep import __main__ as sweep
from benchmarks.wrap_sweep import promises, torchvision_models
from benchmarks.wrap_sweep.promises import SweepError, check
from benchmarks.wrap_sweep.subject import Library, Subject
from dsnet_plugin import HeadNotFoundError, WrapError
from dsnet_plugin.errors import DSNetError

# Odd heads: another width than num_features, two of them, a norm of its own, a pooling behind or inside, a convolution.
TIMM = {
    "mobilenetv3_small_050": (1024, ("classifier",)),
    "regnetx_002": (368, ("head.fc",)),
    "deit_tiny_distilled_patch16_224": (192, ("head", "head_dist")),
    "levit_128s": (384, ("head", "head_dist")),
    "crossvit_tiny_240": (288, ("head.0", "head.1")),
    "coat_lite_tiny": (320, ("head",)),
    "convnext_atto": (320, ("head.fc",)),
    "dla46_c": (256, ("fc",)),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def made(library, name):
    models = sweep.LIBRARIES[library]
    try:
        assert name in models.names()
    except ImportError as error:
        pytest.skip(f"not installed: {error}")
    return models.subject(name)


@pytest.mark.parametrize("name", TIMM)
def test_a_timm_model_is_wrapped_without_a_name(name):
    location = check(made("timm", name)).location
    assert (location.in_features, location.names) == TIMM[name]


@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "audio-spectrogram-transformer", "wav2vec2-bert", "sew-d"])
def test_a_transformers_class_is_wrapped_without_a_name(name):
    assert check(made("transformers", name)).location.names == ("classifier",)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"])
def test_a_torchvision_model_is_wrapped_by_the_number_of_its_classes(name):
    kept = check(made("torchvision", name))
    assert (kept.location.in_features, kept.hint) == (torchvision_models.MODELS[name], promises.NO_HINT)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("peft", "LoraConfig whisper"),
        ("peft", "IA3Config wav2vec2"),
        ("torchaudio", "Conformer"),
        ("speechbrain", "wav2vec2 recipe"),
        ("speechbrain", "Xvector Classifier"),
        ("s3prl", "CNNSelfAttention"),
        ("panns-inference", "Cnn14"),
        ("hear21passt", "passt_s_p16_s16_128_ap468"),
    ],
)
def test_an_audio_model_of_another_library_is_wrapped_without_a_name(library, name):
    check(made(library, name))


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("timm", "efficientvim_m1"),
        ("torchaudio", "wav2vec2_model aux"),
        ("torchaudio", "Wav2Letter"),
        ("torchaudio", "DeepSpeech"),
        ("speechbrain", "CRDNN frames"),
        ("s3prl", "FrameLevel"),
    ],
)
def test_a_model_without_one_row_an_utterance_is_refused_and_stays_as_it_is(library, name):
    """That it stays as it is, ``check`` looks at."""
    with pytest.raises(DSNetError):
        check(made(library, name))


def test_a_timm_model_with_an_auxiliary_head_is_refused():
    timm = pytest.importorskip("timm")
    from dsnet_plugin import wrap

    model = timm.create_model("volo_d1_224", num_classes=4)
    before = dict(model.named_modules())
    with pytest.raises(HeadNotFoundError, match="use_aux_head=False"):
        wrap(model)
    assert dict(model.named_modules()) == before


def test_the_sweep_is_as_wide_as_it_says():
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    from timm.models import _registry

    names = set(sweep.LIBRARIES["timm"].names()) - sweep.LIBRARIES["timm"].refused
    assert len({_registry._model_to_module[name] for name in names}) >= 60
    assert len(sweep.LIBRARIES["transformers"].names()) == 12
    assert len(sweep.LIBRARIES["torchvision"].names()) >= 10


class _Net(nn.Module):
    """A batch norm and two outputs: embedding and scores."""

    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.fc = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)

    def forward(self, x):
        h = self.norm(self.inner(x)).relu()
        return {"scores": self.fc(h).softmax(-1), "embedding": h}


def subject(width=16, model=None):
    return Subject("own", model or _Net(), (torch.randn(2, 8),), width)


def test_a_model_that_keeps_all_promises_passes():
    kept = check(subject())
    assert (kept.location.names, kept.hint) == (("fc",), promises.NO_HINT)


def test_a_head_of_another_width_is_seen():
    with pytest.raises(SweepError, match="a head of width 16, the features have 17"):
        check(subject(17))


def broken(monkeypatch, change):
    """What ``wrap`` gives, changed."""
    wrap = promises.wrap

    def changed(model, **options):
        change(wrapped := wrap(model, **options))
        return wrapped

    monkeypatch.setattr(promises, "wrap", changed)


def test_an_output_of_another_type_is_seen(monkeypatch):
    broken(monkeypatch, lambda wrapped: wrapped.model.register_forward_hook(lambda *call: tuple(call[2].values())))
    with pytest.raises(SweepError, match="gives a tuple in the place of a dict"):
        check(subject())


def test_scores_of_another_kind_are_seen(monkeypatch):
    logits = lambda *call: {**call[2], "scores": call[2]["scores"].log() + 3}  # noqa: E731
    broken(monkeypatch, lambda wrapped: wrapped.model.register_forward_hook(logits))
    with pytest.raises(SweepError, match="gives logits in the place of probabilities"):
        check(subject())


def test_statistics_that_neutral_speech_moves_are_seen(monkeypatch):
    broken(monkeypatch, lambda _: None)
    monkeypatch.setattr("dsnet_plugin.wrapped_model.neutral_pass", lambda model, run: run())
    with pytest.raises(SweepError, match=r"neutral speech moves the running statistics norm\.running_mean"):
        check(subject())


def test_a_parameter_that_learns_no_more_is_seen(monkeypatch):
    broken(monkeypatch, lambda wrapped: wrapped.model.inner.requires_grad_(False))
    with pytest.raises(SweepError, match=r"no gradient in inner\.bias, 2 parameters in all"):
        check(subject())


def test_a_stripped_model_of_other_answers_is_seen(monkeypatch):
    def stripped(wrapped):
        model = type(wrapped).strip(wrapped)
        model.fc.register_forward_hook(lambda *call: call[2].flip(-1))
        return model

    broken(monkeypatch, lambda wrapped: object.__setattr__(wrapped, "strip", lambda: stripped(wrapped)))
    with pytest.raises(SweepError, match="the stripped model gives other answers"):
        check(subject())


def test_weights_that_are_lost_on_saving_are_seen(monkeypatch):
    def load(folder, base):
        loaded = load_pretrained(folder, base)
        nn.init.normal_(loaded.model.inner.weight)
        return loaded

    load_pretrained = promises.load_pretrained
    monkeypatch.setattr(promises, "load_pretrained", load)
    with pytest.raises(SweepError, match="saved after freezing and loaded again"):
        check(subject())


def test_a_refusal_that_changes_the_model_is_seen(monkeypatch):
    def wrap(model, **options):
        nn.init.zeros_(model.fc.weight)
        raise WrapError("no")

    monkeypatch.setattr(promises, "wrap", wrap)
    with pytest.raises(SweepError, match="a refusal changed the model: no"):
        check(subject())


def test_the_sweep_shows_a_failing_model_as_failing(capsys, monkeypatch):
    """A width that is not the model's is a row with an error, and exit status 1; so is a model that works and should not."""
    make = lambda name: subject(int(name))  # noqa: E731
    monkeypatch.setattr("sys.argv", ["sweep"])
    monkeypatch.setattr(sweep, "LIBRARIES", {"own": Library(lambda: ("16", "17"), make)})
    assert sweep.main() == 1
    printed = capsys.readouterr().out
    assert "Total: 1 of 2 models work (1 with nothing): own 1 of 2. 0 are refused" in printed
    assert "SweepError: a head of width 16" in printed
    monkeypatch.setattr(sweep, "LIBRARIES", {"own": Library(lambda: ("16",), make)})
    assert sweep.main() == 0
    monkeypatch.setattr(sweep, "LIBRARIES", {"own": Library(lambda: ("16",), make, refused=frozenset({"16"}))})
    assert sweep.main() == 1


def test_a_library_that_is_not_installed_is_named(capsys, monkeypatch):
    def names():
        raise ImportError("no module named other")

    monkeypatch.setattr("sys.argv", ["sweep"])
    monkeypatch.setattr(sweep, "LIBRARIES", {"other": Library(names, lambda name: subject())})
    assert sweep.main() == 0
    assert "Not installed, and passed over: other (no module named other)." in capsys.readouterr().out
