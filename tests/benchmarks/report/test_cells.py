import gzip
import json

import pytest

from benchmarks.errors import RunError
from benchmarks.report.cells import read_runs
from dsnet_plugin import CheckpointError
from tests.benchmarks.report.records import Corpus, cell, speed, write_run

ALPHA = Corpus("alpha")


def test_a_run_folder_gives_its_cells_with_their_folders_and_its_lines_of_speed(tmp_path):
    run = write_run(tmp_path / "run", [cell("baseline", ALPHA), cell("dsnet", ALPHA, fold=2, seed=1)], [speed("dsnet")])
    found = read_runs([run])
    assert [(own.method, own.fold_and_seed) for own in found.cells] == [("baseline", (0, 0)), ("dsnet", (2, 1))]
    assert found.cells[1].folder == run / "alpha/cnn/dsnet/seed-1/fold-02"
    assert [line.method for line in found.speeds] == ["dsnet"]
    assert found.remarks == []


def test_a_file_may_hold_lines_of_cells_and_of_speed(tmp_path):
    path = tmp_path / "kept.jsonl"
    path.write_text(f"{json.dumps(cell('dsnet', ALPHA))}\n\n{json.dumps(speed('dsnet'))}\n")
    found = read_runs([path])
    assert (len(found.cells), len(found.speeds)) == (1, 1)


def test_lines_may_be_compressed(tmp_path):
    path = tmp_path / "kept.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(cell('dsnet', ALPHA))}\n".encode()))
    assert [own.method for own in read_runs([path]).cells] == ["dsnet"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"no gzip", lambda data: data[:30] + b"xyz" + data[33:]]
)
def test_damaged_compressed_lines_are_one_error(tmp_path, damage):
    path = tmp_path / "kept.jsonl.gz"
    path.write_bytes(damage(gzip.compress(f"{json.dumps(cell('dsnet', ALPHA))}\n".encode())))
    with pytest.raises(CheckpointError, match=r"kept.jsonl.gz: damaged .*take the file from where it came from again"):
        read_runs([path])


def test_several_runs_are_read_in_their_order(tmp_path):
    runs = [write_run(tmp_path / name, [cell(name, ALPHA)]) for name in ("dsnet", "baseline")]
    assert [own.method for own in read_runs(runs).cells] == ["dsnet", "baseline"]


def test_a_last_line_that_a_killed_writer_left_is_passed_over_and_remarked(tmp_path):
    run = write_run(tmp_path / "run", [cell("baseline", ALPHA)])
    with (run / "cells.jsonl").open("ab") as stream:
        stream.write(json.dumps(cell("dsnet", ALPHA)).encode()[:100] + "ę".encode()[:1])
    found = read_runs([run])
    assert [own.method for own in found.cells] == ["baseline"]
    assert len(found.remarks) == 1
    assert f"{run / 'cells.jsonl'}:2" in found.remarks[0]


def test_a_last_line_that_is_whole_counts_without_a_line_feed(tmp_path):
    run = write_run(tmp_path / "run", [cell("baseline", ALPHA)])
    path = run / "cells.jsonl"
    path.write_text(path.read_text().rstrip("\n"))
    found = read_runs([run])
    assert (len(found.cells), found.remarks) == (1, [])


