"""The study of batch-norm statistics: its choices are what they say, and its commands print what they computed."""

import copy
import json

import pytest
import torch
from typer.testing import CliRunner

from backbones import create_encoder
from benchmarks.studies.batch_norm import app
from benchmarks.studies.neutral_statistics import CHOICES
from tests.test_readme import speech


def features_of_references(choice, x, x_n):
    """h_n as the method computes it in a training step, and the encoder afterwards."""
    torch.manual_seed(0)
    method = CHOICES[choice](create_encoder("cnn", dropout=0.0), 4).train()
    seen = []
    method.encoder.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    method(x, torch.arange(4), x_n, torch.arange(4) % 2)
    return next(h for inputs, h in seen if inputs is x_n), method.encoder


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_normalises_references_as_it_says_and_leaves_no_trace(choice):
    torch.manual_seed(1)
    x, x_n = torch.randn(4, 3, 16, 80), 2 + torch.randn(2, 3, 16, 80)
    h_n, after = features_of_references(choice, x, x_n)
    torch.manual_seed(0)
    fresh = create_encoder("cnn", dropout=0.0).train()
    alone = copy.deepcopy(fresh)
    alone(x)
    for (key, buffer), expected in zip(after.named_buffers(), alone.buffers(), strict=True):
        assert torch.equal(buffer, expected), key
    if choice == "own":
        expected = fresh(x_n)
    elif choice == "running":
        expected = fresh.eval()(x_n)
    else:
        for module in fresh.modules():
            if hasattr(module, "momentum"):
                module.momentum = 1.0
        fresh(x)
        expected = fresh.eval()(x_n)  # variances differ by n / (n - 1)
    torch.testing.assert_close(h_n, expected, rtol=0, atol=0.01 if choice == "labelled" else 1e-5)
    others = [features_of_references(other, x, x_n)[0] for other in CHOICES if other != choice]
    assert all((h_n - other).abs().max() > 0.02 for other in others)


@pytest.fixture
def root(tmp_path):
    for actor in range(1, 7):
        for emotion in ("01", "03", "04", "05"):
            speech(tmp_path / f"ravdess/Actor_{actor:02d}/03-01-{emotion}-01-01-01-{actor:02d}.wav")
    return tmp_path / "ravdess"


def test_the_check_prints_a_row_an_epoch_and_goes_on_from_its_lines(root, tmp_path):
    out = tmp_path / "check.jsonl"
    arguments = ["check", str(root), "--out", str(out), "--frames", "16", "--epochs", "1", "--groups", "0"]
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["method"] for line in lines] == ["baseline", "dsnet"]
    scores = lines[0]["epochs"][0]["test"]
    # The corpus has fewer training utterances than 256, so that all are the same sample.
    assert scores["256"] == scores["all"] == scores["suite"]
    assert f"| 1     |    {scores['running']:.1f} |" in first.stdout
    arguments[1] = "no-such-folder"  # what is finished is not computed again
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert again.stdout == first.stdout
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("neutral", [*(["dsnet", "linear", "0", choice] for choice in CHOICES), ["baseline", "linear", "0", "-"]]),
        (
            "dropout",
            [
                [method, "cnn", rate, neutral]
                for rate in ("0.2", "0")
                for method, neutral in (("baseline", "-"), ("dsnet", "running"))
            ],
        ),
    ],
)
def test_a_table_has_a_row_for_each_choice(command, expected, root, tmp_path):
    arguments = [command, str(root), "--out", str(tmp_path / "lines.jsonl"), "--frames", "16", "--epochs", "1"]
    done = CliRunner().invoke(app, [*arguments, "--groups", "0", "--seeds", "0"], catch_exceptions=False)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line[:1] == "|"]
    assert [row[:4] for row in rows[2:] if len(row) == 6] == expected
