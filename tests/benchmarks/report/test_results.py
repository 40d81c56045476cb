import gzip
import json
import re
from pathlib import Path

import pytest

from benchmarks.cost.complexity import PAPER_TABLE_3, counts_table, measure
from benchmarks.report.cells import read_runs
from benchmarks.report.columns import columns
from benchmarks.report.rows import sort_rows
from benchmarks.scores.statistics import interval_over_speakers, mean_uar

PROJECT = Path(__file__).parents[3]
RESULTS = sorted((PROJECT / "benchmarks" / "results").glob("*/cells.jsonl*"))
README = (PROJECT / "README.md").read_text(encoding="utf-8")
USE, CHOOSING = ((PROJECT / "docs" / name).read_text(encoding="utf-8") for name in ("use.md", "choosing.md"))


def table_of(text, first_cell):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first_cell))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\", "") for cell in line.strip("|").split("|")])
    return rows


def test_the_documented_complexity_is_what_is_counted():
    counted = counts_table([measure(name) for name in PAPER_TABLE_3])
    assert table_of(USE, "| method   |   training params")[2:] == table_of(counted, "| method")[2:]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_each_committed_line_says_its_settings_its_hardware_and_its_revision(path):
    content = path.read_bytes()
    for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines():
        record = json.loads(line)
        assert record["identity"]["settings"]["epochs"] == len(record["story"]["curves"])
        assert record["environment"]["device"]
        assert record["environment"]["versions"]["torch"]
        assert "dirty" not in record["environment"]["revision"]
        assert set(record["tests"]) >= {record["identity"]["corpus"]["name"]}


def scored(run):
    """Mean, deviation and interval of each method and column, from committed lines; the marks, whose tests take minutes, are left out."""
    compared = columns(sort_rows(read_runs([PROJECT / "benchmarks" / "results" / run]).cells).comparison)
    scores = {}
    for column in compared:
        for row, entry in column.entries.items():
            spread = "" if entry.sd is None else f" ± {entry.sd:.2f}"
            low, high = interval_over_speakers(entry.predictions)
            scores[row, column.name] = f"{mean_uar(entry.predictions):.2f}{spread} [{low:.1f}, {high:.1f}]"
    return scores


def shown(table, names):
    """The same, from a table of the documentation whose columns behind SA have these names."""
    assert len(table[0]) == 2 + len(names)
    cells = {
        (row[0], name): re.sub(r" ?[*†]+", "", cell)
        for row in table[2:]
        for name, cell in zip(names, row[2:], strict=True)
    }
    return {key: cell for key, cell in cells.items() if key[0] != "chance"}


@pytest.mark.parametrize(
    ("run", "begin"), [("frozen", "| trained on"), ("scratch", "| CNN trained on")], ids=["frozen", "scratch"]
)
def test_the_readme_s_tables_are_those_of_the_committed_lines(run, begin):
    expected, found = scored(f"{run}/cells.jsonl.gz"), {}
    for source in ("nemo", "ravdess", "emovo"):
        table = table_of(README, f"{begin} {source}")
        found |= shown(table, [source, *(f"{source} {target}" for target in table[0][3:])])
    assert found == expected
    assert len(found) == 10 * 12


@pytest.mark.parametrize("run", ["enrolled/cells.jsonl.gz", "three-sentences/cells.jsonl.gz"])
def test_the_documentation_s_tables_are_those_of_the_committed_lines(run):
    places = re.finditer(r"^\| method +\| SA", CHOOSING, re.MULTILINE)
    tables = [table_of(CHOOSING[place.start() :], "| method") for place in places]
    assert scored(run) in [shown(table, table[0][2:]) for table in tables]