@pytest.mark.parametrize("damage", ["{", "[]", "3", "null", '{"cell": 1}', '"text"', "[" * 100_000, "9" * 5000])
def test_a_damaged_line_in_the_middle_is_one_error_with_file_and_line(tmp_path, damage):
    run = write_run(tmp_path / "run", [cell("baseline", ALPHA), cell("dsnet", ALPHA)])
    path = run / "cells.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{first}\n{damage}\n{second}\n")
    with pytest.raises(CheckpointError, match=r"cells\.jsonl:2: ") as caught:
        read_runs([run])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line["story"].pop("curves"), "story lacks curves"),
        (lambda line: line["identity"]["settings"].pop("seed"), "settings lacks seed"),
        (lambda line: line["identity"].update(fold="0"), "fold is a str, expected int"),
        (lambda line: line["tests"]["alpha"].pop("speakers"), "tests.alpha lacks speakers"),
        (lambda line: line.pop("version"), "a record of version none; this release reads version 3"),
        (lambda line: line.update(version=1), "a record of version 1; this release reads version 3"),
        (lambda line: line.update(version=3.0), "version is a float, expected int"),
        (lambda line: line.update(mood="good"), "record has mood, of which this release knows nothing"),
        (lambda line: line.update(label=None), "label is a null, expected str"),
        (lambda line: line.update(adapts=1), "adapts is a int, expected bool"),
        (lambda line: line.update(tests={}), "tests lacks alpha"),
        (lambda line: line["story"].update(curves=[]), "expected epochs from 1 in order"),
        (lambda line: line["story"]["curves"].pop(), "story.curves has 2 epochs, and identity.settings 3"),
        (
            lambda line: line["story"]["curves"][1].update(train=[]),
            r"story\.curves\[1\]\.train is a list, expected dict",
        ),
        (lambda line: line["story"].update(seconds=float("inf")), "story.seconds is inf, expected a smaller"),
        (lambda line: line["story"].update(seconds=float("nan")), "story.seconds is nan, expected a smaller"),
        (lambda line: line["story"].update(seconds=10**400), "story.seconds is a number of more than 12 digits"),
        (lambda line: line["identity"].update(fold=10**400), "identity.fold is a number of more than 12 digits"),
        (lambda line: line["identity"].update(fold={"a": {"b": []}}), "identity.fold is a dict, expected int"),
        (lambda line: line["identity"].update(settings=None), "identity.settings is a null, expected dict"),
        (lambda line: line["tests"]["alpha"].update(uar=99.5), "uar is 99.5, and that of the predictions"),
        (lambda line: line["tests"]["alpha"].update(speakers={}), "speakers is empty"),
        (
            lambda line: line["tests"]["alpha"]["speakers"]["alpha0"].update(truth="0"),
            "expected as many digits, of 0123",
        ),
        (lambda line: line["tests"]["alpha"]["corpus"].update(name="beta"), "tests.alpha is of beta"),
    ],
)
def test_an_incomplete_record_is_an_error_that_names_what_it_lacks(tmp_path, change, message):
    line = cell("baseline", ALPHA)
    change(line)
    with pytest.raises(CheckpointError, match=rf"cells\.jsonl:1: .*{message}") as caught:
        read_runs([write_run(tmp_path / "run", [line])])
    assert "\n" not in str(caught.value)


def test_of_two_records_of_one_cell_the_later_counts_and_it_is_remarked(tmp_path):
    early, late = cell("baseline", ALPHA), cell("baseline", ALPHA)
    late["story"]["seconds"] = 7.0
    found = read_runs([write_run(tmp_path / "run", [early, cell("dsnet", ALPHA), late])])
    assert [(own.method, own.record.story.seconds) for own in found.cells] == [("baseline", 7.0), ("dsnet", 36.0)]
    assert len(found.remarks) == 1
    assert "cells.jsonl:3" in found.remarks[0]


def test_no_finished_cell_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no finished cell"):
        read_runs([write_run(tmp_path / "run", [])])


def test_a_folder_without_lines_is_an_error_that_says_what_is_expected(tmp_path):
    with pytest.raises(RunError, match=r"cells\.jsonl"):
        read_runs([tmp_path])


def test_corpora_of_one_name_and_other_utterances_are_told_apart(tmp_path):
    other = Corpus("alpha", each=3)
    beta = Corpus("beta")
    run = write_run(
        tmp_path / "run", [cell("dsnet", ALPHA), cell("dsnet", other), cell("dsnet", beta, targets=(other,))]
    )
    names = [own.corpus for own in read_runs([run]).cells]
    assert names == [f"alpha {ALPHA.identity['sha256'][:6]}", f"alpha {other.identity['sha256'][:6]}", "beta"]
    assert list(read_runs([run]).cells[2].record.tests) == ["beta", names[1]]


def test_the_number_of_training_speakers_is_no_setting_of_a_method(tmp_path):
    lines = [cell("menan", ALPHA, fold, config={"num_speakers": 8 + fold}) for fold in range(2)]
    assert [own.config for own in read_runs([write_run(tmp_path / "run", lines)]).cells] == [{}, {}]


def test_a_damaged_line_of_speed_is_one_error_with_file_and_line(tmp_path):
    run = write_run(tmp_path / "run", [cell("baseline", ALPHA)], [speed("dsnet"), speed("dsnet", max_frames="600")])
    with pytest.raises(CheckpointError, match=r"speed\.jsonl:2: max_frames is a str, expected int"):
        read_runs([run])
