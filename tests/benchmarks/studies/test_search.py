"""The search's forms do what their fields say, and its table is arithmetic on confusion matrices."""

import pytest
import torch
import torch.nn.functional as F

from backbones import FeatureEncoder
from benchmarks.methods import Baseline, Subtraction
from benchmarks.output.environment import describe
from benchmarks.studies.candidates import CANDIDATES, make_candidate
from benchmarks.studies.search import SearchRecord, table

SPEAKERS = 3
CPU = torch.device("cpu")


def make(name):
    torch.manual_seed(0)
    return make_candidate(name, FeatureEncoder(2, 16), 4, SPEAKERS)


def batch(rows=12):
    torch.manual_seed(1)
    speakers = torch.arange(rows) % SPEAKERS
    return {
        "inputs": torch.randn(rows, 2, 16),
        "labels": torch.arange(rows) % 4,
        "neutral": torch.randn(SPEAKERS, 2, 16),
        "neutral_index": speakers,
        "neutral_mask": torch.ones(rows, dtype=torch.bool),
        "speakers": speakers,
    }


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_form_learns_and_infers(name):
    method = make(name).train()
    output = method(**batch())
    output.loss.backward()
    assert output.loss.isfinite()
    assert method.encoder.projection[0].weight.grad.abs().sum() > 0
    assert method.eval()(batch()["inputs"]).shape == (12, 4)


@pytest.mark.parametrize("name", CANDIDATES)
def test_w_3_begins_as_the_identity_where_the_form_says_so(name):
    form = CANDIDATES[name]
    begins = torch.equal(make(name).head.p_er.projection.weight, torch.eye(256))
    assert begins == (form.identity or form.sentence in ("half", "always"))


@pytest.mark.parametrize(("name", "learns"), [("paper", True), ("detached", False)])
def test_a_detached_reference_is_no_way_into_the_encoder(name, learns):
    method, given = make(name).eval(), batch()
    given["neutral"].requires_grad_()
    method(**given).losses["calibration"].backward()
    assert (given["neutral"].grad is not None and bool(given["neutral"].grad.any())) == learns


def test_the_contrast_asks_for_the_speaker_s_own_reference_among_the_batch_s():
    method, given = make("contrast").eval(), batch()
    output = method(**given)
    assert "calibration" not in output.losses
    h, h_n = method.encoder(given["inputs"]), method.encoder(given["neutral"])
    z_ei = method.head.p_ei(h)
    by_hand = F.normalize(z_ei, dim=1) @ F.normalize(h_n, dim=1).T / 0.1
    assert output.losses["contrast"].item() == pytest.approx(
        F.cross_entropy(by_hand, given["neutral_index"]).item(), abs=1e-4
    )


def test_recombination_reads_the_emotion_off_a_restored_mixture_in_training_alone():
    method = make("recombination")
    assert "recombination" in method.train()(**batch()).losses
    assert "recombination" not in method.eval()(**batch()).losses


def test_the_adversary_pushes_z_er_away_from_the_speaker():
    method, given = make("adversary").train(), batch()
    gradients = []
    for strength in (0.0, 1.0):
        method.zero_grad()
        torch.manual_seed(2)
        method(**given, progress=strength).losses["speaker"].backward()
        gradients.append(method.head.p_er.projection.weight.grad.clone())
    assert gradients[0].abs().max() == 0  # Ganin's ramp begins at nothing
    step = 0.5 * gradients[1] / gradients[1].norm()
    with torch.no_grad():
        torch.manual_seed(2)
        before = method(**given).losses["speaker"]
        method.head.p_er.projection.weight -= step
        torch.manual_seed(2)
        assert method(**given).losses["speaker"] > before


def test_a_sentence_in_all_rows_is_what_inference_with_a_sentence_computes():
    always, given = make("sentence-always"), batch()
    always.head.classifier.eval()
    always.encoder.eval()
    trained = always.head(
        always.encoder(given["inputs"]), given["labels"], always.encoder(given["neutral"]), given["neutral_index"]
    )
    z_er, _ = always.head.spaces(
        always.encoder(given["inputs"]), always.encoder(given["neutral"]), given["neutral_index"]
    )
    assert always.head.training
    assert torch.allclose(trained.z_er, z_er)


def test_a_sentence_before_the_encoder_is_subtracted_from_its_input():
    method, given = make("sentence-before").eval(), batch()
    moved = torch.randn(SPEAKERS, 2, 16)
    shifted = {**given, "inputs": given["inputs"] + moved[given["neutral_index"]], "neutral": given["neutral"] + moved}
    assert torch.allclose(method(**given).logits, method(**shifted).logits, atol=1e-4)


def test_what_the_forms_are_measured_by():
    assert isinstance(make("baseline"), Baseline)
    assert make("baseline").equal_utterances
    assert isinstance(make("baseline-sentence"), Subtraction)


def line(form, fold, seed, own, other, source="a"):
    return SearchRecord(form, source, fold, seed, 20, 3, {"a": own, "b": other}, describe(CPU))


RIGHT, HALF = (
    [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]],
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]],
)
NEVER = [[0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 2], [0, 0, 2, 0]]


def test_within_is_pooled_over_the_groups_and_across_the_mean_over_their_models():
    shown = table(
        [
            line("paper", 0, 0, RIGHT, HALF),
            line("paper", 1, 0, HALF, NEVER),
            line("paper", 0, 1, HALF, HALF),
            line("paper", 1, 1, HALF, HALF),
        ]
    )
    assert shown.header == ["form", "a", "a to b", "within", "across"]
    assert shown.rows == [["paper", "62.5 ± 17.7", "37.5 ± 17.7", "62.5 ± 17.7", "37.5 ± 17.7"]]


def test_a_form_of_which_trainings_are_missing_is_left_out():
    shown = table(
        [line("paper", 0, 0, RIGHT, HALF), line("paper", 1, 0, HALF, NEVER), line("identity", 0, 0, HALF, HALF)]
    )
    assert [row[0] for row in shown.rows] == ["paper"]
