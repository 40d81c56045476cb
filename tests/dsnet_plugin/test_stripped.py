"""A wrapped model says its number of classes; a stripped one of transformers is saved, loaded again, and runs in a pipeline."""

import json
from types import SimpleNamespace

import pytest
import timm
import torch
import transformers
from torch import nn

from dsnet_plugin import CheckpointError, DisentangleConfig, concordance_loss, load_stripped, refer_to, wrap
from tests.dsnet_plugin.speech_rows import bare, extractor, waveform, wrapped

WAVES = torch.tensor([waveform(0.1 + 0.2 * i, 800, i) for i in range(3)])
SPECTROGRAMS = torch.linspace(-9, 9, 3 * 64 * 16).reshape(3, 64, 16).cos()


def ast():
    """An Audio Spectrogram Transformer, whose classifier is a block and not a linear layer."""
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.ASTConfig(**settings, num_mel_bins=16, max_length=64, num_labels=8)
    return transformers.ASTForAudioClassification(config)


CASES = {
    "wav2vec2": (lambda: bare(num_labels=8), WAVES),
    "ast": (ast, SPECTROGRAMS),
}
all_cases = pytest.mark.parametrize("name", CASES)


def trained(name, num_classes=4, **options):
    """Wrapped for another number of classes, with running statistics that are not those of the start."""
    make, x = CASES[name]
    model = wrap(make(), num_classes=num_classes, **options).train()
    labels = torch.rand(3, num_classes) if "criterion" in options else torch.arange(3) % num_classes
    with torch.no_grad():
        model(x, labels=labels, neutral=x)
    return model.eval(), x


@all_cases
def test_a_model_with_another_number_of_classes_says_so_and_unwrapping_takes_it_back(name):
    model = CASES[name][0]()
    config, told = model.config, dict(model.config.id2label)
    model = wrap(model, num_classes=4)
    assert config.num_labels == model.model.config.num_labels == 4
    assert config.id2label == {i: f"LABEL_{i}" for i in range(4)}
    assert config.label2id == {f"LABEL_{i}": i for i in range(4)}
    assert getattr(model.model, "num_labels", 4) == 4
    back = model.unwrap()
    assert (config.num_labels, config.id2label) == (8, told)
    assert getattr(back, "num_labels", 8) == 8


def test_names_of_labels_stay_where_the_number_of_classes_does():
    names = {0: "calm", 1: "angry"}
    model = wrap(bare(id2label=names, label2id={"calm": 0, "angry": 1}))
    assert model.config.id2label == names


def test_timms_number_of_classes_follows_and_comes_back():
    model = timm.create_model("resnet10t", num_classes=8)
    wrapped_ = wrap(model, num_classes=4)
    assert model.num_classes == 4
    assert wrapped_.strip().num_classes == 4
    assert wrapped_.unwrap().num_classes == 8


def test_what_says_another_number_than_the_classifiers_stays():
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    model.num_classes, model.config = 7, SimpleNamespace(num_labels=3)
    wrapped_ = wrap(model, 4, head="1")
    assert (model.num_classes, model.config.num_labels) == (7, 4)
    wrapped_.unwrap()
    assert model.config.num_labels == 3


@all_cases
def test_a_stripped_model_that_is_saved_and_loaded_answers_as_the_wrapped_one(name, tmp_path):
    model, x = trained(name)
    stripped = model.strip()
    stripped.save_pretrained(tmp_path)
    again = load_stripped(tmp_path, type(stripped))
    assert type(again).__name__ == type(stripped).__name__
    assert isinstance(again, type(stripped))
    assert not any(part.training for part in again.modules())
    with torch.no_grad():
        torch.testing.assert_close(again(x).logits, model(x).logits)
        assert again(x).logits.shape == (3, 4)
        again.save_pretrained(tmp_path / "again")
        torch.testing.assert_close(load_stripped(tmp_path / "again", type(stripped))(x).logits, model(x).logits)
    assert not hasattr(model.model.config, "dsnet_head")


@all_cases
def test_transformers_itself_refuses_the_folder_and_makes_no_classifier_of_chance(name, tmp_path):
    stripped = trained(name)[0].strip()
    stripped.save_pretrained(tmp_path)
    for loader in (type(stripped), transformers.AutoModelForAudioClassification):
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            loader.from_pretrained(tmp_path)


