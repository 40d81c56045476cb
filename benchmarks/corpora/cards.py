"""What ``dsnet corpora`` says: what is known of the corpora, and what a folder holds."""

from benchmarks.corpora import CORPORA, EMOTIONS, Corpus, CorpusInfo, Utterance
from benchmarks.output.formats import terminal
from benchmarks.output.printable import printable, printable_lines
from benchmarks.output.table import Table

_SHOWN = 5
"""Names that are shown of each kind of problem."""


def known_corpora() -> str:
    """All corpora as a table."""
    rows = [
        [
            info.name,
            info.title,
            info.language,
            f"{sum(info.counts.values()):,}" if info.counts else "-",
            str(info.speakers or "-"),
            info.licence,
        ]
        for info in CORPORA.values()
    ]
    return terminal(Table(["name", "corpus", "language", "utterances", "speakers", "licence"], rows, left=3))


def corpus_card(info: CorpusInfo) -> str:
    """What is known of one corpus."""
    lines = [f"{info.title} ({info.language}), {info.licence}", f"source: {info.source}", f"layout: {info.layout}"]
    if info.counts:
        counts = ", ".join(f"{emotion} {count:,}" for emotion, count in info.counts.items())
        lines.append(f"expected: {sum(info.counts.values()):,} utterances ({counts}), {info.speakers} speakers")
    if info.notes:
        lines.append(f"notes: {info.notes}")
    if info.warning:
        lines.append(f"WARNING: {info.warning}")
    return "\n".join(lines)


def corpus_summary(corpus: Corpus) -> str:
    """One line: the counts of a folder beside those of the release."""
    info, counts = corpus.info, corpus.counts()
    if not info.counts:
        return f"{sum(counts.values()):,} utterances of {len(corpus.speakers)} speakers"
    if counts == info.counts and len(corpus.speakers) == info.speakers:
        return f"complete: {sum(counts.values()):,} utterances of {info.speakers} speakers, as in the release"
    expected = ", ".join(f"{emotion} {counts[emotion]:,} of {n:,}" for emotion, n in info.counts.items())
    return (
        f"{sum(counts.values()):,} of {sum(info.counts.values()):,} utterances ({expected}), "
        f"{len(corpus.speakers)} of {info.speakers} speakers"
    )


def corpus_report(corpus: Corpus) -> str:
    """What a folder holds: counts by class and by speaker beside the expected ones, and every problem."""
    info, report = corpus.info, corpus.report
    lines = [f"{info.title} in {corpus.root}", "", speakers_table(corpus), "", corpus_summary(corpus)]
    if report.skipped:
        labels = ", ".join(f"{label} {count:,}" for label, count in sorted(report.skipped.items()))
        lines.append(f"skipped by label: {report.skipped.total():,} ({labels})")
    lines += [f"WARNING: {info.warning}"] if info.warning else []
    lines += [f"note: {remark}" for remark in report.remarks]
    looked = corpus.root.absolute().parent if corpus.root.is_file() else corpus.root.absolute()
    kinds = {
        f"missing (looked for in {looked})": report.missing,
        "links to what is not there (was the data set fetched?)": report.dangling,
        "unreadable": [f"{name} ({reason})" for name, reason in report.unreadable.items()],
        "Git LFS pointers instead of audio (run git lfs pull)": report.pointers,
        "below 16,000 Hz, resampled": [f"{name} ({rate:,} Hz)" for name, rate in report.low_rate.items()],
        "further files of the same name, not used": report.duplicates,
        "audio files of no name in this corpus": report.unknown,
    }
    for kind, names in kinds.items():
        if names:
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            shown = ", ".join(map(printable, names[:_SHOWN]))
            lines.append(f"{kind}: {len(names):,}: {shown}{more}")
    return printable_lines("\n".join(lines))


def speakers_table(corpus: Corpus) -> str:
    """Utterances of each speaker by class."""
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in corpus.utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    rows = []
    for speaker, spoken in sorted(by_speaker.items()):
        counts = [sum(utterance.label == emotion for utterance in spoken) for emotion in EMOTIONS]
        rows.append([speaker, spoken[0].sex or "?", *map(str, counts), str(len(spoken))])
    total = [str(count) for count in corpus.counts().values()]
    foot = [["all", "", *total, str(len(corpus.utterances))]]
    return terminal(Table(["speaker", "sex", *EMOTIONS, "all"], rows, foot, left=2))
