import torch

from backbones import CNNEncoder, add_deltas, fit_frames
from benchmarks.data.batches import FoldSide
from benchmarks.methods import create_method
from tests.benchmarks.conftest import FRAMES

BASELINE, DSNET = (create_method(name, CNNEncoder(), 4) for name in ("baseline", "dsnet"))


def test_inputs_are_fitted_static_features_with_their_deltas(small_data):
    expected = add_deltas(fit_frames(small_data.features[5], FRAMES))
    assert torch.equal(small_data.inputs([2, 5])[1], expected)
    assert small_data.inputs([2, 5]).shape == (2, 3, FRAMES, 80)


def test_each_row_is_paired_with_a_neutral_utterance_of_its_own_speaker(small_data):
    indices = list(range(47, -1, -1))  # places are not indices
    side = FoldSide(small_data, indices, DSNET, "error", seed=1)
    places = side.training_places(0)[::3]
    batch = side.batch(places, 0)
    assert len(batch["neutral"]) == len({small_data.utterances[indices[place]].speaker for place in places})
    for row, place in enumerate(places):
        speaker = small_data.utterances[indices[place]].speaker
        own = [i for i in indices if small_data.utterances[i].speaker == speaker]
        neutral = [i for i in own if small_data.utterances[i].label == "neutral"]
        reference = batch["neutral"][batch["neutral_index"][row]]
        assert any(torch.equal(reference, small_data.inputs([i])[0]) for i in neutral)


def test_no_reference_is_trained_on(small_data):
    side = FoldSide(small_data, range(48), DSNET, "error")
    trained = {small_data.utterances[side.indices[place]].key for place in side.training_places(0)}
    references = side.reference_keys()
    assert sorted(references) == ["spk00", "spk01", "spk02", "spk03"]
    assert trained.isdisjoint(key for keys in references.values() for key in keys)
    assert len(trained) == 44


def test_a_method_without_references_gets_inputs_and_labels_alone(small_data):
    side = FoldSide(small_data, range(48), BASELINE)
    assert set(side.batch([0, 1], 0)) == {"inputs", "labels"}
    assert len(side.training_places(0)) == 48


def test_a_batch_of_speakers_without_neutral_speech_has_a_mask_and_no_references(small_data):
    without = [i for i, u in enumerate(small_data.utterances) if u.speaker != "spk00" or u.label != "neutral"]
    side = FoldSide(small_data, without, DSNET, "mask")
    places = [p for p, i in enumerate(without) if small_data.utterances[i].speaker == "spk00"]
    batch = side.batch(places, 0)
    assert not batch["neutral_mask"].any()
    assert "neutral" not in batch
