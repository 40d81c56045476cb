"""The study of encoding once: both ways see the same numbers, and one line says how long each takes."""

import json

import torch
import typer
from typer.testing import CliRunner

from benchmarks.corpora import load_corpus
from benchmarks.data.encoder_spec import EncoderSpec
from benchmarks.data.front_end import frozen_front_end, load_frozen
from benchmarks.studies import encode_once
from tests.backbones.tiny_speech_models import save_tiny


def test_both_ways_give_the_same_inputs_and_the_line_has_their_ratio(small_root, tmp_path):
    torch.manual_seed(0)
    encoder = f"hf/{save_tiny(tmp_path / 'model', 'whisper')}"
    app = typer.Typer()
    app.command()(encode_once.main)
    options = ["--protocol", "groups-4", "--epochs", "2", "--out", str(tmp_path / "lines.jsonl")]
    done = CliRunner().invoke(app, ["synthetic", str(small_root), encoder, *options], catch_exceptions=False)
    assert done.exit_code == 0
    (line,) = map(json.loads, (tmp_path / "lines.jsonl").read_text().splitlines())
    assert line["times"] == line["each_time_seconds"] / line["encoded_seconds"]
    assert done.stdout.split("|")[-2].strip() == f"{line['times']:.0f}"
    front_end = frozen_front_end(EncoderSpec(encoder, {"freeze": "all", "layer_weights": True}), 600, "fp32")
    cached, fresh = encode_once._both(load_corpus("synthetic", small_root), front_end)
    assert torch.allclose(cached.inputs([3, 40]), fresh.inputs([3, 40]), atol=1e-5)
    load_frozen.cache_clear()
