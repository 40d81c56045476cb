"""The local page of ``dsnet demo``: a recording in, its emotion, spectrogram and place among the training utterances out.

For a model that takes a reference the page asks for a neutral sentence of the speaker first, and answers twice, without it and with
it.

Nothing leaves the machine: no telemetry, no share link, no font or script of another host, and the page's own
Content-Security-Policy forbids the browser every address but the page's. What is not a request of the page is refused
(:mod:`benchmarks.deploy.demo_guard`), and of a recording no more is read than is shown. Recordings lie in a temporary folder that is
removed at the end.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read at import, and by threads that Gradio starts

import gradio as gr
import uvicorn
from fastapi import FastAPI
from torch import Tensor

from backbones import SAMPLE_RATE
from benchmarks.corpora.audio_file import read_header
from benchmarks.data.audio import read_audio
from benchmarks.deploy.demo_guard import UPLOAD_BYTES, Guard
from benchmarks.deploy.demo_pictures import SHOWN_SECONDS, TrainingMap, as_html, spectrogram, training_maps
from benchmarks.deploy.recogniser import Recogniser, missing_band
from benchmarks.deploy.timeline import no_speech, speech_in
from benchmarks.errors import AudioError, RunError
from benchmarks.output.printable import printable
from dsnet_plugin import DSNetError

_ASK = "Record something, or drop an audio file."
_ASK_NEUTRAL = "Now a neutral recording of the same speaker."
_ASK_SENTENCE = "First a neutral sentence of the speaker: record it, or drop an audio file."
_ASK_UTTERANCE = "Now the utterance."
_NO_SENTENCE = "With a neutral sentence of the speaker there is a second answer."
_SENTENCE = "A neutral sentence of two seconds, said where the utterance is, tells the model how its speaker sounds."
_KEPT = "Recordings go no further than the machine of this page and are deleted when the demo ends."
_NO_MAPS = "Beside this checkpoint are no features of training utterances to show; training it again keeps them."


class Page:
    """What the page shows of a recording.

    Args:
        recogniser: the model.
        maps: of its training utterances; may be empty.
    """

    def __init__(self, recogniser: Recogniser, maps: list[TrainingMap]) -> None:
        self.recogniser = recogniser
        self.maps = maps
        self._empty_maps = self._pictures()

    def hear(self, recording: str | None, neutral: str | None = None) -> list[Any]:
        """Files to a line of remarks, the probabilities, a picture for each map and the spectrogram.

        A model that takes a reference gives two sets of probabilities, without the neutral file and with it. All but the
        probabilities are HTML; those are None, and what cannot be shown is empty, where something is missing.
        """
        try:
            beside = {} if neutral is None else self._beside(neutral)
            waveform = None if recording is None else _read(recording)
        except DSNetError as error:
            return self._shown(_line(str(error), "alert"))
        if recording is None or waveform is None:
            return self._shown(_line(self._ask(bool(beside))))
        if reason := no_speech(waveform):
            return self._shown(_line(f"No speech: {reason}.", "alert"))
        picture = as_html(spectrogram(waveform, self.recogniser.max_frames), "Log-mel spectrogram of the recording")
        if self.recogniser.needs_neutral and not beside:
            return self._shown(_line(_ASK_NEUTRAL), picture=picture)
        remark = self._remark(Path(recording), waveform)
        answers = [self.recogniser.probabilities(waveform, **beside)]
        if self.recogniser.enrols and beside:
            answers = [self.recogniser.probabilities(waveform), *answers]
        elif self.recogniser.enrols:
            remark = f"{remark} {_NO_SENTENCE}"
        maps = self._pictures(self.recogniser.spaces(waveform, **beside))
        return self._shown(_line(remark), answers, maps, picture)

    def blocks(self) -> Any:
        """The page itself, for Gradio."""
        with gr.Blocks(title="dsnet demo", analytics_enabled=False) as page:
            gr.HTML(f"<h1>What emotion is in a recording?</h1><p>{escape(self._about())}</p>")
            remark = gr.HTML(_line(self._ask(False)), elem_id="remark", render=False)
            with gr.Row():
                with gr.Column():
                    if self.recogniser.enrols:  # two recordings fill the window, and what to do would stand below it
                        remark.render()
                    heard = {name: _audio(label, name) for name, label in self._asked().items()}
                    if not self.recogniser.enrols:
                        remark.render()
                with gr.Column(), gr.Row():
                    labels = [
                        gr.Label(label=label, num_top_classes=len(self.recogniser.classes), elem_id=name, min_width=200)
                        for name, label in self._answers().items()
                    ]
            with gr.Row():
                pictures = [
                    _picture(own.name, picture) for own, picture in zip(self.maps, self._empty_maps, strict=True)
                ]
                pictures.append(_picture("spectrogram"))
            if not self.maps:
                gr.HTML(f"<p>{escape(_NO_MAPS)}</p>", elem_id="no-maps")
            gr.on(
                [own.change for own in heard.values()],
                self.hear,
                [heard[name] for name in ("recording", "neutral") if name in heard],
                [remark, *labels, *pictures],
                api_visibility="private",
                show_progress="minimal",
            )
        return page

    def _asked(self) -> dict[str, str]:
        """The labels of the recordings that are asked for, by their names, in the order of the page."""
        if self.recogniser.enrols:
            return {"neutral": "1. A neutral sentence of the speaker", "recording": "2. The utterance"}
        beside = {"neutral": "Neutral recording of the same speaker"} if self.recogniser.needs_neutral else {}
        return {"recording": "Recording", **beside}

    def _answers(self) -> dict[str, str]:
        """The labels of the probabilities, by their names."""
        if self.recogniser.enrols:
            return {"without": "Without the sentence", "with": "With the sentence"}
        return {"emotion": "Emotion"}

    def _ask(self, has_sentence: bool) -> str:
        """What to do where there is no recording yet."""
        if not self.recogniser.enrols:
            return _ASK
        return _ASK_UTTERANCE if has_sentence else _ASK_SENTENCE

    def _beside(self, neutral: str) -> dict[str, Any]:
        """What the model hears of the speaker in a neutral file.

        Raises:
            AudioError: not readable.
            RunError: no speech in it.
        """
        waveform = _read(neutral)
        if not self.recogniser.enrols:
            return {"neutral": waveform}
        return {"speaker": self.recogniser.enrol(speech_in([waveform], self.recogniser.seconds))}

    def _shown(
        self,
        remark: str,
        answers: Sequence[dict[str, float]] = (),
        maps: Sequence[str] | None = None,
        picture: str = "",
    ) -> list[Any]:
        """All that the page shows, with nothing in the place of what is not given."""
        none = [None] * (len(self._answers()) - len(answers))
        return [remark, *answers, *none, *(self._empty_maps if maps is None else maps), picture]

    def _about(self) -> str:
        record = self.recogniser.record
        trained = "" if record.corpus is None else f", trained on {record.corpus.name}, fold {record.fold}"
        remarks = [_SENTENCE, _KEPT] if self.recogniser.enrols else [_KEPT]
        return f"{self.recogniser.name} on {record.encoder.title}{trained}. {' '.join(remarks)}"

    def _pictures(self, spaces: dict[str, Tensor] | None = None) -> list[str]:
        """The maps, with a recording at these places."""
        who = "Training utterances and the recording" if spaces else "Training utterances"
        return [
            as_html(
                own.figure(spaces[own.name] if spaces else None), f"{who} in {own.name}, on two principal components"
            )
            for own in self.maps
        ]

    def _remark(self, path: Path, waveform: Tensor) -> str:
        seconds, heard = _seconds(path) or len(waveform) / SAMPLE_RATE, self.recogniser.seconds
        remarks = [f"{seconds:.2f} s."]
        if seconds > heard:
            remarks.append(f"The model hears the first {heard:.2f} s of them, as in training; the rest is pale.")
        if seconds > SHOWN_SECONDS:
            remarks.append(f"The spectrogram shows {SHOWN_SECONDS} s.")
        if band := missing_band(path):
            remarks.append(f"{band}.")
        return " ".join(remarks)


def serve(checkpoint: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C.

    Args:
        checkpoint: a ``best.safetensors``, or the folder of a fold that holds one.
        host: the address to listen on.
        port: 0 takes a free one.
        say: gets the line with the page's address.

    Raises:
        RunError: host and port cannot be listened on.
        CheckpointError: see :class:`Recogniser` and :func:`training_maps`.
    """
    with _listen(host, port) as listener, TemporaryDirectory(prefix="dsnet-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        app = Guard(_app(Page(Recogniser(checkpoint), training_maps(checkpoint))), Path(folder), host)
        config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, limit_concurrency=100)
        server = uvicorn.Server(config)
        for end in (signal.SIGINT, signal.SIGTERM):
            signal.signal(end, signal.default_int_handler)  # so that recordings are removed then, too
        name, number = listener.getsockname()[:2]
        say(f"http://{f'[{name}]' if ':' in name else name}:{number} (Ctrl-C ends it)")
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise RunError(
            f"cannot listen on {host}, port {port} ({error.strerror}): choose another with --port, or end what runs there"
        ) from error


def _app(page: Page) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    blocks = page.blocks().queue(max_size=16)
    # Mounted, an app is never launched, and Gradio looks whether a file was uploaded in one that was launched alone.
    blocks.has_launched = True
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=UPLOAD_BYTES,
    )


def _audio(label: str, name: str) -> Any:
    return gr.Audio(label=label, elem_id=name, sources=["upload", "microphone"], type="filepath", buttons=[])


def _picture(name: str, value: str = "") -> Any:
    with gr.Column():
        return gr.HTML(value, elem_id=name, padding=False)


def _read(path: str) -> Tensor:
    """The first ``SHOWN_SECONDS`` of an uploaded file; an error names the file as the user knows it."""
    try:
        return read_audio(Path(path), SHOWN_SECONDS)
    except AudioError as error:
        raise AudioError(printable(str(error).replace(path, Path(path).name))) from error


def _seconds(path: Path) -> float | None:
    """The duration that a file's header names."""
    try:
        return read_header(path).seconds
    except AudioError:  # what ffmpeg alone reads
        return None


def _line(text: str, role: str = "status") -> str:
    style = ' style="color: var(--error-icon-color); font-weight: 600"' if role == "alert" else ""
    return f'<p role="{role}"{style}>{escape(text)}</p>'
