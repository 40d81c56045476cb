from pathlib import Path

import pytest
import yaml

from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.data import PAPERS_CNN, EncoderSpec
from benchmarks.errors import RunError
from benchmarks.grid.plan import plan
from benchmarks.grid.spec import CorpusSpec, one_corpus, read_spec
from benchmarks.methods import METHODS
from benchmarks.presets import presets
from tests.backbones.tiny_speech_models import save_tiny

NEEDS_CORPORA = ("cpu", "cross")


@pytest.fixture
def written(tmp_path):
    """A specification on disk, from a document or from its bytes."""

    def write(document):
        path = tmp_path / "mine.yaml"
        path.write_bytes(document if isinstance(document, bytes) else yaml.safe_dump(document).encode())
        return str(path)

    return write


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Two small corpora: a folder that the synthetic corpus made, and a manifest of another one."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, seed in (("one", 0), ("two", 1)):
        generate(folder / name, SyntheticSettings(speakers=3, utterances=8, seconds=0.5, seed=seed))
    rows = [f"{path},{path.parent.name},{path.stem.split('_')[1]}" for path in sorted((folder / "two").rglob("*.wav"))]
    (folder / "two.csv").write_text("\n".join(["path,speaker,label", *rows]))
    return {"synthetic": folder / "one", "manifest": folder / "two.csv"}


def test_the_least_is_a_method_and_the_rest_are_the_paper_s_defaults(written):
    (grid,) = read_spec(written({"methods": ["dsnet"]}), {})
    assert [(m.label, m.method, m.config) for m in grid.methods] == [("dsnet", "dsnet", {})]
    assert grid.corpora == [CorpusSpec("synthetic", "synthetic")]
    assert (grid.encoders, grid.protocol, grid.folds, grid.seeds) == ([PAPERS_CNN], "loso", "all", [0])
    assert (grid.cross, grid.speed, grid.settings) == (False, False, {})


def test_a_grid_has_the_other_keys_as_defaults_and_adds_to_their_settings(written):
    shared = {"methods": ["baseline"], "seeds": [3], "settings": {"epochs": 9, "patience": 4}}
    grids = [{"folds": 1}, {"methods": ["dann"], "seeds": "1, 2", "settings": {"epochs": 2}}]
    first, second = read_spec(written({**shared, "grids": grids}), {})
    assert ([m.label for m in first.methods], first.folds, first.seeds) == (["baseline"], "1", [3])
    assert first.settings == {"epochs": 9, "patience": 4}
    assert ([m.label for m in second.methods], second.folds, second.seeds) == (["dann"], "all", [1, 2])
    assert second.settings == {"epochs": 2, "patience": 4}


def test_what_the_command_line_sets_holds_for_every_grid(written):
    document = {"methods": ["baseline"], "grids": [{"settings": {"epochs": 9}, "seeds": [0]}, {"folds": [1]}]}
    changes = {"epochs": 2, "folds": "0,2", "learning_rate": "1e-3", "seeds": 5, "methods": "dann,difl"}
    for grid in read_spec(written(document), {}, changes):
        assert grid.settings == {"epochs": 2, "learning_rate": 0.001}
        assert (grid.folds, grid.seeds, [m.method for m in grid.methods]) == ("0,2", [5], ["dann", "difl"])


def test_a_method_has_a_label_and_settings_of_its_own(written):
    entry = {"label": "cold", "method": "dsnet", "config": {"temperature": 0.1}}
    (grid,) = read_spec(written({"methods": ["dsnet", entry]}), {})
    assert [(m.label, m.method, m.config) for m in grid.methods] == [
        ("dsnet", "dsnet", {}),
        ("cold", "dsnet", {"temperature": 0.1}),
    ]


def test_a_root_of_the_command_line_takes_the_place_of_the_specification_s_and_none_is_relative(written):
    document = {"methods": ["baseline"], "corpora": {"mine": {"corpus": "ravdess", "root": "~/there"}, "nemo": None}}
    (grid,) = read_spec(written(document), {"nemo": Path("here")})
    assert grid.corpora == [
        CorpusSpec("mine", "ravdess", Path.home() / "there"),
        CorpusSpec("nemo", "nemo", Path.cwd() / "here"),
    ]


