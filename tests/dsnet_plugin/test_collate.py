"""The data collator: pads waveforms and references, and encodes each distinct reference once."""

import numpy
import pytest
import torch

from dsnet_plugin import DisentangleConfig, NeutralCollator, NeutralReferenceError, ShapeError, wrap
from tests.dsnet_plugin.speech_rows import bare, extractor, rows, wrapped

ANN, BOB = [0.1] * 300, [0.2] * 260


def row(samples, label=0, **reference):
    return {"input_values": [1.0] * samples, "labels": label, **reference}


def of(*references):
    return [row(100 + i, neutral_input_values=reference) for i, reference in enumerate(references)]


def test_waveforms_and_references_are_padded_apart_with_masks_of_their_own():
    batch = NeutralCollator(extractor())(of(ANN, BOB, ANN))
    assert batch["input_values"].shape == batch["attention_mask"].shape == (3, 102)
    assert batch["attention_mask"].sum(1).tolist() == [100, 101, 102]
    assert batch["neutral_input_values"].shape == batch["neutral_attention_mask"].shape == (2, 300)
    assert batch["neutral_attention_mask"].sum(1).tolist() == [300, 260]
    torch.testing.assert_close(batch["neutral_input_values"][1, :260], torch.tensor(BOB))
    assert not batch["neutral_input_values"][1, 260:].any()


@pytest.mark.parametrize("make", [list, tuple, numpy.array, torch.tensor])
def test_equal_references_are_encoded_once_whatever_holds_them(make):
    batch = NeutralCollator(extractor())(of(make(BOB), make(ANN), make(BOB), make([*ANN[:-1], 0.3])))
    assert batch["neutral_index"].tolist() == [0, 1, 0, 2]
    assert batch["neutral_index"].dtype == torch.int64
    assert len(batch["neutral_input_values"]) == 3


def test_rows_without_a_reference_are_masked_and_encode_nothing():
    batch = NeutralCollator(extractor())([*of(None, ANN), row(90)])
    assert batch["neutral_mask"].tolist() == [False, True, False]
    assert batch["neutral_index"].tolist() == [0, 0, 0]
    assert len(batch["neutral_input_values"]) == 1


def test_a_batch_without_any_reference_trains_and_has_no_calibration():
    batch = NeutralCollator(extractor())([{**r, "neutral_input_values": None} for r in rows(4)])
    assert "neutral_input_values" not in batch
    assert not batch["neutral_mask"].any()
    output = wrapped().train()(**batch)
    output.loss.backward()
    assert output.loss.isfinite()


def test_one_reference_a_row_says_the_same_as_an_index_into_distinct_ones():
    made = [*of(BOB, ANN, BOB), row(90)]
    shared, dealt = NeutralCollator(extractor())(made), NeutralCollator(extractor(), one_a_row=True)(made)
    assert "neutral_index" not in dealt
    assert torch.equal(dealt["neutral_mask"], shared["neutral_mask"])
    for name in ("neutral_input_values", "neutral_attention_mask"):
        torch.testing.assert_close(dealt[name], shared[name][shared["neutral_index"]])
    model = wrapped().eval()
    torch.testing.assert_close(model(**dealt).loss, model(**shared).loss)

    without = NeutralCollator(extractor(), one_a_row=True)(of(None, None))
    assert "neutral_input_values" not in without
    assert not without["neutral_mask"].any()


@pytest.mark.parametrize("one_a_row", [False, True])
def test_rows_without_labels_are_answered_knowing_their_reference(one_a_row):
    model = wrap(bare(), config=DisentangleConfig(reference="difference")).eval()
    made = [{key: value for key, value in r.items() if key != "labels"} for r in rows(4)]
    batch = NeutralCollator(extractor(), one_a_row=one_a_row)(made)
    with torch.no_grad():
        answers = model(**batch).logits
        for i, r in enumerate(made):
            values, mask = batch["input_values"][i : i + 1], batch["attention_mask"][i : i + 1]
            reference = r["neutral_input_values"]
            given = {} if reference is None else {"neutral": torch.tensor([reference])}
            alone = model(values, attention_mask=mask, **given).logits
            torch.testing.assert_close(answers[i : i + 1], alone, rtol=1e-4, atol=1e-5)
            plain = model(values, attention_mask=mask).logits
            assert torch.equal(plain, alone) == (reference is None)


