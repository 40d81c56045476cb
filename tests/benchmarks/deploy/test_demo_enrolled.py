"""The page of a model that takes a reference: a neutral sentence, an utterance, and two answers."""

import pytest
import soundfile

from benchmarks.grid.cell import run_cell
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.deploy.demo_visit import Visit, predicted
from tests.benchmarks.in_memory import context_of, planned

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def fold(small_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    settings = TrainingSettings(epochs=1, max_frames=32, enrol=1)
    run_cell(
        planned("dsnet-enrolled", settings, folder="fold", corpus="synthetic"),
        context_of(small_data, out, corpus="synthetic"),
    )
    return out / "fold"


@pytest.fixture(scope="module")
def server(start, fold):
    return start(fold)


@pytest.fixture(scope="module")
def two(small_root):
    """A neutral sentence and an utterance of one speaker."""
    return [sorted(small_root.rglob(f"spk01_{emotion}*.wav"))[0] for emotion in ("neutral", "sad")]


def test_a_neutral_sentence_is_asked_for_first_and_both_answers_stand_side_by_side(dsnet, driver, server, fold, two):
    sentence, utterance = two
    page = Visit(driver, server.url)
    first, second = (page.all(f"#{name}")[0].rect for name in ("neutral", "recording"))
    assert first["y"] + first["height"] <= second["y"]
    asked = page.all("#remark")[0]
    assert asked.text.startswith("First a neutral sentence of the speaker")
    assert asked.rect["y"] + asked.rect["height"] <= first["y"]  # below, it would be out of sight
    page.upload("neutral", sentence)
    page.until_text("#remark", "Now the utterance.")
    assert not page.all("#without h2, #with h2")
    page.upload("recording", utterance)
    page.until("#with h2")
    without, known = predicted(dsnet, fold, utterance), predicted(dsnet, fold, utterance, "--neutral", sentence)
    assert without != known
    assert (page.shown("without"), page.shown("with")) == (without, known)
    left, right = (page.all(f"#{name}")[0].rect for name in ("without", "with"))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert "Without the sentence" in page.all("#without")[0].text
    assert "With the sentence" in page.all("#with")[0].text
    assert not page.all("#emotion")


def test_an_utterance_alone_gets_one_answer_until_its_sentence_comes(dsnet, driver, server, fold, two):
    sentence, utterance = two
    page = Visit(driver, server.url)
    page.upload("recording", utterance)
    page.until("#spectrogram img")
    assert page.shown("without") == predicted(dsnet, fold, utterance)
    assert not page.all("#with h2")
    assert page.all("#remark")[0].text.endswith("With a neutral sentence of the speaker there is a second answer.")
    before = page.until("#z_er img[alt*='the recording in z_er']").get_attribute("src")
    page.upload("neutral", sentence)
    assert page.shown("with") == predicted(dsnet, fold, utterance, "--neutral", sentence)
    assert page.all("#z_er img")[0].get_attribute("src") != before  # the star moves to where the sentence puts it


def test_a_sentence_without_speech_gets_its_line_and_no_answer_stands_as_if_it_had_been_heard(
    driver, server, two, tmp_path
):
    soundfile.write(tmp_path / "silence.wav", [0.0] * 16_000, 16_000)
    page = Visit(driver, server.url)
    page.upload("recording", two[1])
    page.until("#without h2")
    page.upload("neutral", tmp_path / "silence.wav")
    line = "there is no speech in what is to be enrolled; expected at least one sentence"
    assert page.until("#remark [role=alert]").text == line
    assert not page.all("#without h2, #with h2")
    with open(server.log) as log:
        assert "Traceback" not in log.read()
