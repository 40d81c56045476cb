"""The test speaker's labels serve in scoring alone, and the sound in testing alone but where a method says it adapts."""

from dataclasses import replace

import pytest
import torch

from benchmarks.corpora import load_corpus
from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.data.features import extract
from benchmarks.data.protocols import leave_one_speaker_out
from benchmarks.data.speech_data import SpeechData
from benchmarks.grid.cell import run_cell
from benchmarks.methods import METHODS, VARIANTS, method_class
from benchmarks.output.run_folder import MODEL_NAME
from benchmarks.scores.probing import Probes
from benchmarks.scores.uar import uar
from benchmarks.training.checkpoint import load_model
from benchmarks.training.device import make_accelerator
from benchmarks.training.fit import fit, make_method
from benchmarks.training.identity import TrainingIdentity
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.in_memory import context_of, identity_of, planned
from tests.benchmarks.methods.paired_batches import NarrowCNN

SETTINGS = TrainingSettings(epochs=2, max_frames=FRAMES, batch_size=8)
FOLD = 1
CASES = [*((name, {}) for name in (*METHODS, *VARIANTS)), ("dsnet", {"strategy": "medoid"})]


@pytest.fixture(scope="module", autouse=True)
def small_cells():
    """A narrow encoder, and no look into the feature spaces: of who sees what neither changes anything, and both take time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backbones.cnn.CNNEncoder", NarrowCNN)
        patch.setattr("benchmarks.grid.cell._look_inside", lambda *_: Probes({}, None, "left out"))
        yield


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Four speakers with two utterances of each class."""
    root = tmp_path_factory.mktemp("corpora") / "clean"
    generate(root, SyntheticSettings(speakers=4, utterances=8, correlation=0.0, seconds=0.5))
    utterances = load_corpus("synthetic", root).utterances
    features, _ = extract(utterances, FRAMES)
    return SpeechData(utterances, features, FRAMES, torch.device("cpu"))


@pytest.fixture(scope="module")
def fold(clean):
    return leave_one_speaker_out(clean.utterances)[FOLD]


def with_wrong_labels(clean, side):
    """The same recordings, and every label of a side another one; which recordings are known as neutral is no label."""
    data = SpeechData(clean.utterances, clean.features, FRAMES, clean.device)
    data.labels = clean.labels.clone()
    data.labels[side] = (clean.labels[side] + 1) % 4
    wrong = {"angry": "happy", "happy": "neutral", "neutral": "sad", "sad": "angry"}
    data.utterances = [replace(u, label=wrong[u.label]) if i in side else u for i, u in enumerate(clean.utterances)]
    return data


def with_noise(clean, side):
    """The same labels, and in the place of a side's sound, noise."""
    noise = torch.Generator().manual_seed(0)
    features = [
        9 * torch.randn(own.shape, generator=noise) if i in side else own for i, own in enumerate(clean.features)
    ]
    return SpeechData(clean.utterances, features, FRAMES, clean.device)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *case[1].values()]))
def trained(request, clean, fold, tmp_path_factory):
    name, config = request.param
    folder = tmp_path_factory.mktemp(name)
    return name, config, cell(name, config, clean, folder), folder


def cell(name, config, data, folder):
    return run_cell(planned(name, SETTINGS, FOLD, config, corpus="clean"), context_of(data, folder, corpus="clean"))


def training(name, config, data, fold, folder):
    """The training alone."""
    method = make_method(name, config, data, fold, SETTINGS)
    identity = TrainingIdentity(identity_of(data, "clean"), name, method.config(), "loso", fold.number, SETTINGS)
    return fit(method, data, fold, identity, folder, make_accelerator("cpu", "fp32"))


def model(folder):
    return (folder / MODEL_NAME).read_bytes()


def test_test_labels_change_no_weight_no_choice_and_no_prediction(trained, clean, fold, tmp_path):
    name, config, honest, folder = trained
    poisoned = cell(name, config, with_wrong_labels(clean, fold.test), tmp_path)
    for part in ("curves", "best_epoch", "validation_uar", "references", "utterances"):
        assert getattr(poisoned.story, part) == getattr(honest.story, part)
    assert model(tmp_path) == model(folder)
    found, expected = (run.tests["clean"].speakers[fold.test_speaker] for run in (poisoned, honest))
    assert found.predicted == expected.predicted
    assert found.truth != expected.truth  # and the scores are of the labels that there are


def test_test_recordings_change_no_weight_and_no_choice_but_of_a_method_that_trains_on_them(
    trained, clean, fold, tmp_path
):
    name, config, honest, folder = trained
    method = method_class(name)
    fewer = replace(fold, test=fold.test[1:])
    poisoned = training(name, config, with_noise(clean, fold.test), fewer, tmp_path)
    assert method.adapts or not method.target_rows
    if method.target_rows:
        assert model(tmp_path) != model(folder)  # or this test would not notice
    else:
        assert (poisoned.curves, poisoned.references) == (honest.story.curves, honest.story.references)
        assert model(tmp_path) == model(folder)


def test_methods_that_adapt_are_the_paper_s():
    assert {name for name, method in METHODS.items() if method.adapts} == {"dsc", "difl", "subtraction"}


def chosen(run):
    """The epoch that the validation speaker's scores want."""
    ranked = [(epoch.validation_uar, -epoch.validation["task"]) for epoch in run.curves]
    return 1 + ranked.index(max(ranked))


def test_the_epoch_is_the_validation_speaker_s_choice(trained):
    _, _, honest, folder = trained
    assert honest.story.best_epoch == chosen(honest.story)
    assert load_model(folder)[1].epoch == chosen(honest.story)


def test_wrong_validation_labels_decide_on_the_epoch_and_on_nothing_in_it(clean, fold, tmp_path):
    honest = training("baseline", {}, clean, fold, tmp_path / "honest")
    poisoned = training("baseline", {}, with_wrong_labels(clean, fold.validation), fold, tmp_path / "poisoned")
    assert [epoch.train for epoch in poisoned.curves] == [epoch.train for epoch in honest.curves]
    assert [e.validation for e in poisoned.curves] != [e.validation for e in honest.curves]
    assert poisoned.best_epoch == chosen(poisoned)


def test_references_are_of_training_speakers_alone(trained, clean, fold):
    _, _, honest, _ = trained
    speakers = {clean.utterances[i].speaker for i in fold.train}
    assert honest.story.references.keys() <= speakers
    for speaker, keys in honest.story.references.items():
        assert all(key.startswith(f"{speaker}_neutral") for key in keys)


def test_the_score_is_of_the_test_side_s_own_labels(trained):
    _, _, honest, _ = trained
    (own,) = honest.tests["clean"].speakers.values()
    assert honest.own_test.uar == uar(list(map(int, own.truth)), list(map(int, own.predicted)))
