"""The main job on real speech, where it is there: one epoch, short inputs."""

import json

import pytest

from tests.benchmarks.corpora.trees import data_folder

pytestmark = pytest.mark.usefixtures("narrow_cnn")


@pytest.mark.parametrize(
    ("name", "found", "speakers"),
    [
        ("ravdess", "672 utterances (angry 192, happy 192, neutral 96, sad 192), 24 speakers", ("01", "02")),
    ],
)
def test_a_fold_of_a_real_corpus_trains_and_predicts(dsnet, tmp_path, name, found, speakers):
    root = data_folder(name)
    options = ("--method", "dsnet", "--folds", "0", "--epochs", "1", "--max-frames", "16", "--out", tmp_path)
    status, out, _ = dsnet("train", "--corpus", name, "--root", root, *options)
    assert status == 0
    assert found in out
    fold = tmp_path / name / "cnn/dsnet/seed-0/fold-00"
    story = json.loads((fold / "result.json").read_text())["story"]
    assert (story["test_speaker"], story["validation_speaker"]) == speakers
    status, out, _ = dsnet("predict", fold, next(root.rglob("*.ogg")))
    assert status == 0
    assert out.count("\n") == 3
