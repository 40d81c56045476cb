"""What the documentation says of the studies is what ``dsnet report`` prints of their committed lines."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.output.typed_json import from_json
from benchmarks.studies import encode_once, reference_tables, references, search
from benchmarks.studies.batch_norm import app as batch_norm

PROJECT = Path(__file__).parents[3]
RESULTS = PROJECT / "benchmarks" / "results"
CHOOSING = (PROJECT / "docs" / "choosing.md").read_text(encoding="utf-8")


def rows(text):
    """The cells of each line of each table, without rules and blanks."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.match(r"^\|[-:| ]+\|$", line)]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


@pytest.mark.parametrize(
    ("file", "summary", "count"),
    [
        ("batch-norm/check", "method", 5),  # above it a table an epoch for each training, which no page has
        ("batch-norm/neutral", "method", 5),
        ("batch-norm/dropout", "method", 5),
        ("enrolled/references", "method", 22),
        ("search/chosen", "form", 23),
        ("search/confirmed", "form", 11),
        ("search/confirmed-nemo", "form", 11),
    ],
)
def test_a_table_of_the_documentation_is_what_report_prints_of_the_committed_lines(file, summary, count, dsnet):
    status, out, errors = dsnet("report", RESULTS / f"{file}.jsonl")
    assert (status, errors) == (0, [])
    printed = rows(out)
    printed = printed[[row[0] for row in printed].index(summary) :]
    assert len(printed) == count
    assert set(printed) <= set(rows(CHOOSING))


def test_the_table_of_models_without_a_reference_is_what_report_prints_source_by_source(dsnet):
    _, out, _ = dsnet("report", RESULTS / "frozen" / "references.jsonl")
    expected, source = [], ""
    for method, reference, within, *scores in rows(out):
        if method == "method":
            source = within.removeprefix("within ")
        elif reference in ("none", "1 sentence"):
            expected.append((source, method, reference, within, scores[-1]))
    assert len(expected) == 12
    assert set(expected) <= set(rows(CHOOSING))


def test_the_picture_of_references_is_drawn_from_the_committed_lines(tmp_path):
    references.main("enrolled", tmp_path, out=RESULTS / "enrolled/references.jsonl", figure=tmp_path / "references.svg")
    assert (tmp_path / "references.svg").read_text() == (PROJECT / "docs" / "references.svg").read_text()


def run(command, *arguments):
    app = command if isinstance(command, typer.Typer) else typer.Typer(add_completion=False)
    if app is not command:
        app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False).stdout


@pytest.mark.parametrize(
    ("file", "command", "arguments"),
    [
        ("batch-norm/check", batch_norm, ["check", "nothing-is-computed"]),
        ("batch-norm/neutral", batch_norm, ["neutral", "nothing-is-computed"]),
        ("batch-norm/dropout", batch_norm, ["dropout", "nothing-is-computed"]),
        ("enrolled/references", references.main, ["enrolled", "nothing-is-computed"]),
        ("search/chosen", search.main, []),
        ("search/confirmed", search.main, ["--sources", "emovo,ravdess", "--seeds", "0,1,2,3,4"]),
        ("search/confirmed-nemo", search.main, ["--sources", "nemo", "--seeds", "0,1,2,3,4"]),
    ],
)
def test_report_prints_what_the_study_printed(file, command, arguments, dsnet):
    lines = RESULTS / f"{file}.jsonl"
    _, out, _ = dsnet("report", lines)
    assert sorted(rows(run(command, *arguments, "--out", lines))) == sorted(rows(out)) != []


def test_encoding_once_takes_the_time_that_its_line_says(dsnet):
    lines = RESULTS / "encode-once" / "lines.jsonl"
    (line,) = (
        from_json(encode_once.EncodeOnceRecord, json.loads(text), "line", "") for text in lines.read_text().splitlines()
    )
    _, out, _ = dsnet("report", lines)
    *_, once, each, times = rows(out)[-1]
    assert (float(once), float(each), float(times)) == (
        pytest.approx(line.encoded_seconds, abs=0.005),
        pytest.approx(line.each_time_seconds, abs=0.05),
        pytest.approx(line.each_time_seconds / line.encoded_seconds, abs=0.5),
    )


def test_report_takes_a_study_s_lines_beside_a_run_s_and_names_a_damaged_one(dsnet, tmp_path):
    lines = (RESULTS / "enrolled" / "references.jsonl").read_text().splitlines()
    broken = tmp_path / "references.jsonl"
    broken.write_text("\n".join([lines[0], lines[1].replace('"seed": 0', '"seed": "x"')]))
    status, out, errors = dsnet("report", broken)
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert f"{broken}:2" in errors[0]
    assert "seed" in errors[0]
    cells = RESULTS / "finetuned" / "cells.jsonl"
    status, out, errors = dsnet("report", RESULTS / "search" / "confirmed.jsonl", cells, "--out", tmp_path / "report")
    assert (status, errors) == (0, [])
    assert len(rows(out)) == 11
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_table_of_references_is_computed_of_the_lines_by_hand():
    lines = [
        reference_tables.ReferenceRecord(
            "dsnet",
            "nemo",
            fold,
            seed,
            {},
            {"nemo": {"none": 10.0 * fold + seed}, "emovo": {"none": 50.0 + seed}},
            None,
        )
        for fold in (1, 2)
        for seed in (0, 2)
    ]
    (table,) = reference_tables.tables(lines)
    assert table.rows == [["dsnet", "none", "16.0 ± 1.4", "51.0 ± 1.4", "51.0 ± 1.4"]]