def test_a_misspelt_column_is_told_in_training():
    misspelt = [{"input_values": r["input_values"], "labels": r["labels"], "neutral_inputs": ANN} for r in rows(4)]
    batch = NeutralCollator(extractor())(misspelt)
    assert sorted(batch) == ["attention_mask", "input_values", "labels"]
    with pytest.raises(NeutralReferenceError):
        wrapped().train()(**batch)


@pytest.mark.parametrize("name", ["labels", "label"])
def test_labels_are_int64_and_rows_without_labels_give_a_batch_without(name):
    made = [{"input_values": [1.0] * 90, name: value} for value in (1, torch.tensor(0), numpy.int32(1))]
    labels = NeutralCollator(extractor())(made)["labels"]
    assert (labels.dtype, labels.tolist()) == (torch.int64, [1, 0, 1])
    assert "labels" not in NeutralCollator(extractor())([{"input_values": [1.0] * 90}])


@pytest.mark.parametrize(
    ("labels", "shape", "dtype"),
    [
        ((0.25, 2.5, 1.0), (3,), torch.float32),
        (([0.25, 0.75], [1.0, 0.0], [0.5, 0.5]), (3, 2), torch.float32),
        (([1, 0], [1, 1], [0, 0]), (3, 2), torch.int64),
        (tuple(numpy.float64([0.25, 2.5, 1.0])), (3,), torch.float32),
        (tuple(numpy.int32([1, 0, 2])), (3,), torch.int64),
    ],
)
def test_labels_of_regression_and_of_several_classes_stay_what_they_are(labels, shape, dtype):
    made = [{"input_values": [1.0] * 90, "labels": label} for label in labels]
    batch = NeutralCollator(extractor())(made)["labels"]
    assert (batch.dtype, tuple(batch.shape)) == (dtype, shape)
    torch.testing.assert_close(batch, torch.as_tensor(numpy.array(labels)).to(dtype))


def test_labels_of_differing_shapes_are_refused():
    made = [{"input_values": [1.0] * 90, "labels": label} for label in (1, [0, 1])]
    with pytest.raises(ShapeError, match=r"labels of the shapes \(\), \(2,\): expected the same in every row"):
        NeutralCollator(extractor())(made)


def test_a_reference_without_sound_is_refused():
    with pytest.raises(ShapeError, match="the neutral reference of row 1 is empty; expected sound, or None"):
        NeutralCollator(extractor())(of(ANN, []))


def test_labels_in_some_rows_only_are_refused():
    with pytest.raises(ShapeError, match="1 labels for 2 rows"):
        NeutralCollator(extractor())([row(90), {"input_values": [1.0] * 90}])


def test_the_extractor_decides_on_masks_and_those_of_the_rows_are_kept():
    assert "attention_mask" not in NeutralCollator(extractor(mask=False))(of(ANN))
    made = [{**row(90, neutral_input_values=ANN), "attention_mask": [1] * 80 + [0] * 10}]
    assert NeutralCollator(extractor())(made)["attention_mask"].sum() == 80


def test_padding_and_sharing_change_no_losses():
    """A batch of the collator gives the losses of references that stand one a row."""
    model, made = wrapped().eval(), rows(6)[:4]
    batch = NeutralCollator(extractor())(made)
    assert len(batch["neutral_input_values"]) == 2
    one_a_row = torch.tensor([r["neutral_input_values"] for r in made])
    shared = model(**batch)
    plain = model(batch["input_values"], batch["attention_mask"], labels=batch["labels"], neutral=one_a_row)
    torch.testing.assert_close(shared.loss, plain.loss)
