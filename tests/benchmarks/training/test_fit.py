import json
from dataclasses import replace

import pytest
import torch

from benchmarks.data.batches import FoldSide
from benchmarks.data.protocols import leave_one_speaker_out
from benchmarks.data.speech_data import SpeechData
from benchmarks.errors import RunError
from benchmarks.grid.cell import run_cell
from benchmarks.scores import SpeakerRecord
from benchmarks.training.checkpoint import load_model
from benchmarks.training.device import make_accelerator
from benchmarks.training.inference import predict
from benchmarks.training.settings import TrainingSettings
from dsnet_plugin import NeutralReferenceError
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.in_memory import context_of, planned

pytestmark = pytest.mark.usefixtures("narrow_cnn")

SETTINGS = TrainingSettings(epochs=3, max_frames=FRAMES, batch_size=8, patience=1)


def train(name, data, folder, settings=SETTINGS, fold=1):
    return run_cell(planned(name, settings, fold), context_of(data, folder, settings.precision))


def predictions(folder):
    return json.loads((folder / "predictions.json").read_text())["small"]


@pytest.fixture(scope="module", params=["baseline", "dsnet"])
def trained(request, small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, train(request.param, small_data, folder), folder


def test_every_test_utterance_is_predicted_once_and_with_its_own_label(trained, small_data):
    _, result, folder = trained
    rows = predictions(folder)
    by_key = {u.key: u for u in small_data.utterances}
    assert sorted(p["key"] for p in rows) == sorted(k for k, u in by_key.items() if u.speaker == "spk01")
    names = ["angry", "happy", "neutral", "sad"]
    assert all(names[p["truth"]] == by_key[p["key"]].label for p in rows)
    assert all(sum(p["probabilities"]) == pytest.approx(1, abs=1e-5) for p in rows)
    in_order = sorted(rows, key=lambda p: p["key"])
    assert result.tests["small"].speakers["spk01"] == SpeakerRecord(
        sex=by_key[rows[0]["key"]].sex,
        truth="".join(str(p["truth"]) for p in in_order),
        predicted="".join(str(p["prediction"]) for p in in_order),
    )


def test_the_epoch_is_the_one_of_the_best_validation_uar_and_then_the_lowest_task_loss(trained):
    _, result, _ = trained
    ranked = [(epoch.validation_uar, -epoch.validation["task"]) for epoch in result.story.curves]
    assert result.story.best_epoch == 1 + ranked.index(max(ranked))
    assert result.story.validation_uar == max(ranked)[0]


def test_the_checkpoint_gives_the_predictions_of_the_result(trained, small_data):
    name, result, folder = trained
    model, record = load_model(folder)
    fold = leave_one_speaker_out(small_data.utterances)[1]
    side = FoldSide(small_data, fold.test, model)
    found = predict(model, side, SETTINGS.batch_size, make_accelerator("cpu", "fp32"))
    assert found.tolist() == [p["probabilities"] for p in predictions(folder)]
    assert (record.method, record.epoch) == (name, result.story.best_epoch)


def test_the_learning_rate_is_halved_after_patience_epochs_without_a_lower_validation_loss(small_data, tmp_path):
    result = train("baseline", small_data, tmp_path, replace(SETTINGS, epochs=8, patience=2, learning_rate=0.03))
    rate, best, bad, expected = 0.03, float("inf"), 0, []
    for epoch in result.story.curves:
        bad = 0 if epoch.validation["total"] < best else bad + 1
        best = min(best, epoch.validation["total"])
        if bad == 2:
            rate, bad = rate / 2, 0
        expected.append(rate)
    assert expected[-1] < 0.03
    assert [epoch.learning_rate for epoch in result.story.curves] == pytest.approx(expected)


def test_the_total_loss_is_the_sum_of_its_parts_in_training_and_in_validation(trained):
    name, result, _ = trained
    parts = {"task"} if name == "baseline" else {"task", "orthogonality", "reconstruction", "calibration"}
    for epoch in result.story.curves:
        for side in ("train", "validation"):
            assert set(getattr(epoch, side)) == parts | {"total"}
            losses = getattr(epoch, side)
            assert losses["total"] == pytest.approx(sum(losses[part] for part in parts), rel=1e-4)


def test_training_lowers_the_training_loss(trained):
    _, result, _ = trained
    assert result.story.curves[-1].train["task"] < result.story.curves[0].train["task"]


def test_poisoned_test_labels_and_recordings_change_no_weight_and_no_choice(trained, small_data, tmp_path):
    name, result, folder = trained
    test = leave_one_speaker_out(small_data.utterances)[1].test
    wrong = {"angry": "sad", "sad": "happy", "happy": "neutral", "neutral": "angry"}
    utterances, features = list(small_data.utterances), list(small_data.features)
    for i in test:
        utterances[i] = replace(utterances[i], label=wrong[utterances[i].label])
        features[i] = torch.randn_like(features[i])
    poisoned = train(name, SpeechData(utterances, features, FRAMES, small_data.device), tmp_path)
    assert poisoned.story.curves == result.story.curves
    assert (tmp_path / "best.safetensors").read_bytes() == (folder / "best.safetensors").read_bytes()


def test_a_finished_fold_is_read_and_not_trained_again(trained, small_data, monkeypatch):
    name, result, folder = trained
    monkeypatch.setattr("benchmarks.training.fit.train_epoch", lambda *_: pytest.fail("trained again"))
    assert train(name, small_data, folder) == result


def test_a_folder_of_other_settings_is_refused_and_stays(trained, small_data):
    name, _, folder = trained
    before = (folder / "result.json").read_bytes()
    with pytest.raises(RunError, match="epochs 3 there and 4 asked for"):
        train(name, small_data, folder, replace(SETTINGS, epochs=4))
    assert (folder / "result.json").read_bytes() == before


def test_a_last_batch_of_one_is_left_out(small_data, tmp_path):
    result = train("dsnet", small_data, tmp_path, replace(SETTINGS, epochs=1, batch_size=21))  # 22 = 24 - 2 references
    assert result.story.utterances.train == 22


def test_features_that_are_not_numbers_stop_the_training_with_the_losses_named(small_data, tmp_path):
    features = [torch.full_like(feature, float("nan")) for feature in small_data.features]
    with pytest.raises(RunError, match=r"epoch 1: the loss is not finite.*task nan"):
        train("baseline", SpeechData(small_data.utterances, features, FRAMES, small_data.device), tmp_path)


def test_training_speakers_without_neutral_speech_are_refused_by_name_dropped_or_masked(small_data, tmp_path):
    kept = [i for i, u in enumerate(small_data.utterances) if u.speaker != "spk03" or u.label != "neutral"]
    data = SpeechData(
        [small_data.utterances[i] for i in kept], [small_data.features[i] for i in kept], FRAMES, small_data.device
    )
    with pytest.raises(NeutralReferenceError, match="spk03"):
        train("dsnet", data, tmp_path)
    one = replace(SETTINGS, epochs=1)
    dropped = train("dsnet", data, tmp_path / "drop", replace(one, missing_neutral="drop"))
    masked = train("dsnet", data, tmp_path / "mask", replace(one, missing_neutral="mask"))
    assert masked.story.utterances.train - dropped.story.utterances.train == 9
    assert masked.story.references.keys() == {"spk00", "spk03"}
    assert masked.story.references["spk03"] == []


def test_a_validation_speaker_without_neutral_speech_has_no_calibration_loss(small_data, tmp_path):
    kept = [i for i, u in enumerate(small_data.utterances) if u.speaker != "spk02" or u.label != "neutral"]
    data = SpeechData(
        [small_data.utterances[i] for i in kept], [small_data.features[i] for i in kept], FRAMES, small_data.device
    )
    result = train("dsnet", data, tmp_path, replace(SETTINGS, epochs=1))
    assert "calibration" in result.story.curves[0].train
    assert "calibration" not in result.story.curves[0].validation


def test_bf16_trains_and_differs_from_fp32(small_data, tmp_path):
    one = replace(SETTINGS, epochs=1)
    full = train("dsnet", small_data, tmp_path / "fp32", one)
    half = train("dsnet", small_data, tmp_path / "bf16", replace(one, precision="bf16"))
    assert half.story.curves[0].train["task"] == pytest.approx(full.story.curves[0].train["task"], rel=0.1)
    assert half.story.curves != full.story.curves


def test_seeds_differ_and_repeat(small_data, tmp_path):
    one = replace(SETTINGS, epochs=1)
    first, again, other = (
        train("baseline", small_data, tmp_path / str(i), replace(one, seed=seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert first.story.curves == again.story.curves != other.story.curves


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused():
    with pytest.raises(RunError, match="no CUDA device"):
        make_accelerator("cuda", "fp32")


def test_a_fold_with_one_training_utterance_is_refused(small_data, tmp_path):
    kept = [i for i, u in enumerate(small_data.utterances) if u.speaker in ("spk01", "spk02")] + [0]
    data = SpeechData(
        [small_data.utterances[i] for i in kept], [small_data.features[i] for i in kept], FRAMES, small_data.device
    )
    with pytest.raises(RunError, match="1 utterances to train on; expected at least 2"):
        train("baseline", data, tmp_path)


def test_a_loss_of_the_validation_side_that_is_no_number_stops_the_training(small_data, tmp_path):
    validation = leave_one_speaker_out(small_data.utterances)[1].validation
    features = [
        f.fill_(float("nan")) if i in validation else f for i, f in enumerate(map(torch.clone, small_data.features))
    ]
    with pytest.raises(RunError, match=r"the validation loss is not finite \(total nan, task nan\)"):
        train("baseline", SpeechData(small_data.utterances, features, FRAMES, small_data.device), tmp_path)


@pytest.mark.parametrize("kept", [["result.json"], ["state.safetensors"], ["result.json", "state.safetensors"]])
def test_without_its_model_a_result_or_a_state_is_trained_again(trained, small_data, tmp_path, monkeypatch, kept):
    name, result, _ = trained
    monkeypatch.setattr("benchmarks.grid.cell.STATE_NAME", "none")  # so that the state stays
    train(name, small_data, tmp_path)
    for path in tmp_path.iterdir():
        if path.name not in kept:
            path.unlink()
    monkeypatch.undo()
    again = train(name, small_data, tmp_path)
    assert again.tests == result.tests
    assert again.story.curves == result.story.curves
    assert (tmp_path / "best.safetensors").is_file()