def test_the_readme_says_of_standardised_features_what_the_committed_lines_say(dsnet):
    scores = {}
    for file in ("chosen", "confirmed"):
        _, out, _ = dsnet("report", RESULTS / "search" / f"{file}.jsonl")
        for form, *columns in rows(out)[1:]:
            scores.setdefault(form, []).extend(float(column.split()[0]) for column in columns[-2:])
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    names = {
        "nothing": "baseline",
        "all utterances of a speaker": "baseline-standardised",
        "ten, drawn at random": "baseline-standardised-10",
        "ten in one emotion, drawn for each speaker": "baseline-standardised-10-one",
        "ten neutral ones, or as many as there are": "baseline-standardised-10-neutral",
        "(one neutral sentence, subtracted)": "baseline-sentence",
    }
    found = {row[0]: list(map(float, row[1:])) for row in rows(readme) if row[0] in names}
    assert found == {row: scores[form] for row, form in names.items()}

    def gains(*forms):
        """The least and the most that forms are above the baseline in the two files, within and across."""
        above = [[x - y for x, y in zip(scores[form], scores["baseline"], strict=True)] for form in forms]
        return [sorted(gain for form in above for gain in form[place::2]) for place in (0, 1)]

    (own, *_, own_most), (other, *_, other_most) = gains("baseline-standardised-10")
    (lost_most, *_, lost), (kept, *_, kept_most) = gains(
        "baseline-standardised-10-one", "baseline-standardised-10-neutral"
    )
    text = " ".join(readme.split())
    for sentence in (
        f"gains on average {other:.0f} to {other_most:.0f} points on other corpora and {own:.0f} to {own_most:.0f} within.",
        f"in one emotion it gains {kept:.0f} to {kept_most:.0f} on other corpora and loses {-lost:.0f} to {-lost_most:.0f} within",
    ):
        assert sentence in text, sentence


@pytest.mark.parametrize(
    ("file", "damage", "seen"),
    [
        ("search/confirmed", lambda line: line["tests"].clear(), "tests are of nothing; expected ravdess"),
        ("search/confirmed", lambda line: line["tests"]["nemo"].pop(), "tests.nemo is not a matrix of 4 by 4"),
        ("search/confirmed", lambda line: line.pop("seed"), "seed"),
        ("search/confirmed", lambda line: line.update(colour="red"), "colour"),
        ("batch-norm/check", lambda line: line["epochs"].clear(), "epochs"),
        ("batch-norm/check", lambda line: line["epochs"][2]["test"].pop("all"), "epochs"),
        ("enrolled/references", lambda line: line.update(uars=3), "uars"),
        ("encode-once/lines", lambda line: line.update(times="many"), "times"),
    ],
)
def test_a_study_s_line_that_does_not_fit_is_named_and_not_called_a_cell(file, damage, seen, dsnet, tmp_path):
    line = json.loads((RESULTS / f"{file}.jsonl").read_text().splitlines()[0])
    damage(line)
    (tmp_path / "lines.jsonl").write_text(json.dumps(line) + "\n")
    status, out, (error,) = dsnet("report", tmp_path / "lines.jsonl")
    assert (status, out) == (2, "")
    assert f"{tmp_path / 'lines.jsonl'}:1: " in error
    assert seen in error
    assert "cell" not in error


def test_a_search_that_is_not_finished_says_which_forms_are_left_out(dsnet, tmp_path):
    lines = (RESULTS / "search" / "confirmed.jsonl").read_text().splitlines()
    (tmp_path / "lines.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    _, out, _ = dsnet("report", tmp_path / "lines.jsonl")
    assert "baseline-standardised-10-one is left out: 236 of 240 tests are there." in out
    assert len(rows(out)) == 10


def test_the_means_over_nine_pairs_are_those_of_both_files_of_confirming_runs(dsnet):
    across = {}
    for file, pairs in (("confirmed", 6), ("confirmed-nemo", 3)):
        _, out, _ = dsnet("report", RESULTS / "search" / f"{file}.jsonl")
        header, *forms = rows(out)
        places = [i for i, name in enumerate(header) if " to " in name]
        assert len(places) == pairs
        for row in forms:
            across.setdefault(row[0], []).extend(float(row[i].split()[0]) for i in places)
    means = {form: sum(scores) / 9 for form, scores in across.items()}
    assert (
        f"`identity` has {means['identity']:.1f}, the paper's form {means['paper']:.1f} and the baseline "
        f"{means['baseline']:.1f}, and `sentence-contrast` has what `sentence` has, {means['sentence']:.1f}."
    ) in " ".join(CHOOSING.split())
    assert f"{means['sentence-contrast']:.1f}" == f"{means['sentence']:.1f}"
    assert f"{means['sentence'] - means['baseline']:.0f} points across" in CHOOSING
    assert f"{means['sentence'] - means['baseline-sentence']:.1f} more than the plain remedy" in CHOOSING


def test_a_study_s_last_line_that_a_killed_writer_left_unfinished_is_told(dsnet, tmp_path):
    lines = (RESULTS / "enrolled" / "references.jsonl").read_text()
    (tmp_path / "lines.jsonl").write_text(lines[:-100])
    status, out, _ = dsnet("report", tmp_path / "lines.jsonl")
    assert status == 0
    assert f"{tmp_path / 'lines.jsonl'}:108: the last line is unfinished" in out