def test_without_corpora_it_is_those_of_the_command_line(written):
    roots = {"ravdess": Path("/r"), "nemo": Path("/n")}
    (grid,) = read_spec(written({"methods": ["baseline"], "cross": True}), roots)
    assert [corpus.name for corpus in grid.corpora] == ["ravdess", "nemo"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"methods: [baseline", "is not YAML: while parsing a flow sequence"),
        (b"- baseline", "holds a list; expected a mapping with keys such as methods"),
        (b"\xff\x00", "is not YAML"),
        (b"since: 2023-13-32", "is not YAML: month must be in"),
        ({}, r"methods: None; expected at least one, such as \[baseline, dsnet\]"),
        ({"methods": []}, "methods: .*expected at least one"),
        ({"methods": ["dsnett"]}, "unknown method 'dsnett'; did you mean dsnet"),
        ({"methods": [3]}, "methods: 3; expected a name, or a mapping of label, method and config"),
        ({"methods": [{"method": ["dsnet"]}]}, "expected a name, or a mapping"),
        ({"methods": [{"method": "dsnet", "name": "x"}]}, "expected a name, or a mapping"),
        ({"methods": [{"method": "dsnet", "config": 3}]}, "config: 3; expected a mapping"),
        ({"methods": [{"method": "dsnet", "config": {3: 4}}]}, "config: .*expected a mapping of names"),
        ({"methods": ["dsnet", {"label": "dsnet", "method": "dann"}]}, "the label 'dsnet' twice"),
        ({"methods": ["dsnet"], "sedes": [0]}, "key 'sedes' is unknown; did you mean seeds"),
        ({"methods": ["dsnet"], 3: 4}, "key 3 is unknown; known: "),
        ({"methods": ["dsnet"], "encoders": []}, "encoders: .*expected at least one, such as cnn"),
        ({"methods": ["dsnet"], "folds": None}, "folds: None; expected at least one"),
        ({"methods": ["dsnet"], "seeds": [0, -1]}, "seeds: -1; expected a whole number of at least 0"),
        ({"methods": ["dsnet"], "seeds": [True]}, "seeds: True; expected a whole number"),
        ({"methods": ["dsnet"], "protocol": "random"}, "protocol 'random'; expected loso, session, or groups-K"),
        ({"methods": ["dsnet"], "protocol": ["loso"]}, "protocol .*expected loso, session"),
        ({"methods": ["dsnet"], "cross": "yes please"}, "cross: 'yes please'; expected true or false"),
        ({"methods": ["dsnet"], "cross": True}, "need two corpora or more; give their folders with --root"),
        ({"methods": ["dsnet"], "corpora": ["emodbb"]}, "unknown corpus 'emodbb'; did you mean emodb"),
        ({"methods": ["dsnet"], "corpora": {"emodb": {}}}, "emodb needs its folder: add --root emodb=FOLDER"),
        ({"methods": ["dsnet"], "corpora": {"a": {"path": "x"}}}, "expected keys of corpus, root, options"),
        ({"methods": ["dsnet"], "corpora": 3}, "corpora: 3; expected a mapping"),
        ({"methods": ["dsnet"], "corpora": {}}, "expected a mapping"),
        ({"methods": ["dsnet"], "corpora": {"synthetic": {"options": {"size": 1}}}}, "option 'size' is unknown"),
        ({"methods": ["dsnet"], "corpora": {"synthetic": {"options": {"speakers": 1}}}}, "speakers=1; expected"),
        (
            {"methods": ["dsnet"], "corpora": {"nemo": {"root": "x", "options": {"seed": 1}}}},
            "options go with the synthetic corpus alone",
        ),
        ({"methods": ["dsnet"], "settings": {"epoch": 1}}, "settings 'epoch' is unknown; did you mean epochs"),
        ({"methods": ["dsnet"], "settings": {"seed": 1}}, "settings 'seed' is unknown"),
        ({"methods": ["dsnet"], "settings": [1]}, "settings: .*expected a mapping"),
        ({"methods": ["dsnet"], "settings": {"epochs": 0}}, "epochs: 0; expected a whole number of at least 1"),
        ({"methods": ["dsnet"], "settings": {"epochs": 1.5}}, r"epochs: 1\.5; expected a whole number"),
        ({"methods": ["dsnet"], "settings": {"batch_size": 1}}, "batch_size: 1; expected a whole number of at least 2"),
        ({"methods": ["dsnet"], "settings": {"precision": "fp16"}}, "precision: 'fp16'; expected one of auto, fp32"),
        ({"methods": ["dsnet"], "settings": {"missing_neutral": 1}}, "missing_neutral: 1; expected one of error, drop"),
        ({"methods": ["dsnet"], "settings": {"learning_rate": 0}}, "learning_rate: 0; expected a number above 0"),
        ({"methods": ["dsnet"], "settings": {"learning_rate": "fast"}}, "learning_rate: 'fast'; expected a number"),
        ({"methods": ["dsnet"], "settings": {"learning_rate": float("inf")}}, "learning_rate: inf; expected"),
        ({"methods": ["dsnet"], "settings": {"onset": -3}}, "onset: -3; expected a number above 0, such as 30"),
        ({"methods": ["dsnet"], "settings": {"compile": 1}}, "compile: 1; expected true or false"),
        ({"methods": ["dsnet"], "grids": {}}, "grids: expected a list of mappings"),
        ({"methods": ["dsnet"], "grids": []}, "grids: expected a list of mappings"),
        ({"methods": ["dsnet"], "grids": [{"grids": []}, 3]}, "grids: expected a list of mappings"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(written, document, message):
    with pytest.raises(RunError, match=rf"(?s)^\S*mine\.yaml\b.*{message}"):
        read_spec(written(document), {})


@pytest.mark.parametrize(
    ("roots", "changes", "message"),
    [
        ({"nemo": Path("/n")}, {}, "--root nemo=/n: .* has no corpus of this name; it has synthetic"),
        ({}, {"epoch": 1}, "--set 'epoch' is unknown; did you mean epochs"),
        ({}, {"settings": {}}, "--set 'settings' is unknown"),
        ({}, {"epochs": "many"}, "epochs: 'many'; expected a whole number"),
    ],
)
def test_what_the_command_line_says_wrong_is_named(written, roots, changes, message):
    path = written({"methods": ["baseline"], "corpora": {"synthetic": None}})
    with pytest.raises(RunError, match=message):
        read_spec(path, roots, changes)


def test_neither_a_file_nor_a_preset_names_the_nearest_preset():
    with pytest.raises(RunError, match="quik: neither a file nor a preset; did you mean quick"):
        read_spec("quik", {})


@pytest.mark.parametrize("name", presets())
def test_every_preset_plans_its_cells(name, stand_ins, tmp_path):
    # Weights of other encoders are not here, and quick's own corpora would take time to make.
    changes = {
        "backbones": {"encoders": "cnn"},
        "enrolled": {
            "corpora": "synthetic,manifest",
            "sources": "synthetic",
            "encoders": f"hf/{save_tiny(tmp_path / 'other', 'whisper')}",
            "protocol": "groups-3",
        },
        "frozen": {"encoders": f"hf/{save_tiny(tmp_path, 'whisper')}", "protocol": "groups-3"},
        "finetuned": {"encoders": f"hf/{save_tiny(tmp_path / 'tuned', 'whisper')}", "protocol": "groups-3"},
        "quick": {"corpora": "synthetic,manifest"},
    }
    grids = read_spec(name, stand_ins, changes.get(name))
    cells = plan(grids, lambda precision: "fp32")
    asked = [
        len(g.methods) * len(g.encoders) * len(g.seeds) * (2 if g.folds == "0,1" else 3) * len(g.corpora) for g in grids
    ]
    assert 0 < len({cell.folder for cell in cells}) == len(cells) <= sum(asked)
    assert all(cell.settings.precision == "fp32" for cell in cells)
    if name in NEEDS_CORPORA:
        assert all({cell.corpus.name, *(t.name for t in cell.targets)} == {"synthetic", "manifest"} for cell in cells)
        with pytest.raises(RunError, match="two corpora or more"):
            read_spec(name, {})


def test_quick_covers_every_method_and_the_paper_s_ablations():
    named = {m.method for grid in read_spec("quick", {}) for m in grid.methods}
    ablations = {"dsnet-no-calibration", "dsnet-no-orthogonality", "dsnet-no-reconstruction"}
    assert named >= {*METHODS} | ablations
    assert len(METHODS) == 8


def test_an_encoder_has_options_of_its_own_or_those_of_the_specification(written):
    encoders = ["cnn", "hf/x", {"name": "timm/y", "options": {"drop_path_rate": 0.1}}]
    (grid,) = read_spec(written({"methods": ["dsnet"], "encoders": encoders, "encoder_options": {"freeze": "all"}}), {})
    assert grid.encoders == [
        EncoderSpec("cnn", {"freeze": "all"}),
        EncoderSpec("hf/x", {"freeze": "all"}),
        EncoderSpec("timm/y", {"drop_path_rate": 0.1}),
    ]
    (changed,) = read_spec(
        written({"methods": ["dsnet"], "encoder_options": {"pooling": "mean"}}), {}, {"encoders": "hf/z"}
    )
    assert changed.encoders == [EncoderSpec("hf/z", {"pooling": "mean"})]
    for wrong in ({"name": 3}, {"options": {}}, {"name": "cnn", "label": "x"}, 7):
        with pytest.raises(RunError, match="expected a name, or a mapping of name and options"):
            read_spec(written({"methods": ["dsnet"], "encoders": [wrong]}), {})


def test_the_home_of_nobody_is_a_folder_that_is_not_there(written):
    (grid,) = read_spec(written({"methods": ["baseline"], "corpora": {"nemo": {"root": "~nobody-of-this-name/x"}}}), {})
    assert grid.corpora[0].root == Path.cwd() / "~nobody-of-this-name/x"
    nobody = CorpusSpec("nemo", "nemo", Path("~nobody-of-this-name/x"))
    assert one_corpus(nobody, ["baseline"]).corpora == grid.corpora
