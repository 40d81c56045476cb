import signal
import socket
import sys

import psutil
import pytest
import requests
import soundfile

from benchmarks.grid.cell import run_cell
from benchmarks.grid.record import TRAINING_SPACES_NAME
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.browser import hosts_asked
from tests.benchmarks.deploy.demo_visit import PATIENCE, Visit, predicted
from tests.benchmarks.in_memory import context_of, planned

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def folds(small_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    settings = TrainingSettings(epochs=1, max_frames=32)
    for name in ("dsnet", "dsc"):
        run_cell(
            planned(name, settings, folder=name, corpus="synthetic"), context_of(small_data, out, corpus="synthetic")
        )
    return {name: out / name for name in ("dsnet", "dsc")}


@pytest.fixture(scope="module")
def server(start, folds):
    return start(folds["dsnet"])


def test_an_upload_gets_the_probabilities_of_predict_and_three_pictures(dsnet, driver, server, folds, wav):
    page = Visit(driver, server.url)
    page.upload("recording", wav)
    page.until("#spectrogram img")
    assert page.shown() == predicted(dsnet, folds["dsnet"], wav)
    pictures = [page.until(f"#{name} img[alt*='the recording in {name}']") for name in ("z_er", "z_ei")]
    pictures.append(page.until("#spectrogram img[alt^='Log-mel']"))
    assert all(picture.get_property("naturalWidth") > 300 for picture in pictures)
    remark = (
        f"{soundfile.info(wav).duration:.2f} s. The model hears the first 0.34 s of them, as in training; the rest is"
    )
    assert page.all("#remark")[0].text == f"{remark} pale."
    assert not page.all("#neutral")


def test_the_microphone_gives_a_recording(driver, server):
    page = Visit(driver, server.url)
    page.until("#recording button[aria-label='Record audio']").click()
    page.until("#recording button.record-button").click()
    page.until("#recording button.stop-button:not([disabled])")
    driver.execute_async_script("setTimeout(arguments[0], 1500)")
    page.all("#recording button.stop-button")[0].click()
    page.until("#spectrogram img")
    assert sum(int(share[:-1]) for share in page.shown()[1].values()) == pytest.approx(100, abs=2)


def test_a_file_that_is_no_audio_gets_its_line_on_the_page_and_no_emotion(driver, server, wav, tmp_path):
    page = Visit(driver, server.url)
    text = tmp_path / "text.wav"
    text.write_text("hello")
    page.upload("recording", text)
    line = "text.wav: not readable as audio (Format not recognised); expected WAV, FLAC, OGG or MP3"
    assert page.until("#remark [role=alert]").text == line
    assert not page.all("#emotion h2")
    assert not page.all("#spectrogram img")
    with open(server.log) as log:
        assert "Traceback" not in log.read()


def test_neither_page_nor_server_asks_another_host(driver, server, wav):
    hosts_asked(driver)
    page = Visit(driver, server.url)
    page.upload("recording", wav)
    page.until("#spectrogram img")
    assert hosts_asked(driver) == {server.url.removeprefix("http://")}
    with open(server.log) as log:
        assert {line.split()[1] for line in log if line.startswith("socket.")} == {"127.0.0.1"}


def test_the_page_itself_may_not_ask_another_host(driver, server):
    Visit(driver, server.url)
    asked = """
        const done = arguments[0];
        document.addEventListener("securitypolicyviolation", event => done(event.blockedURI));
        fetch("http://another.invalid/").catch(() => {});
    """
    assert driver.execute_async_script(asked) == "http://another.invalid/"


def test_the_server_listens_on_loopback_alone(server):
    port = int(server.url.rpartition(":")[2])
    listening = [
        c.laddr for c in psutil.Process(server.process.pid).net_connections() if c.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", port)]
    own = {a.address for of in psutil.net_if_addrs().values() for a in of if a.family == socket.AF_INET}
    for address in own - {"127.0.0.1"}:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=10)


def test_dsc_asks_for_a_neutral_recording_and_hears_it(dsnet, driver, start, folds, small_root):
    recording, neutral = sorted(small_root.rglob("*sad*.wav"))[0], sorted(small_root.rglob("*neutral*.wav"))[0]
    page = Visit(driver, start(folds["dsc"]).url)
    page.upload("recording", recording)
    page.until("#spectrogram img")
    assert page.all("#remark")[0].text == "Now a neutral recording of the same speaker."
    assert not page.all("#emotion h2")
    page.upload("neutral", neutral)
    assert page.shown() == predicted(dsnet, folds["dsc"], recording, "--neutral", neutral)
    page.until("#h img[alt*='the recording in h']")
    assert not page.all("#z_er")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_recordings_are_deleted_when_the_demo_ends(start, folds, wav, end):
    running = start(folds["dsnet"])
    with wav.open("rb") as file:
        requests.post(f"{running.url}/gradio_api/upload", files={"files": file}, timeout=PATIENCE).raise_for_status()
    assert [path.name for path in running.temporary.rglob("*.wav")] == [wav.name]
    running.process.send_signal(end)
    assert running.process.wait(PATIENCE) == 0
    assert not list(running.temporary.rglob("*.wav"))


def test_a_port_that_is_taken_is_one_line_and_status_2(dsnet, folds):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, errors = dsnet("demo", folds["dsnet"], "--port", port)
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert errors[0].startswith(f"dsnet: cannot listen on 127.0.0.1, port {port} (Address already in use")
    assert "--port" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "no file nowhere"),
        (("{fold}", "--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid, port 7860 ("),
        (("{other}",), f"{TRAINING_SPACES_NAME} holds a model; expected spaces"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_status_2(dsnet, folds, tmp_path, arguments, message):
    content = (folds["dsnet"] / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(content)
    (tmp_path / TRAINING_SPACES_NAME).write_bytes(content)
    names = {"fold": folds["dsnet"], "other": tmp_path}
    port = () if "--host" in arguments else ("--port", "0")
    status, out, errors = dsnet("demo", *(argument.format(**names) for argument in arguments), *port)
    assert (status, out, len(errors)) == (2, "", 1)
    assert message in errors[0]


def test_without_the_extra_the_command_says_which_to_install(dsnet, folds, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "benchmarks.deploy.demo_page", raising=False)
    status, out, errors = dsnet("demo", folds["dsnet"])
    assert (status, out) == (2, "")
    assert errors == ["dsnet: demo needs gradio: pip install 'dsnet_plugin[demo]'"]
