import io
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from benchmarks.output.files import read_tensors
from benchmarks.report import confusion_figure as confusion
from benchmarks.report import curves_figure as curves
from benchmarks.report import spaces_figure as spaces
from benchmarks.report.columns import columns
from benchmarks.report.picture import render
from benchmarks.report.spaces_figure import _tsne
from tests.benchmarks.report.records import Corpus, cell, read, write_spaces

ALPHA, BETA = Corpus("alpha", each=6), Corpus("beta")


def cells(method, corpus=ALPHA, folder=None, **options):
    return [read(cell(method, corpus, f, s, **options), folder) for f in range(4) for s in range(2)]


@pytest.fixture
def drawn(monkeypatch):
    """Keeps each matplotlib figure that is rendered, for a look at what is on it."""
    kept = []

    def keep(figure, *arguments):
        kept.append(figure)
        return render(figure, *arguments)

    for module in (confusion, curves, spaces):
        monkeypatch.setattr(module, "render", keep)
    return kept


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_a_picture_is_a_png_and_an_svg_of_the_same_shape_on_white():
    picture = render(Figure((4, 2)), "x", "X", "caption")
    image = Image.open(io.BytesIO(picture.png)).convert("RGBA")
    assert image.size == (600, 300)
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    root = ElementTree.fromstring(picture.svg)
    assert root.attrib["viewBox"] == "0 0 288 144"


def test_the_same_figure_gives_the_same_bytes():
    own = cells("dsnet")
    first, second = (curves.curves_figure("figure-2", "X", own) for _ in range(2))
    assert (first.png, first.svg) == (second.png, second.svg)


def test_no_figure_is_left_open_in_a_notebook():
    before = plt.get_fignums()
    curves.curves_figure("figure-2", "X", cells("dsnet"))
    assert plt.get_fignums() == before


def test_figure_2_has_a_row_for_each_corpus_and_the_mean_and_range_of_each_loss(drawn):
    own = cells("dsnet", epochs=5)
    curves.curves_figure("figure-2", "X", own + cells("dsnet", BETA, epochs=5))
    axes = np.reshape(drawn[0].axes, (2, 5))
    assert [axis.get_title() for axis in axes[0]] == [
        *(f"{name} loss" for name in ("task", "orthogonality", "reconstruction", "calibration")),
        "validation UAR (%)",
    ]
    assert [row[0].get_ylabel() for row in axes] == ["alpha", "beta"]
    values = np.array([[epoch.train["calibration"] for epoch in c.record.story.curves] for c in own])
    axis = axes[0, 3]
    assert [line.get_label() for line in axis.lines] == ["train", "validation"]
    assert axis.lines[0].get_ydata() == pytest.approx(values.mean(0))
    region = axis.collections[0].get_paths()[0].vertices
    assert (region[:, 1].min(), region[:, 1].max()) == (pytest.approx(values.min()), pytest.approx(values.max()))


def test_figure_3_shows_each_space_by_emotion_and_by_speaker_and_the_baselines_h_beside(drawn, tmp_path):
    ours, bare = (cell(method, ALPHA) for method in ("dsnet", "baseline"))
    for line in (ours, bare):
        write_spaces(tmp_path, line, ALPHA)
    found = [read(line, tmp_path / line["folder"]) for line in (ours, bare)]
    spaces.spaces_figure("figure-3", "X", *found)
    axes = np.reshape(drawn[0].axes, (2, 4))
    assert [axis.get_title() for axis in axes[0]] == ["h", "$z_{er}$", "$z_{ei}$", "baseline's h"]
    for row in axes:
        for axis in row:
            assert sum(len(points.get_offsets()) for points in axis.collections) == 48 + 8  # utterances and centres
    legends = [[text.get_text() for text in row[-1].get_legend().get_texts()] for row in axes]
    assert legends == [["angry", "happy", "neutral", "sad"], ["alpha0 (test)", "alpha1 (validation)"]]