def test_the_readme_s_sentences_are_arithmetic_on_its_tables():
    within, across = {}, {}
    for encoder, begin in (("whisper", "| trained on"), ("cnn", "| CNN trained on")):
        for source in ("nemo", "ravdess", "emovo"):
            for method, _, own, *others in table_of(README, f"{begin} {source}")[2:]:
                within.setdefault((encoder, method), []).append(float(own.replace("*", "").split()[0]))
                across.setdefault((encoder, method), []).extend(float(c.replace("*", "").split()[0]) for c in others)
    mean_within = {key: sum(scores) / 3 for key, scores in within.items()}
    mean_across = {key: sum(scores) / 9 for key, scores in across.items()}
    base, ours, enrolled, less = (
        ("whisper", method) for method in ("baseline", "dsnet", "dsnet-enrolled", "subtraction")
    )
    nemo, ravdess, emovo = (b - o for b, o in zip(within[base], within[ours], strict=True))
    below = [b - o for b, o in zip(within["cnn", "baseline"], within["cnn", "dsnet"], strict=True)]
    plain = [o - b for b, o in zip(within["cnn", "baseline"], within["cnn", "subtraction"], strict=True)]
    less_cnn, enrolled_cnn = (
        mean_across["cnn", method] - mean_across["cnn", "baseline"] for method in ("subtraction", "dsnet-enrolled")
    )
    _, budget = means("paper-budget")
    text = " ".join(README.split())
    for sentence in (
        f"it is {mean_within[base] - mean_within[ours]:.0f} points of UAR (recall, averaged over the classes) below its "
        f"baseline on new speakers of the same corpus, and {mean_across[base] - mean_across[ours]:.0f} below on other corpora",
        f"gains {mean_across[enrolled] - mean_across[base]:.1f} points on other corpora with that encoder",
        f"without any DSNet, gains {mean_across[less] - mean_across[base]:.0f}.",
        f"is {nemo:.1f} points below its baseline on nEMO, {ravdess:.1f} on RAVDESS (p = 0.0504) and {emovo:.1f} on EMOVO",
        f"{mean_across[ours]:.1f} on average over the nine pairs, the baseline {mean_across[base]:.1f}.",
        f"On the CNN it is {mean_across['cnn', 'dsnet']:.1f}, the baseline {mean_across['cnn', 'baseline']:.1f}.",
        f"over the nine pairs from {mean_across[base]:.1f} to {mean_across[enrolled]:.1f} with Whisper and `dsnet-enrolled`",
        f"(`subtraction`) reaches {mean_across[less]:.1f}, and within {mean_within[less]:.1f}, where `dsnet-enrolled` has "
        f"{mean_within[enrolled]:.1f} and the baseline {mean_within[base]:.1f}.",
        f"On the CNN it is {min(below):.1f} to {max(below):.1f} below.",
        f"it gains {less_cnn:.0f} points across and {min(plain):.0f} to {max(plain):.0f} within; `dsnet-enrolled` gains "
        f"{enrolled_cnn:.1f} across",
        f"for one seed on RAVDESS alone, its baseline on equal utterances reaches {budget['baseline-equal']:.1f}, DSNet "
        f"{budget['dsnet']:.1f}, and with a neutral sentence `dsnet-enrolled` {budget['dsnet-enrolled']:.1f} and "
        f"`subtraction` {budget['subtraction']:.1f}: nothing gains.",
    ):
        assert sentence in text, sentence


def means(run):
    """The UAR of each method, averaged over the pairs of corpora, and over the corpora within."""
    compared = columns(
        sort_rows(read_runs([PROJECT / "benchmarks" / "results" / run / "cells.jsonl.gz"]).cells).comparison
    )
    pairs, corpora = ([c for c in compared if (" to " in c.name) == across] for across in (True, False))
    return [
        {row: sum(mean_uar(c.entries[row].predictions) for c in part) / len(part) for row in part[0].entries}
        if part
        else {}
        for part in (pairs, corpora)
    ]


def test_longer_training_of_the_cnn_is_described_by_its_lines():
    text = " ".join((PROJECT / "benchmarks" / "results" / "README.md").read_text(encoding="utf-8").split())
    across, within = means("scratch-second")
    listed = ("baseline", "dsnet", "subtraction", "dsnet-enrolled")
    for scores, where in ((within, "within"), (across, "over the nine pairs")):
        shown = ", ".join(f"`{method}` {scores[method]:.1f}" for method in listed)
        assert f"{where} {shown}" in text, f"{where} {shown}"
