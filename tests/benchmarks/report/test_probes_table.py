import numpy as np
import pytest

from benchmarks.report.losses_table import losses_table
from benchmarks.report.probes_table import probes_table
from tests.benchmarks.report.records import Corpus, cell, read

ALPHA, BETA = Corpus("alpha"), Corpus("beta")


def cells(method, corpus=ALPHA, change=lambda line: None, **options):
    """Four folds of a method; ``change`` is made to the line of each."""
    lines = [cell(method, corpus, fold, **options) for fold in range(4)]
    for line in lines:
        change(line)
    return [read(line) for line in lines]


def not_probed(line):
    line["probes"] = {"spaces": {}, "hsic": None, "error": "too few"}


def by_header(table, place=0):
    return dict(zip(table.header, table.rows[place], strict=True))


def test_probes_are_means_and_deviations_over_cells():
    own = cells("dsnet")
    row = by_header(probes_table("x", "X", {"dsnet": own}))
    for space in ("h", "z_er", "z_ei"):
        for question in ("emotion", "speaker"):
            scores = [getattr(c.record.probes.spaces[space], question) for c in own]
            found = row[f"{question} in {space}"]
            assert (found.value, found.sd) == (pytest.approx(np.mean(scores)), pytest.approx(np.std(scores, ddof=1)))
    assert row["HSIC of z_er and z_ei"].value == pytest.approx(np.mean([c.record.probes.hsic for c in own]))


def test_a_method_without_subspaces_has_h_alone():
    row = by_header(probes_table("x", "X", {"baseline": cells("baseline"), "dsnet": cells("dsnet")}))
    assert row["emotion in h"] is not None
    assert (row["emotion in z_er"], row["speaker in z_ei"], row["HSIC of z_er and z_ei"]) == (None, None, None)


def test_chance_stands_below_for_each_corpus():
    def fewer_speakers(line):
        for space in ("h", "z_er", "z_ei"):
            line["probes"]["spaces"][space]["speaker_chance"] = 20.0

    other = cells("dsnet", BETA, fewer_speakers)
    table = probes_table("x", "X", {"dsnet": cells("dsnet") + other})
    assert [row[:2] for row in table.rows] == [["alpha", "dsnet"], ["beta", "dsnet"]]
    assert [row[:2] for row in table.foot] == [["alpha", "chance"], ["beta", "chance"]]
    assert [[number.value for number in row[2:-1]] for row in table.foot] == [
        [25.0] * 3 + [12.5] * 3,
        [25.0] * 3 + [20.0] * 3,
    ]


def test_cells_that_could_not_be_probed_are_counted_and_left_out():
    own = [*cells("dsnet", change=not_probed)[:1], *cells("dsnet")[1:]]
    table = probes_table("x", "X", {"dsnet": own})
    expected = np.mean([c.record.probes.spaces["h"].emotion for c in own[1:]])
    assert by_header(table)["emotion in h"].value == pytest.approx(expected)
    assert table.notes[-1].startswith("1 cells")


def test_without_any_probe_there_is_no_table():
    own = cells("dsnet", change=not_probed)
    assert probes_table("x", "X", {"dsnet": own}) is None


def test_losses_have_their_values_and_gradients_in_the_first_epoch_and_the_last():
    own = cells("dsnet", epochs=5)
    table = losses_table("x", "X", {"dsnet": own})
    assert [row[1] for row in table.rows] == ["task", "orthogonality", "reconstruction", "calibration"]
    row = by_header(table, 3)
    names = {"training loss": "train", "validation loss": "validation", "gradient on the encoder": "gradient_norms"}
    for shown, key in names.items():
        for when, place in (("first", 0), ("last", 4)):
            values = [getattr(c.record.story.curves[place], key)["calibration"] for c in own]
            found = row[f"{shown}, {when}"]
            assert (found.value, found.sd) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))


def test_a_loss_whose_gradient_was_not_watched_has_none():
    def unwatched(line):
        for epoch in line["story"]["curves"]:
            epoch["gradient_norms"].pop("task")

    own = cells("dsnet", change=unwatched)
    row = by_header(losses_table("x", "X", {"dsnet": own}))
    assert row["gradient on the encoder, first"] is None
    assert row["training loss, first"] is not None
