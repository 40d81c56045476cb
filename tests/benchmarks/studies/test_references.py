"""The study of references: what its columns mean, on a run of tiny models."""

import json

import pytest
import torch
import yaml
from typer.testing import CliRunner

from benchmarks.data.front_end import load_frozen
from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import read_spec
from benchmarks.studies import references
from tests.backbones.tiny_speech_models import save_tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_root):
    folder = tmp_path_factory.mktemp("references")
    torch.manual_seed(0)
    save_tiny(folder / "model", "whisper")
    corpora = {name: {"corpus": "synthetic", "root": str(small_root)} for name in ("one", "other")}
    document = {
        "methods": ["baseline", "dsnet-enrolled", "dsc"],
        "corpora": corpora,
        "sources": ["one"],
        "encoders": f"hf/{folder / 'model'}",
        "encoder_options": {"freeze": "all", "layer_weights": True},
        "folds": "0",
        "cross": True,
        "settings": {"epochs": 1, "max_frames": 60, "enrol": 1},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(document))
    run_suite(read_spec(str(folder / "spec.yaml"), {}), folder / "run")
    yield folder
    load_frozen.cache_clear()


def test_each_model_is_tested_with_every_reference_that_it_takes_and_the_table_comes_from_the_lines(run):
    app = references.typer.Typer()
    app.command()(references.main)
    arguments = [str(run / "spec.yaml"), str(run / "run"), "--out", str(run / "lines.jsonl")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    lines = {line["method"]: line for line in map(json.loads, (run / "lines.jsonl").read_text().splitlines())}
    assert set(lines) == {"baseline", "dsnet-enrolled", "dsc"}
    assert lines["baseline"]["uars"].keys() == {"one", "other"}
    assert set(lines["baseline"]["uars"]["other"]) == {"none"}
    assert set(lines["dsc"]["uars"]["other"]) == {"1 sentence"}
    kinds = set(lines["dsnet-enrolled"]["uars"]["other"])
    assert kinds >= {
        "none",
        "1 sentence",
        "5 sentences",
        "medoid",
        "own choice of 3",
        "another speaker's",
        *references.ROOMS,
    }
    # A fold's left-out speaker is alone, and there is no other whose sentence could be taken.
    assert set(lines["dsnet-enrolled"]["uars"]["one"]) == kinds - {"another speaker's"}
    # Of three neutral utterances of each speaker one is left to score: all methods on the same ones.
    assert {line["utterances"]["other"] for line in lines.values()} == {4 * 10}
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert again.stdout == done.stdout
    assert f"| {lines['baseline']['uars']['one']['none']:.1f} |" in done.stdout.replace("  ", " ").replace("  ", " ")


def test_rooms_alter_a_sentence_as_their_names_say():
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(48_000)
    for name, samples in (("0.5 s", 8_000), ("1 s", 16_000), ("2 s", 32_000)):
        cut = references.ROOMS[name](wave)
        start = (48_000 - samples) // 2
        assert torch.equal(cut, wave[start : start + samples])
    noise = references.ROOMS["noise at 10 dB"](wave) - wave
    assert 10 * float((wave.square().mean() / noise.square().mean()).log10()) == pytest.approx(10, abs=0.1)
    power = torch.fft.rfft(references.ROOMS["telephone band"](wave)).abs().square()
    before = torch.fft.rfft(wave).abs().square()
    kept = [
        float(power[a * 3 : b * 3].sum() / before[a * 3 : b * 3].sum())
        for a, b in ((900, 1_100), (20, 80), (7_000, 8_000))
    ]
    assert kept[0] > 0.8
    assert max(kept[1:]) < 0.1
