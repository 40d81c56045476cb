"""Enrolment from the command line: a sentence, a name, or the same speaker; and what the suite scores."""

import json

import pytest
import soundfile
import torch

from benchmarks.data import FoldSide
from benchmarks.data.audio import read_audio
from benchmarks.data.enrolment import draw_enrolment
from benchmarks.deploy.recogniser import Recogniser
from benchmarks.methods import create_method
from dsnet_plugin import Speaker


@pytest.fixture(scope="module")
def run(small_root, tmp_path_factory):
    """A run of both kinds of method, with one sentence of each speaker kept from the scores."""
    from benchmarks.grid.run import run_suite
    from benchmarks.grid.spec import CorpusSpec, one_corpus

    out = tmp_path_factory.mktemp("run")
    settings = {"epochs": 1, "max_frames": 60, "enrol": 1}
    methods = ["baseline", "dsnet-enrolled", "dsc"]
    run_suite(
        [one_corpus(CorpusSpec("synthetic", "synthetic", small_root), methods, folds="0", settings=settings)], out
    )
    return out


@pytest.fixture
def fold(run):
    return run / "synthetic" / "cnn" / "dsnet-enrolled" / "seed-0" / "fold-00"


@pytest.fixture(scope="module")
def files(small_root):
    return sorted(small_root.rglob("*.wav"))[:4]


def probabilities(dsnet, fold, *arguments):
    status, text, errors = dsnet("predict", fold, *arguments, "--json")
    assert status == 0, errors
    return [list(row["probabilities"].values()) for row in json.loads(text)]


def test_references_are_the_same_for_all_methods_and_nobody_is_scored_on_them(run):
    keys = {}
    for method in ("baseline", "dsnet-enrolled", "dsc"):
        folder = run / "synthetic" / "cnn" / method / "seed-0" / "fold-00"
        keys[method] = {row["key"] for row in json.loads((folder / "predictions.json").read_text())["synthetic"]}
    assert keys["baseline"] == keys["dsnet-enrolled"] == keys["dsc"]
    assert len(keys["baseline"]) == 11  # of twelve utterances of the test speaker


def test_one_sentence_is_the_first_of_three_and_one_is_left_to_score(small_data):
    indices = range(len(small_data.utterances))
    one, three, many = (draw_enrolment(small_data, indices, n, seed=0) for n in (1, 3, 99))
    for speaker, (reference,) in one.references.items():
        assert small_data.neutral[reference]
        assert small_data.utterances[reference].speaker == speaker
        assert three.references[speaker][0] == reference
        assert len(many.references[speaker]) == 2  # of three neutral utterances
    assert sorted([*one.scored, *(i for v in one.references.values() for i in v)]) == list(indices)
    assert any(draw_enrolment(small_data, indices, 1, seed).references != one.references for seed in range(1, 5))


def test_a_side_hands_the_sentences_to_the_methods_that_take_them(small_data):
    from backbones import create_encoder

    for name, takes in (("dsnet-enrolled", True), ("dsnet", False), ("dsc", True)):
        method = create_method(name, create_encoder("cnn"), 4)
        side = FoldSide(small_data, range(24), method, enrol=2)
        batch = side.unlabelled([0, 5, 9])
        assert ("neutral" in batch) == takes
        if takes:
            chosen = draw_enrolment(small_data, range(24), 2, 0).references
            expected = [chosen[side.names[place]] for place in (0, 5, 9)]
            rows = list(dict.fromkeys(i for own in expected for i in own))
            assert torch.equal(batch["neutral"], small_data.inputs(rows))
            assert [[rows[r] for r in row] for row in batch["neutral_index"].tolist()] == expected


def test_a_sentence_a_name_and_the_same_speaker_give_what_the_head_computes(dsnet, fold, files, tmp_path):
    neutral, rest = files[0], files[1:]
    plain = probabilities(dsnet, fold, *rest)
    with_one = probabilities(dsnet, fold, *rest, "--neutral", neutral)
    assert plain != with_one
    status, text, errors = dsnet("enrol", fold, "anna", neutral)
    assert status == 0, errors
    assert "anna, from 1 recording" in text
    assert probabilities(dsnet, fold, *rest, "--speaker", "anna") == with_one
    recogniser = Recogniser(fold)
    with torch.inference_mode():
        h = [recogniser.method.encoder(recogniser._inputs(read_audio(file, recogniser.seconds))) for file in files]
        expected = recogniser.method.head(h[1], neutral=h[0]).softmax(1)[0].tolist()
        assert with_one[0] == pytest.approx(expected, abs=1e-5)
        own = torch.cat(h[1:]).mean(0, keepdim=True)
        themselves = [recogniser.method.head(one, neutral=own).softmax(1)[0].tolist() for one in h[1:]]
    for found, wanted in zip(probabilities(dsnet, fold, *rest, "--same-speaker"), themselves, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--speaker", "bob"), "--speaker bob: not enrolled; known here: "),
        (("--speaker", "../bob"), "expected a name of letters, digits, dots, hyphens and underscores"),
        (("--speaker", "bob", "--same-speaker"), "expected one of --neutral, --speaker and --same-speaker"),
        (("--neutral", "gone.wav"), "gone.wav: no such file"),
    ],
)
def test_what_cannot_be_is_one_line(dsnet, fold, files, arguments, message):
    status, _, errors = dsnet("predict", fold, files[0], *arguments)
    assert (status, len(errors)) == (2, 1)
    assert message in errors[0]


def test_silence_and_a_breath_enrol_nobody(dsnet, fold, tmp_path):
    soundfile.write(tmp_path / "silence.wav", torch.zeros(16_000).numpy(), 16_000)
    soundfile.write(tmp_path / "short.wav", 0.1 * torch.randn(200).numpy(), 16_000)
    status, _, errors = dsnet("enrol", fold, "nobody", tmp_path / "silence.wav", tmp_path / "short.wav")
    assert status == 2
    assert "no speech in what is to be enrolled" in errors[-1]
    assert not (fold / "speakers" / "nobody.safetensors").exists()


def test_a_speaker_of_another_checkpoint_and_a_method_that_enrols_nobody_are_refused(dsnet, run, fold, files):
    Speaker(torch.zeros(256), "0" * 16).save(fold / "speakers" / "stranger.safetensors")
    status, _, errors = dsnet("predict", fold, files[0], "--speaker", "stranger")
    assert (status, len(errors)) == (2, 1)
    assert "a speaker whom another model enrolled" in errors[0]
    baseline = run / "synthetic" / "cnn" / "baseline" / "seed-0" / "fold-00"
    status, _, errors = dsnet("enrol", baseline, "anna", files[0])
    assert status == 2
    assert "baseline enrols no speaker" in errors[-1]
    status, _, errors = dsnet("predict", baseline, files[0], "--same-speaker")
    assert status == 2
    assert "enrols no speaker; leave --speaker and --same-speaker out" in errors[-1]
