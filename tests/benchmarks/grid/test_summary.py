import pytest

from benchmarks.grid.record import read_record
from benchmarks.grid.summary import cell_line, comparison, contents, scores_line
from benchmarks.output.formats import terminal
from benchmarks.scores.uar import score
from dsnet_plugin import CheckpointError
from tests.benchmarks.report.records import Corpus, cell


def test_of_one_class_there_is_a_recall_and_no_uar():
    one = score([([3] * 9, [0] * 9)])
    assert scores_line(one) == (
        "no UAR: all utterances tested are sad, whose recall is 0.00; a UAR takes two classes or more"
    )
    table = terminal(comparison({"baseline": one}, {"baseline": None}, {"baseline": 1}))
    assert table.splitlines()[-1].split("|")[5:7] == ["    - (one class) ", "             - "]
    assert "nan" not in scores_line(one) + table


def test_of_few_utterances_there_is_a_uar_and_no_interval():
    few = score([([0, 1], [0, 0])])
    assert scores_line(few).startswith("pooled UAR 50.00 (no interval: fewer than 5 utterances), fold-mean UAR 50.00")
    assert "nan" not in terminal(comparison({"baseline": few}, {"baseline": None}, {"baseline": 1}))


def test_a_cell_s_line_says_that_its_test_side_has_one_class():
    sides = ["0123", "0123", "33333"]
    lines = [cell("baseline", Corpus("c", counts=sides), fold) for fold in range(3)]
    said = [cell_line(read_record(line, "here")) for line in lines]
    assert [", UAR " in line for line in said] == [True, True, False]
    assert "recall of sad " in said[2]
    assert "(one class: no UAR)" in said[2]


def test_a_test_on_other_utterances_than_those_of_the_own_corpus_is_refused():
    line = cell("baseline", Corpus("c"), 0)
    line["tests"]["c"]["corpus"] = {**line["identity"]["corpus"], "sha256": "0" * 16}
    with pytest.raises(CheckpointError, match=r"here: .*tests\.c\.corpus is not that of identity"):
        read_record(line, "here")


def test_what_each_space_holds_is_the_mean_over_the_cells_that_were_probed():
    def probed(fold, **scores):
        line = cell("dsnet", Corpus("c"), fold)
        spaces = {
            space: {"emotion": emotion, "emotion_chance": 25.0, "speaker": speaker, "speaker_chance": 50.0}
            for space, (emotion, speaker) in scores.items()
        }
        line["probes"] = {"spaces": spaces, "hsic": 0.5, "error": None if spaces else "too few"}
        return read_record(line, "here")

    table = contents({"dsnet": [probed(0, h=(60.0, 90.0), z_er=(70.0, 40.0)), probed(1, h=(64.0, 80.0)), probed(2)]})
    rows = [[name, space, emotion.value, speaker.value] for name, space, emotion, speaker in table.rows]
    assert rows == [["dsnet", "h", 62.0, 85.0], ["dsnet", "z_er", 70.0, 40.0]]
    assert [value.value for value in table.foot[0][2:]] == [25.0, 50.0]
    assert contents({"dsnet": [probed(0)]}) is None
