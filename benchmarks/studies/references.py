"""What a neutral reference at inference must be: ``python -m benchmarks.studies.references --help``.

The finished models of a run that take a reference are tested with other ones: none, several sentences, the speaker's own choice, an
emotional sentence, another speaker's, a short one, one from another room. Five neutral sentences of each speaker are kept from every
score, so that all columns rest on the same utterances; a speaker always keeps one of that class.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torchaudio.functional import bandpass_biquad
from tqdm import tqdm

from backbones import SAMPLE_RATE
from benchmarks.corpora import EMOTIONS, Utterance
from benchmarks.data import FrontEnd, SpeechData, collate, divide, select_folds
from benchmarks.data.enrolment import Enrolment, draw_enrolment
from benchmarks.data.features import waveform_of
from benchmarks.data.front_end import frozen_encoder
from benchmarks.errors import RunError
from benchmarks.grid.corpus_data import load_data
from benchmarks.grid.plan import PlannedCell, plan
from benchmarks.grid.spec import read_spec
from benchmarks.methods import DSNet, Method
from benchmarks.output.environment import describe
from benchmarks.output.files import read_lines, write_lines
from benchmarks.output.formats import titled
from benchmarks.output.run_folder import MODEL_NAME
from benchmarks.output.typed_json import from_json, to_json
from benchmarks.scores.uar import uar
from benchmarks.studies.reference_tables import ReferenceRecord, draw, tables
from benchmarks.training import load_model
from dsnet_plugin import DisentangleHead, enrol_features

KEPT = 5
"""Neutral sentences of each speaker that are not scored."""

NEUTRAL = EMOTIONS.index("neutral")
CPU = torch.device("cpu")

Alter = Callable[[Tensor], Tensor]

ROOMS: dict[str, Alter] = {
    "0.5 s": lambda wave: _middle(wave, 0.5),
    "1 s": lambda wave: _middle(wave, 1.0),
    "2 s": lambda wave: _middle(wave, 2.0),
    "telephone band": lambda wave: bandpass_biquad(wave, SAMPLE_RATE, 1_000, 0.35),
    "noise at 10 dB": lambda wave: _noisy(wave, 10.0),
}
"""One sentence, altered before it is encoded."""


def main(
    spec: Annotated[str, typer.Argument(help="The specification that the run was made of.")],
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    root: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of a corpus.", metavar="NAME=FOLDER")] = None,
    encoder: Annotated[str | None, typer.Option(help="As --set encoders= of the run.")] = None,
    out: Annotated[Path, typer.Option(help="The lines; those that are there are not computed again.")] = Path(
        "runs/references.jsonl"
    ),
    figure: Annotated[Path | None, typer.Option(help="An SVG of the table's last method with a reference.")] = None,
) -> None:
    """Tests finished models with other references than those of the run, and prints a table."""
    lines = [from_json(ReferenceRecord, line, str(out), "delete the file") for line in read_lines(out)]
    done = {(line.method, line.source, line.fold, line.seed) for line in lines}
    roots = {name: Path(folder) for name, _, folder in (entry.partition("=") for entry in root or ())}
    if roots or not lines:
        cells = plan(read_spec(spec, roots, {"encoders": encoder} if encoder else {}), lambda _: "fp32")
        waiting = [
            cell
            for cell in cells
            if (cell.method.label, cell.corpus.name, cell.fold, cell.settings.seed) not in done
            and (run / cell.folder / MODEL_NAME).is_file()
        ]
        for cell in tqdm(waiting, desc="models", unit="model", leave=False):
            lines.append(_test(cell, run))
            write_lines(out, [to_json(line) for line in lines])
    if not lines:
        raise RunError(f"{run} has no finished model of {spec}")
    typer.echo(titled(tables(lines)))
    if figure is not None:
        draw(lines, figure)


def _test(cell: PlannedCell, run: Path) -> ReferenceRecord:
    """A model on its left-out speakers and on each target, with every kind of reference that it takes."""
    method, _ = load_model(run / cell.folder)
    utterances, uars = {}, {}
    for spec in (cell.corpus, *cell.targets):
        data = load_data(spec, cell.front_end, CPU, False).data
        indices: Sequence[int] = range(len(data.utterances))
        if spec == cell.corpus:
            (fold,) = select_folds(divide(data.utterances, cell.protocol), str(cell.fold))
            indices = fold.test
        scores = _scores(method, data, indices, cell)
        utterances[spec.name] = scores[0][2]
        uars[spec.name] = {reference: round(score, 4) for reference, score, _ in scores}
    return ReferenceRecord(
        cell.method.label, cell.corpus.name, cell.fold, cell.settings.seed, utterances, uars, describe(CPU)
    )


def _scores(
    method: Method, data: SpeechData, indices: Sequence[int], cell: PlannedCell
) -> list[tuple[str, float, int]]:
    """The kinds of reference with their UAR and the number of utterances scored."""
    seed = cell.settings.seed
    enrolment = draw_enrolment(data, indices, KEPT, seed)
    scored = enrolment.scored
    with torch.inference_mode():
        if not (isinstance(method, DSNet) and method.neutral_optional):
            if method.neutral_in_inference:  # DSC, with one sentence
                return [("1 sentence", _score_dsc(method, data, enrolment), len(scored))]
            return [("none", uar(data.labels[scored], method(data.inputs(scored)).argmax(1)), len(scored))]
        h = method.encoder(data.inputs(indices))
        place = {index: i for i, index in enumerate(indices)}
        by_speaker: dict[str, list[int]] = {}
        for index in scored:
            by_speaker.setdefault(data.utterances[index].speaker, []).append(index)
        references = _references(method.head, h, place, data, enrolment, by_speaker)
        for room in ROOMS:
            references[room] = {
                speaker: method.encoder(_encode_in(room, data.utterances[spoken[0]], cell.front_end))[0]
                for speaker, spoken in enrolment.references.items()
            }
        results = []
        for name, of_speaker in references.items():
            predicted: dict[int, int] = {}
            for speaker, spoken in by_speaker.items():
                own = h[[place[index] for index in spoken]]
                r = of_speaker.get(speaker)
                logits = method.head(own, neutral=None if r is None else r.expand_as(own))
                predicted |= dict(zip(spoken, logits.argmax(1).tolist(), strict=True))
            answers = torch.tensor([predicted[index] for index in scored])
            results.append((name, uar(data.labels[scored], answers), len(scored)))
        return results


def _score_dsc(method: Method, data: SpeechData, enrolment: Enrolment) -> float:
    answers = []
    for index in enrolment.scored:
        references = enrolment.references.get(data.utterances[index].speaker, [])[:1]
        neutral = {"neutral": data.inputs(references)} if references else {}
        answers.append(int(method(data.inputs([index]), **neutral).argmax(1)))
    return uar(data.labels[enrolment.scored], torch.tensor(answers))


def _references(
    head: DisentangleHead,
    h: Tensor,
    place: Mapping[int, int],
    data: SpeechData,
    enrolment: Enrolment,
    by_speaker: Mapping[str, list[int]],
) -> dict[str, dict[str, Tensor]]:
    """The reference of each speaker, by its kind; a speaker who has none is heard without."""

    def features(indices: Sequence[int]) -> Tensor:
        return h[[place[index] for index in indices]]

    kept = enrolment.references
    found: dict[str, dict[str, Tensor]] = {"none": {}}
    for number in (1, 2, 3, 5):
        found[f"{number} sentence{'s' * (number > 1)}"] = {
            speaker: features(spoken[:number]).mean(0) for speaker, spoken in kept.items()
        }
    centre = {speaker: features(spoken).mean(0) for speaker, spoken in kept.items()}
    found["medoid"] = {
        speaker: features(spoken)[(features(spoken) - centre[speaker]).square().sum(1).argmin()]
        for speaker, spoken in kept.items()
    }
    for number in (3, 5, 10):
        found[f"own choice of {number}"] = {
            speaker: enrol_features(head, features(spoken), number, NEUTRAL) for speaker, spoken in by_speaker.items()
        }
    found["all utterances, unlabelled"] = {speaker: features(spoken).mean(0) for speaker, spoken in by_speaker.items()}
    found["ten utterances, unlabelled"] = {
        speaker: features(spoken[:: max(1, len(spoken) // 10)][:10]).mean(0) for speaker, spoken in by_speaker.items()
    }
    if len(names := list(kept)) > 1:
        found["another speaker's"] = {
            speaker: found["1 sentence"][names[(i + 1) % len(names)]] for i, speaker in enumerate(names)
        }
    found["an angry sentence"] = {
        speaker: features(angry[:1])[0]
        for speaker, spoken in by_speaker.items()
        if (angry := [index for index in spoken if EMOTIONS[int(data.labels[index])] == "angry"])
    }
    return found


@cache
def _encode_in(room: str, utterance: Utterance, front_end: FrontEnd) -> Tensor:
    """An utterance as the frozen encoder has it when it is altered as the room says, (1, L, D)."""
    assert front_end.encoder is not None
    frozen = frozen_encoder(front_end.encoder)
    wave = waveform_of(utterance.path, front_end.max_frames, utterance.start, utterance.end)
    encoded: Tensor = frozen(collate([ROOMS[room](wave)], front_end.max_frames, frozen.input_kind, CPU))
    return encoded


def _middle(wave: Tensor, seconds: float) -> Tensor:
    samples = min(len(wave), round(seconds * SAMPLE_RATE))
    start = (len(wave) - samples) // 2
    return wave[start : start + samples]


def _noisy(wave: Tensor, snr: float) -> Tensor:
    """White noise so many dB below the sentence."""
    noise = torch.randn(wave.shape, generator=torch.Generator().manual_seed(0))
    return wave + noise * wave.square().mean().sqrt() * 10 ** (-snr / 20)


if __name__ == "__main__":
    typer.run(main)
