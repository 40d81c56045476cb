from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.data import PAPERS_CNN, EncoderSpec, FrontEnd
from benchmarks.errors import CorpusError, RunError, SplitError
from benchmarks.grid.plan import folder_name, plan
from benchmarks.grid.spec import CorpusSpec, Grid, MethodSpec
from benchmarks.methods import METHODS, VARIANTS, create_method
from benchmarks.training.settings import TrainingSettings
from dsnet_plugin import ConfigError


@pytest.fixture
def small(small_root):
    return CorpusSpec("small", "synthetic", small_root)


def grid(corpora, *methods, **changes):
    return Grid([own if isinstance(own, MethodSpec) else MethodSpec(own, own) for own in methods], corpora, **changes)


def cells(*grids):
    return plan(grids, lambda precision: {"auto": "bf16"}.get(precision, precision))


def test_every_combination_is_a_cell_with_a_folder_of_its_own(small):
    found = cells(grid([small], "baseline", "dsnet", folds="0,2", seeds=[0, 7], settings={"epochs": 3}))
    assert [cell.folder for cell in found] == [
        f"small/cnn/{method}/seed-{seed}/fold-{fold:02d}"
        for seed in (0, 7)
        for fold in (0, 2)
        for method in ("baseline", "dsnet")
    ]
    last = found[-1]
    assert (last.method.method, last.corpus, last.protocol, last.fold, last.front_end) == (
        "dsnet",
        small,
        "loso",
        2,
        FrontEnd("lmfb", 600),
    )
    assert last.settings == TrainingSettings(encoder=PAPERS_CNN, epochs=3, seed=7)


def test_auto_precision_becomes_the_device_s(small):
    assert cells(grid([small], "baseline", folds="0", settings={"precision": "auto"}))[0].settings.precision == "bf16"


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_a_cell_s_method_has_all_its_settings(small, name, tiny_encoder):
    (cell,) = cells(grid([small], name, folds="0"))
    needed = {"num_speakers": 3} if METHODS.get(name, METHODS[VARIANTS.get(name, (name,))[0]]).needs_speakers else {}
    whole = create_method(name, tiny_encoder, 4, **cell.method.config, **needed).config()
    assert whole == {**create_method(name, tiny_encoder, 4, **needed).config()} == {**cell.method.config, **needed}


@pytest.fixture(scope="module")
def tiny_encoder():
    from backbones import create_encoder

    return create_encoder("cnn")


def test_across_corpora_the_targets_are_all_others(small):
    other = replace(small, name="other")
    found = cells(grid([small, other], "baseline", folds="0", cross=True))
    assert [(cell.corpus, cell.targets) for cell in found] == [(small, (other,)), (other, (small,))]


def test_a_cell_of_two_grids_is_one_with_the_targets_of_both(small):
    one, two = replace(small, name="one"), replace(small, name="two")
    found = cells(
        grid([small, one], "baseline", folds="0", cross=True), grid([small, two], "baseline", folds="0", cross=True)
    )
    assert [(cell.corpus.name, {t.name for t in cell.targets}) for cell in found] == [
        ("small", {"one", "two"}),
        ("one", {"small"}),
        ("two", {"small"}),
    ]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"settings": {"epochs": 3}}, "small/cnn/dsnet/seed-0/fold-00 is asked for twice, with different settings"),
        ({"protocol": "session"}, "no session"),
    ],
)
def test_one_folder_for_two_different_cells_is_refused(small, second, message):
    with pytest.raises((RunError, SplitError), match=message):
        cells(grid([small], "dsnet", folds="0"), grid([small], "dsnet", folds="0", **second))


def test_labels_that_make_the_same_folder_are_refused(small):
    with pytest.raises(RunError, match=r"small/cnn/a_b/seed-0/fold-00 is asked for twice"):
        cells(grid([small], MethodSpec("a b", "dsnet"), MethodSpec("a_b", "dsnet", {"gamma": 0.0}), folds="0"))


def test_one_name_for_two_corpora_is_refused(small):
    other = replace(small, corpus="synthetic", root=small.root.parent)
    with pytest.raises(RunError, match="two grids have a corpus small, and not the same"):
        cells(grid([small], "baseline", folds="0"), grid([other], "dann", folds="0"))


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"temprature": 1}, RunError, "does not take these settings"),
        ({"temperature": -1}, ConfigError, "temperature=-1"),
        ({"strategy": "nearest"}, ConfigError, "strategy='nearest'"),
        ({"references": 0}, ConfigError, "k=0"),
        ({"num_speakers": 3}, RunError, "num_speakers is not for a configuration to say"),
        ({"encoder": "cnn"}, RunError, "encoder is not for a configuration to say"),
        ({"name": "x"}, RunError, "name is not for a configuration to say"),
    ],
)
def test_settings_that_a_method_refuses_are_known_before_anything_is_read(config, error, message):
    nowhere = CorpusSpec("nowhere", "nemo", Path("/nowhere"))
    with pytest.raises(error, match=message):
        cells(grid([nowhere], MethodSpec("mine", "dsnet", config)))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoders": [EncoderSpec("cn")]}, ConfigError, "cn"),
        ({"folds": "9"}, SplitError, "expected 'all' or numbers from 0 to 3"),
    ],
)
def test_encoders_and_folds_that_are_not_there_are_refused(small, changes, error, message):
    with pytest.raises(error, match=message):
        cells(grid([small], "baseline", **changes))


def test_a_corpus_that_is_not_there_is_refused():
    with pytest.raises(CorpusError, match="no folder /nowhere"):
        cells(grid([CorpusSpec("nemo", "nemo", Path("/nowhere"))], "baseline"))


@pytest.mark.parametrize(
    ("text", "folder"),
    [("hf/facebook/wav2vec2", "hf_facebook_wav2vec2"), ("a=0.1, b", "a=0.1_b"), ("..", "_"), ("é", "_")],
)
def test_a_folder_s_name_is_safe_everywhere(text, folder):
    assert folder_name(text) == folder
