import csv
import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import recall_score

from benchmarks.commands.report import report
from benchmarks.errors import RunError
from benchmarks.grid.cell import run_cell
from benchmarks.output.typed_json import to_json
from benchmarks.report import write_report
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.in_memory import context_of, planned
from tests.benchmarks.report.records import Corpus, cell, speed, write_run, write_spaces

pytestmark = pytest.mark.usefixtures("narrow_cnn")

ALPHA, BETA = Corpus("alpha"), Corpus("beta", speakers=3)
ABLATIONS = ("dsnet-no-calibration", "dsnet-no-orthogonality", "dsnet-no-reconstruction")


def grid(methods, corpus=ALPHA, seeds=range(2), **options):
    return [cell(m, corpus, f, s, **options) for m in methods for f in range(len(corpus.speakers)) for s in seeds]


def written(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Everything a report can show, of a run with its folders."""
    lines = [
        *grid(("baseline", "dsc", "dsnet", *ABLATIONS), targets=(BETA,)),
        *grid(("baseline", "dsnet"), BETA, targets=(ALPHA,)),
        *grid(("dsnet",), label="dsnet medoid", config={"strategy": "medoid"}),
        *grid(("dsnet",), label="temperature 0.1", config={"temperature": 0.1}),
        *grid(("baseline", "dsnet"), encoder="timm/resnet10t", seeds=[0]),
    ]
    run = write_run(
        tmp_path_factory.mktemp("whole") / "run", lines, [speed("dsnet"), speed("baseline", "timm/resnet10t")]
    )
    for line in lines:
        if line["identity"]["fold"] == line["identity"]["settings"]["seed"] == 0 and line["label"] in (
            "baseline",
            "dsnet",
        ):
            write_spaces(run, line, ALPHA if line["identity"]["corpus"]["name"] == "alpha" else BETA)
    said = []
    return run, write_report([run], say=said.append), said


def test_a_report_is_written_into_the_run_and_each_section_is_said(whole):
    run, page, said = whole
    assert page == run / "report" / "report.html"
    assert said == ["Results: cnn", "Results: timm/resnet10t", "Encoders", "Complexity"]


def test_every_table_and_figure_of_the_paper_is_there_in_every_format(whole):
    run, _, _ = whole
    tables = (
        *("table-2", "table-2-statistics", "table-2-details", "table-4", "table-4-statistics", "spaces"),
        *("neutral", "neutral-statistics", "losses", "losses-statistics", "losses-gradients"),
    )
    other = ("table-2", "table-2-statistics", "table-2-details", "spaces")
    figures = ("figure-2-cnn", "figure-3-alpha-cnn", "figure-3-beta-cnn", "figure-4-cnn")
    more = ("figure-2-timm-resnet10t", "figure-3-alpha-timm-resnet10t", "figure-4-timm-resnet10t")
    names = [f"{name}-cnn" for name in tables] + [f"{name}-timm-resnet10t" for name in other]
    names += ["table-3", "encoders-uar", "encoders-cost"]
    assert written(run / "report") == {
        "report.html",
        "tables.md",
        *(f"tables/{name}.{kind}" for name in names for kind in ("tex", "csv")),
        *(f"figures/{name}.{kind}" for name in (*figures, *more) for kind in ("png", "svg")),
    }


def test_the_pictures_are_pictures(whole):
    run, _, _ = whole
    for path in (run / "report/figures").iterdir():
        if path.suffix == ".png":
            Image.open(path).verify()
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_numbers_of_table_2_are_those_of_the_records(whole):
    run, _, _ = whole
    lines = {line["method"]: line for line in rows(run / "report/tables/table-2-cnn.csv")}
    for method in ("baseline", "dsc", "dsnet"):
        by_seed = []
        for seed in range(2):
            said = [c["tests"]["alpha"]["speakers"] for c in grid((method,), seeds=[seed], targets=(BETA,))]
            truth, predicted = (
                [d for own in said for one in own.values() for d in one[k]] for k in ("truth", "predicted")
            )
            by_seed.append(100 * recall_score(truth, predicted, average="macro"))
        assert float(lines[method]["alpha"]) == pytest.approx(np.mean(by_seed))
        assert float(lines[method]["alpha sd"]) == pytest.approx(np.std(by_seed, ddof=1))
    assert lines["dsc"]["beta"] == ""
    assert float(lines["chance"]["alpha"]) == 25


def test_the_markdown_has_every_table_under_the_heading_of_its_section(whole):
    run, _, _ = whole
    text = (run / "report/tables.md").read_text()
    assert re.findall("^## (.*)", text, re.M) == ["Results: cnn", "Results: timm/resnet10t", "Encoders", "Complexity"]
    assert len(re.findall("^### ", text, re.M)) == len(list((run / "report/tables").glob("*.csv")))


def test_a_second_report_is_the_same_to_the_byte(tmp_path):
    lines = grid(("baseline", "dsnet"), seeds=[0])
    run = write_run(tmp_path / "run", lines)
    write_spaces(run, lines[-1], ALPHA)
    first, second = (write_report([run], tmp_path / name, say=str) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_cells_of_other_budgets_stand_in_other_sections(tmp_path):
    lines = [*grid(("baseline", "dsnet")), *grid(("baseline", "dsnet"), epochs=4)]
    page = write_report([write_run(tmp_path / "run", lines)], say=lambda _: None)
    folder = page.parent / "tables"
    assert {"table-2-budget-1.csv", "table-2-budget-2.csv"} <= {path.name for path in folder.iterdir()}
    for number, epochs in ((1, 3), (2, 4)):
        section = page.read_text().split(f"<h2>Results: budget {number}</h2>")[1]
        assert f"leave one speaker out, {epochs} epochs" in section.split("</p>")[0]
        alone = write_report([write_run(tmp_path / f"{epochs}", grid(("baseline", "dsnet"), epochs=epochs))], say=str)
        assert rows(folder / f"table-2-budget-{number}.csv") == rows(alone.parent / "tables/table-2.csv")


def test_names_that_would_be_one_file_are_two(tmp_path):
    lines = [*grid(("baseline",), encoder="timm/a_b"), *grid(("baseline",), encoder="timm/a-b")]
    page = write_report([write_run(tmp_path / "run", lines)], say=lambda _: None)
    assert {"table-2-timm-a-b.csv", "table-2-timm-a-b-2.csv"} <= {p.name for p in (page.parent / "tables").iterdir()}


def test_without_the_cells_folders_figure_3_is_left_out_and_the_page_says_so(tmp_path):
    page = write_report([write_run(tmp_path / "run", grid(("baseline", "dsnet")))], say=lambda _: None)
    assert not list((page.parent / "figures").glob("figure-3*"))
    assert "Figure 3 is left out" in page.read_text()


def test_one_cell_is_enough(tmp_path):
    page = write_report([write_run(tmp_path / "run", [cell("baseline", ALPHA)])], tmp_path / "out", lambda _: None)
    assert page.is_file()
    assert not list((tmp_path / "out" / "tables").glob("*statistics*"))


def test_ablations_without_dsnet_are_shown_untested(tmp_path):
    page = write_report([write_run(tmp_path / "run", grid(ABLATIONS))], say=lambda _: None)
    assert [row["method"] for row in rows(page.parent / "tables/table-4.csv")] == [*ABLATIONS, "chance"]
    assert not list((page.parent / "tables").glob("*statistics*"))


def test_a_report_of_a_file_lies_beside_it(tmp_path):
    run = write_run(tmp_path / "run", grid(("baseline",), seeds=[0]))
    assert write_report([run / "cells.jsonl"], say=lambda _: None) == run / "report/report.html"


def test_lines_of_speed_alone_are_a_table_for_each_budget(tmp_path):
    lines = [speed("baseline"), speed("dsnet"), speed("dsnet", max_frames=600)]
    page = write_report([write_run(tmp_path / "run", lines)], say=lambda _: None)
    tables = [rows(page.parent / f"tables/{name}.csv") for name in ("speed", "speed-2")]
    assert [[row["method"] for row in table] for table in tables] == [["baseline", "dsnet"], ["dsnet"]]
    assert tables[0][0]["training samples/s"] == "1234.0"
    text = page.read_text()
    assert "600 frames, fp32, NVIDIA H200, 2 threads" in text
    assert "f94ceb1" in text
    assert "Corpora" not in text


def test_nothing_is_written_where_nothing_can_be_read(tmp_path):
    with pytest.raises(RunError, match="no finished cell"):
        write_report([write_run(tmp_path / "run", [])], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_where_the_page_is(tmp_path, capsys):
    run = write_run(tmp_path / "run", [cell("baseline", ALPHA)])
    report([run], tmp_path / "out")
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {tmp_path / 'out' / 'report.html'}"


def test_a_real_run_is_reported(small_data, tmp_path):

    settings = TrainingSettings(epochs=2, max_frames=FRAMES, batch_size=8)
    cells = [
        planned(method, settings, fold, folder=f"{method}/fold-{fold:02d}")
        for method in ("baseline", "dsnet")
        for fold in (0, 1)
    ]
    lines = [json.loads(json.dumps(to_json(run_cell(cell, context_of(small_data, tmp_path))))) for cell in cells]
    page = write_report([write_run(tmp_path, lines)], say=lambda _: None)
    found = {row["method"]: row for row in rows(page.parent / "tables/table-2.csv")}
    for method in ("baseline", "dsnet"):
        said = [line["tests"]["small"]["speakers"] for line in lines if line["label"] == method]
        truth, predicted = ([d for one in said for s in one.values() for d in s[k]] for k in ("truth", "predicted"))
        assert float(found[method]["small"]) == pytest.approx(100 * recall_score(truth, predicted, average="macro"))
    assert (page.parent / "figures/figure-3-small.png").is_file()


def test_names_that_do_not_print_or_compute_are_harmless_in_every_file(tmp_path):
    odd = "=a\x1b[2J\x00\x07\u202e\ud800"
    corpus = Corpus(odd, speakers=3)
    lines = [*grid(("baseline",), corpus, seeds=[0]), *grid(("dsnet",), corpus, seeds=[0], label=odd)]
    for number, line in enumerate(lines):
        line["folder"] = f"{number}"
    run = write_run(tmp_path / "run", lines)
    write_spaces(run, next(line for line in lines if line["label"] == odd), corpus)
    folder = write_report([run], say=lambda _: None).parent
    names = written(folder)
    assert {name.rpartition(".")[2] for name in names} == {"html", "md", "tex", "csv", "png", "svg"}
    assert any("spaces" in name or "figure-3" in name for name in names)
    for name in names:
        if not name.endswith(".png"):
            text = (folder / name).read_text(encoding="utf-8")
            assert {letter for letter in text if not letter.isprintable()} <= {"\n"}, name
        if name.endswith(".svg"):
            ElementTree.fromstring(text)
        if name.endswith(".csv"):
            assert all(not word.startswith("=") for row in csv.reader(io.StringIO(text)) for word in row)
    assert "'=a" in "".join((folder / name).read_text() for name in names if name.endswith(".csv"))