def test_options_of_transformers_go_through(tmp_path):
    model, x = trained("wav2vec2")
    model.strip().save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = load_stripped(tmp_path, transformers.Wav2Vec2ForSequenceClassification, dtype=torch.bfloat16)
    assert again.dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(again(x.bfloat16()).logits.float(), model(x).logits, rtol=0.1, atol=0.02)


def test_a_pipeline_gives_the_wrapped_models_answers_with_all_classes(tmp_path):
    model, x = trained("wav2vec2")
    names = ["angry", "happy", "neutral", "sad"]
    model.config.id2label = dict(enumerate(names))
    model.strip().save_pretrained(tmp_path)
    again = load_stripped(tmp_path, transformers.Wav2Vec2ForSequenceClassification)
    for ready in (again, model.strip()):
        run = transformers.pipeline("audio-classification", model=ready, feature_extractor=extractor())
        answers = run(x[0].numpy())
        values = extractor()(x[0].numpy(), sampling_rate=16_000, return_tensors="pt")
        with torch.no_grad():
            expected = dict(zip(names, model(**values).logits.softmax(1)[0].tolist(), strict=True))
        assert {answer["label"]: answer["score"] for answer in answers} == pytest.approx(expected, abs=1e-5)


def test_a_pipeline_hears_the_speaker_whom_the_model_refers_to(tmp_path):
    model, x = trained("wav2vec2", config=DisentangleConfig(reference="difference"))
    anna = model.enrol(WAVES[1:2])
    model.strip().save_pretrained(tmp_path)
    load_stripped(tmp_path, transformers.Wav2Vec2ForSequenceClassification).save_pretrained(tmp_path / "again")
    again = load_stripped(tmp_path / "again", transformers.Wav2Vec2ForSequenceClassification)
    run = transformers.pipeline("audio-classification", model=again, feature_extractor=extractor())
    values = extractor()(x[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        for speaker, known in ((None, {}), (anna, {"enrolled": anna}), (None, {})):
            refer_to(again, speaker)
            answers = {answer["label"]: answer["score"] for answer in run(x[0].numpy())}
            expected = model(**values, **known).logits.softmax(1)[0].tolist()
            assert answers == pytest.approx({f"LABEL_{i}": p for i, p in enumerate(expected)}, abs=1e-5)
        assert not torch.allclose(model(**values).logits, model(**values, enrolled=anna).logits)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_regression_model_is_saved_and_loaded_too(outputs, tmp_path):
    model, x = trained("wav2vec2", outputs, criterion=concordance_loss)
    model.strip().save_pretrained(tmp_path)
    again = load_stripped(tmp_path, transformers.Wav2Vec2ForSequenceClassification)
    with torch.no_grad():
        torch.testing.assert_close(again(x).logits, model(x).logits)


def test_a_folder_that_holds_no_stripped_model_or_one_of_another_class_is_named(tmp_path):
    wrapped().strip().save_pretrained(tmp_path)
    bare().save_pretrained(tmp_path / "plain")
    with pytest.raises(CheckpointError, match=r"records no stripped head \(KeyError"):
        load_stripped(tmp_path / "plain", transformers.Wav2Vec2ForSequenceClassification)
    with pytest.raises(CheckpointError, match=r"records no stripped head \(FileNotFoundError"):
        load_stripped(tmp_path / "nowhere", transformers.Wav2Vec2ForSequenceClassification)
    for other in (transformers.ASTForAudioClassification, transformers.AutoModelForAudioClassification):
        with pytest.raises(CheckpointError, match=r"holds a Wav2Vec2ForSequenceClassification; expected its class"):
            load_stripped(tmp_path, other)
    record = json.loads((tmp_path / "config.json").read_text())
    record["dsnet_head"]["config"] = 3
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="records no stripped head"):
        load_stripped(tmp_path, transformers.Wav2Vec2ForSequenceClassification)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("regression", torch.rand(3, 4)), ("multi_label_classification", torch.ones(3, 4, dtype=torch.int64))],
)
def test_the_problem_type_of_a_config_chooses_the_loss_as_transformers_does(kind, labels):
    """As ASTForAudioClassification itself computes it from the same logits."""
    model = ast()
    model.config.problem_type = kind
    theirs = model.loss_function
    model = wrap(model, num_classes=4).eval()
    output, objective = model(SPECTROGRAMS, labels=labels, return_objective=True)
    expected = theirs(labels.float(), output.logits, model.config)
    torch.testing.assert_close(objective.losses["task"], expected)
