"""From a loader's utterances to a corpus: four classes, files that are there, and a report of everything else."""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.corpora.audio_file import FFMPEG_SUFFIXES, Header, is_pointer, read_header
from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import EMOTIONS, SAMPLE_RATE, Corpus, CorpusInfo, Report, Utterance
from benchmarks.corpora.oddities import oddities
from benchmarks.errors import AudioError, CorpusError

Loader = Callable[[AudioFiles, Report], Iterable[Utterance]]
"""A corpus file's ``utterances``: yields every labelled utterance, of any emotion, and reports all other files."""

_ROUNDING = 0.05
"""Seconds by which a segment may end after its file: tables of segments are rounded."""


def collect(info: CorpusInfo, loader: Loader, root: Path) -> Corpus:
    """Runs a loader over a folder, keeps the four classes, and opens each file's header.

    Raises:
        CorpusError: no folder, nothing of this corpus in it, or one key twice.
    """
    files, report = AudioFiles(root), Report()
    kept: dict[str, Utterance] = {}
    headers: dict[Path, Header | None] = {}  # of a file with many utterances one
    labelled = 0
    for utterance in loader(files, report):
        labelled += 1
        if utterance.label not in EMOTIONS:
            report.skipped[utterance.label] += 1
        elif utterance.key in kept:
            raise CorpusError(f"{root}: the utterance {utterance.key} is listed twice; each key must be unique")
        elif not _is_there(utterance.path):
            report.missing.append(utterance.key)
        else:
            if utterance.path not in headers:
                headers[utterance.path] = _header(files, utterance.path, report)
            header = headers[utterance.path]
            if header is not None and _holds(header, utterance, report):
                kept[utterance.key] = utterance
    report.dangling = files.dangling
    if not labelled and not report.missing:
        seen = f"{len(files.paths)} audio files" + (f", such as {files.name(files.paths[0])}" if files.paths else "")
        seen += f", {len(files.dangling)} links to what is not there" if files.dangling else ""
        wanted = info.layout + (f" and labels in files like {info.labels}" if info.labels else "")
        raise CorpusError(f"nothing of {info.title} in {root}: saw {seen}; expected names like {wanted}")
    utterances = [kept[key] for key in sorted(kept)]
    report.remarks += oddities(utterances)
    return Corpus(info, root, utterances, report)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _header(files: AudioFiles, path: Path, report: Report) -> Header | None:
    """The header of a file that can be used; a file that cannot is reported."""
    name = files.name(path)
    try:
        if is_pointer(path):
            report.pointers.append(name)
            return None
        if path.suffix.lower() in FFMPEG_SUFFIXES:  # ffmpeg will tell when it is read
            return Header(SAMPLE_RATE, 1, None)
        header = read_header(path)
    except AudioError as error:
        report.unreadable[name] = str(error).removeprefix(f"{path}: ")
        return None
    except OSError as error:  # no permission
        report.unreadable[name] = error.strerror or str(error)
        return None
    if header.rate < SAMPLE_RATE:
        report.low_rate[name] = header.rate
    return header


def _holds(header: Header, utterance: Utterance, report: Report) -> bool:
    """Whether a file is as long as a segment of it says."""
    last = utterance.end if utterance.end is not None else utterance.start
    if header.seconds is None or last <= header.seconds + (_ROUNDING if utterance.end is not None else 0):
        return True
    verb = "starts" if utterance.end is None else "ends"
    report.unreadable[utterance.key] = f"{verb} at {last:g} s, but the file lasts {header.seconds:.3f} s"
    return False