def test_figure_3_has_the_papers_colours_and_shapes_and_centres_in_the_middle(drawn, tmp_path):
    line = cell("dsnet", ALPHA)
    write_spaces(tmp_path, line, ALPHA)
    own = read(line, tmp_path / line["folder"])
    spaces.spaces_figure("figure-3", "X", own, None)
    top = drawn[0].axes[0]
    validation, test, *centres = top.collections
    _, record = read_tensors(own.folder / spaces.SPACES_NAME)
    emotions = [e for e, side in zip(record["emotion"], record["split"], strict=True) if side == "validation"]
    palette = [to_rgba(name)[:3] for name in ("tab:blue", "tab:orange", "tab:green", "tab:red")]
    assert [tuple(color[:3]) for color in validation.get_facecolors()] == [palette[emotion] for emotion in emotions]
    assert len(validation.get_paths()[0].vertices) != len(test.get_paths()[0].vertices)  # circle and square
    points, opaque = test.get_offsets(), [c for c in centres if np.allclose(c.get_facecolors()[0][:3], palette[2])]
    emotions = np.array([e for e, side in zip(record["emotion"], record["split"], strict=True) if side == "test"])
    middles = [c.get_offsets()[0] for c in opaque]
    assert any(np.allclose(middle, points[emotions == 2].mean(0)) for middle in middles)
    assert all(c.get_facecolors()[0][3] == 1 for c in centres)
    assert test.get_facecolors()[0][3] < 1
    assert max(test.get_sizes()) < min(size for c in centres for size in c.get_sizes())


def test_figure_3_is_the_same_each_time(tmp_path):
    line = cell("dsnet", ALPHA)
    write_spaces(tmp_path, line, ALPHA)
    own = read(line, tmp_path / line["folder"])
    first, second = (spaces.spaces_figure("figure-3", "X", own, None) for _ in range(2))
    assert first.png == second.png


def test_figure_3_needs_five_utterances(tmp_path):
    tiny = Corpus("tiny", counts=["01", "23"])
    line = cell("dsnet", tiny)
    write_spaces(tmp_path, line, tiny)
    assert spaces.spaces_figure("figure-3", "X", read(line, tmp_path / line["folder"]), None) is None


def test_the_first_fold_and_seed_with_spaces_is_shown(tmp_path):
    lines = [cell("dsnet", ALPHA, fold, seed) for fold, seed in ((3, 0), (2, 1), (2, 0), (0, 0))]
    for line in lines[:3]:
        write_spaces(tmp_path, line, ALPHA)
    own = [read(line, tmp_path / line["folder"]) for line in lines]
    assert spaces.first_with_spaces(own, "alpha").fold_and_seed == (2, 0)
    assert spaces.first_with_spaces(own, "beta") is None


def test_figure_4_has_percent_of_the_row_and_counts_as_means_over_seeds(drawn):
    found = columns({method: cells(method) for method in ("baseline", "dsnet")})
    confusion.confusion_figure("figure-4", "X", found)
    assert [axis.get_title() for axis in drawn[0].axes] == ["alpha: baseline", "alpha: dsnet"]
    predictions = found[0].entries["dsnet"].predictions
    counts = np.mean([confusion_matrix(predictions.truth, said) for said in predictions.predicted], axis=0)
    percent = 100 * counts / counts.sum(1, keepdims=True)
    expected = [f"{p:.1f}\n{c:.0f}" for p, c in zip(percent.ravel(), counts.ravel(), strict=True)]
    assert texts(drawn[0].axes[1]) == expected
    axis = drawn[0].axes[1]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["angry", "happy", "neutral", "sad"]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("true", "predicted")


def test_figure_4_has_corpora_within_themselves_that_have_both_methods():
    rows = {"baseline": cells("baseline", targets=(BETA,)), "dsnet": cells("dsnet", BETA)}
    assert confusion.confusion_figure("figure-4", "X", columns(rows)) is None


def test_figure_4_leaves_out_what_is_across_corpora(drawn):
    found = columns({method: cells(method, targets=(BETA,)) for method in ("baseline", "dsnet")})
    assert [column.name for column in found] == ["alpha", "alpha to beta"]
    confusion.confusion_figure("figure-4", "X", found)
    assert [axis.get_title() for axis in drawn[0].axes] == ["alpha: baseline", "alpha: dsnet"]


def test_a_class_that_nobody_says_has_no_percent(drawn):
    halved = Corpus("halved", counts=["0011"] * 4)
    confusion.confusion_figure("x", "X", columns({method: cells(method, halved) for method in ("baseline", "dsnet")}))
    assert texts(drawn[0].axes[0])[8:] == ["-"] * 8


def test_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    odd = Corpus("a$b_{$", each=6)
    line = cell("dsnet", odd)
    write_spaces(tmp_path, line, odd)
    own = read(line, tmp_path / line["folder"])
    assert spaces.spaces_figure("x", "X", own, None)
    assert curves.curves_figure("x", "X", [own])
    assert confusion.confusion_figure(
        "x", "X", columns({method: cells(method, odd) for method in ("baseline", "dsnet")})
    )


def test_recordings_that_are_all_the_same_stay_in_one_place():
    assert (_tsne(np.full((8, 4), 0.3, dtype=np.float32)) == 0).all()
