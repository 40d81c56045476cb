import errno
import hashlib
import io
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from benchmarks.corpora import CORPORA
from benchmarks.corpora.fetch import fetch
from benchmarks.corpora.sources import SOURCES
from benchmarks.errors import FetchError
from benchmarks.output.files import cache_root
from tests.benchmarks.corpora import trees
from tests.benchmarks.corpora.archives import EMODB, RAVDESS, left, release, zipped
from tests.benchmarks.corpora.server import FileServer
from tests.benchmarks.corpora.trees import WAV, write


def test_a_corpus_is_downloaded_once_unpacked_and_read(ravdess: FileServer, tmp_path: Path) -> None:
    corpus = fetch("ravdess", tmp_path / "here" / "ravdess")
    assert corpus.counts() == CORPORA["ravdess"].counts
    assert corpus.root == tmp_path / "here/ravdess"
    assert left(tmp_path) == sorted(f"here/ravdess/{name}" for name in trees.ravdess_names())
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["ravdess"]
    assert [(request.path, request.ranges, request.sent) for request in ravdess.requests] == [
        ("/ravdess.zip", None, len(RAVDESS))
    ]
    assert ravdess.requests[0].agent.startswith("dsnet_plugin/")


def test_an_empty_folder_is_filled(ravdess: FileServer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert len(fetch("ravdess", tmp_path / "empty").utterances) == 672


def test_without_a_folder_the_corpus_goes_into_the_cache(
    ravdess: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path))
    assert fetch("ravdess").root == cache_root() / "corpora/ravdess" == tmp_path / "corpora/ravdess"


def test_licence_source_and_place_are_said_before_the_first_request(ravdess: FileServer, tmp_path: Path) -> None:
    events: list[str] = []
    ravdess.before = lambda: events.append("REQUEST")
    fetch("ravdess", tmp_path / "r", events.append)
    said = " ".join(events[: events.index("REQUEST")])
    assert "CC BY-NC-SA 4.0" in said
    assert "https://zenodo.org/records/1188976" in said
    assert f"{ravdess.address}/ravdess.zip" in said
    assert str(tmp_path / "r") in said


# Files that are not what they should be


def test_a_file_with_another_checksum_is_refused_and_removed(ravdess: FileServer, tmp_path: Path) -> None:
    tampered = RAVDESS.replace(WAV[-8:], b"\1" * 8, 1)
    assert len(tampered) == len(RAVDESS)
    ravdess.files["/ravdess.zip"] = tampered
    with pytest.raises(FetchError) as error:
        fetch("ravdess", tmp_path / "r")
    for checksum in (hashlib.md5(RAVDESS).hexdigest(), hashlib.md5(tampered).hexdigest()):
        assert checksum in str(error.value)
    assert str(error.value).endswith(
        "; it is removed: run the same command again, or look at https://zenodo.org/records/1188976"
    )
    assert "Deleted" not in str(error.value)
    assert left(tmp_path) == []
    ravdess.files["/ravdess.zip"] = RAVDESS
    assert len(fetch("ravdess", tmp_path / "r").utterances) == 672
    assert ravdess.requests[-1].ranges is None


@pytest.mark.parametrize(
    "name", ["../out.wav", "wav/../../out.wav", "/tmp/out.wav", "..\\out.wav", "C:\\out.wav", "C:out.wav", "\\out.wav"]
)
def test_an_archive_that_would_write_outside_its_folder_is_refused(serve, tmp_path: Path, name: str) -> None:
    serve("emodb", zipped({"wav/03a01Fa.wav": WAV, name: WAV}))
    with pytest.raises(FetchError, match=r"would be written outside of the folder\); it is removed, nothing is unpack"):
        fetch("emodb", tmp_path / "inner" / "e")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"<html>Log in to this network</html>", "not a zip file"),
        (EMODB[:-100], "not a zip file"),
        (EMODB.replace(WAV, WAV[:-1] + b"\1", 1), "Bad CRC-32"),
        (zipped({}), "none of its 0 members"),
    ],
    ids=["a page", "cut short", "a damaged member", "empty"],
)
def test_what_is_no_whole_archive_is_refused_and_removed(serve, tmp_path: Path, content: bytes, seen: str) -> None:
    serve("emodb", content)
    with pytest.raises(FetchError, match=seen):
        fetch("emodb", tmp_path / "e")
    assert left(tmp_path) == []
    serve("emodb", EMODB)
    assert fetch("emodb", tmp_path / "e").report.unreadable == {}


def bomb() -> bytes:
    stream = io.BytesIO()
    with (
        ZipFile(stream, "w", ZIP_DEFLATED) as archive,
        archive.open("Actor_01/03-01-05-01-01-01-01.wav", "w") as member,
    ):
        for _ in range(500):
            member.write(bytes(1_000_000))
    return stream.getvalue()


def encrypted() -> bytes:
    """An archive whose one member says that it has a password."""
    content = bytearray(zipped({"Actor_01/03-01-05-01-01-01-01.wav": WAV}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "seen"),
    [(bomb, "it would unpack to 500 MB; expected no more than 400 MB"), (encrypted, "password required")],
)
def test_bombs_and_passwords_are_refused_before_anything_is_unpacked(serve, tmp_path: Path, content, seen: str) -> None:
    serve("emodb", content())
    with pytest.raises(FetchError, match=seen):
        fetch("emodb", tmp_path / "c")
    assert left(tmp_path) == []


def test_an_unpacking_that_breaks_off_leaves_no_folder_and_needs_no_second_download(
    ravdess: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(archive: ZipFile, folder: Path, members: list[str]) -> None:
        for name in members[:100]:
            archive.extract(name, folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ZipFile, "extractall", full)
        with pytest.raises(OSError, match="No space left"):
            fetch("ravdess", tmp_path / "r")
    assert not (tmp_path / "r").exists()
    write(tmp_path / "r.download/unpacked.part/half a name.wav", b"")
    fetch("ravdess", tmp_path / "r")
    assert left(tmp_path) == sorted(f"r/{name}" for name in trees.ravdess_names())
    assert len(ravdess.requests) == 1


# Folders that are there


def test_a_corpus_that_is_there_is_not_downloaded_again(ravdess: FileServer, tmp_path: Path) -> None:
    fetch("ravdess", tmp_path / "r")
    ravdess.requests.clear()
    said: list[str] = []
    assert len(fetch("ravdess", tmp_path / "r", said.append).utterances) == 672
    assert said == [f"RAVDESS (speech) is in {tmp_path / 'r'} already: nothing to download"]
    assert ravdess.requests == []


def test_a_folder_with_something_else_is_left_as_it_is(ravdess: FileServer, tmp_path: Path) -> None:
    write(tmp_path / "thesis" / "chapter.tex", "once")
    for place in (tmp_path / "thesis", tmp_path / "thesis" / "chapter.tex"):
        with pytest.raises(FetchError, match=r"holds something else than RAVDESS .*--to"):
            fetch("ravdess", place)
    assert left(tmp_path) == ["thesis/chapter.tex"]
    assert ravdess.requests == []


# Sources without a checksum


def test_where_the_source_has_no_checksum_the_first_download_sets_it(serve, tmp_path: Path) -> None:
    server, folder, record = serve("emodb", EMODB), tmp_path / "e", tmp_path / "e.sha256"
    said: list[str] = []
    first = fetch("emodb", folder, said.append)
    assert f"publishes no checksum; that of this download is kept in {record}" in " ".join(said)
    assert record.read_text().split() == [hashlib.sha256(EMODB).hexdigest(), SOURCES["emodb"].url]

    folder.rename(tmp_path / "away")
    said.clear()
    assert len(fetch("emodb", folder, said.append).utterances) == len(first.utterances)
    assert f"held against that of the first download, in {record}" in " ".join(said)

    folder.rename(tmp_path / "further away")
    other = release(["wav/03a01Fa.wav"])
    server.files["/emodb.zip"] = other
    with pytest.raises(FetchError, match=rf"{hashlib.sha256(other).hexdigest()}.*delete {record} to accept"):
        fetch("emodb", folder)
    assert not folder.exists()
    record.unlink()
    assert len(fetch("emodb", folder).utterances) == 1


def test_a_published_checksum_is_not_kept_beside_the_corpus(ravdess: FileServer, tmp_path: Path) -> None:
    said: list[str] = []
    fetch("ravdess", tmp_path / "r", said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    assert "no checksum" not in " ".join(said)


def test_a_refused_archive_sets_no_checksum(serve, tmp_path: Path) -> None:
    serve("emodb", b"no archive")
    with pytest.raises(FetchError):
        fetch("emodb", tmp_path / "e")
    assert not (tmp_path / "e.sha256").exists()


# Layouts


def test_the_folder_around_a_github_archive_is_taken_off(serve, tmp_path: Path) -> None:
    names = list(trees.nemo_names())
    table = trees.nemo_table(names).encode()
    serve("nemo", zipped({"nEMO-06f1f83/data.tsv": table} | {f"nEMO-06f1f83/{name}": WAV for name in names}))
    corpus = fetch("nemo", tmp_path / "n")
    assert left(tmp_path / "n") == sorted(["data.tsv", *names])
    assert {utterance.sex for utterance in corpus.utterances} == {"F", "M"}


NAMES = [f"AudioWAV/1001_{sentence}_ANG_XX.wav" for sentence in ("DFA", "IEO", "IOM", "ITH")]
AUDIO = {name: WAV + bytes([number]) * 100_000 for number, name in enumerate(NAMES)}


def pointer(content: bytes) -> bytes:
    sha256 = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()


@pytest.fixture
def crema_d(serve) -> FileServer:
    """A release of four recordings, its archive with pointers in their place, and of what is not wanted."""
    members = {name: pointer(content) for name, content in AUDIO.items()}
    members |= {"AudioMP3/1001_DFA_ANG_XX.mp3": pointer(b"mp3"), "VideoFlash/1001_DFA_ANG_XX.flv": pointer(b"flv")}
    members |= {"VideoDemographics.csv": trees.crema_d_demographics().encode(), "LICENSE.txt": b"ODbL"}
    server: FileServer = serve("crema-d", zipped({f"CREMA-D-master/{name}": text for name, text in members.items()}))
    server.files |= {f"/objects/{name}": content for name, content in AUDIO.items()}
    return server


def test_git_lfs_pointers_become_the_audio_that_they_name(crema_d: FileServer, tmp_path: Path) -> None:
    said: list[str] = []
    corpus = fetch("crema-d", tmp_path / "c", said.append)
    assert left(tmp_path / "c") == sorted([*NAMES, "VideoDemographics.csv", "LICENSE.txt"])
    assert {name: (tmp_path / "c" / name).read_bytes() for name in NAMES} == AUDIO
    assert [(utterance.speaker, utterance.sex) for utterance in corpus.utterances] == [("1001", "M")] * 4
    assert corpus.report.pointers == []
    assert f"from {crema_d.address}/crema-d.zip?download=1 and {crema_d.address}/objects/, about 640 MB" in said
    assert [request.path for request in crema_d.requests] == ["/crema-d.zip", *(f"/objects/{name}" for name in NAMES)]


def test_a_recording_that_is_not_the_one_of_its_pointer_is_refused_and_the_others_are_kept(
    crema_d: FileServer, tmp_path: Path
) -> None:
    crema_d.files[f"/objects/{NAMES[2]}"] = WAV
    with pytest.raises(FetchError, match=rf"{NAMES[2]}: SHA256 hash .* does not match") as error:
        fetch("crema-d", tmp_path / "c")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "c").exists()
    crema_d.files[f"/objects/{NAMES[2]}"] = AUDIO[NAMES[2]]
    crema_d.requests.clear()
    assert len(fetch("crema-d", tmp_path / "c").utterances) == 4
    assert [request.path for request in crema_d.requests] == [f"/objects/{name}" for name in NAMES[2:]]


def test_a_recording_that_breaks_off_goes_on_from_its_last_byte(crema_d: FileServer, tmp_path: Path) -> None:
    def cut() -> None:
        crema_d.cut = 80_000 if len(crema_d.requests) == 2 else None  # the archive and one recording have passed

    crema_d.before = cut
    with pytest.raises(FetchError, match=f"{NAMES[1]}: broke off"):
        fetch("crema-d", tmp_path / "c")
    assert len(fetch("crema-d", tmp_path / "c").utterances) == 4
    assert {name: (tmp_path / "c" / name).read_bytes() for name in NAMES} == AUDIO
    assert left(tmp_path / "c") == sorted([*NAMES, "VideoDemographics.csv", "LICENSE.txt"])
    first, again = (request for request in crema_d.requests if request.path == f"/objects/{NAMES[1]}")
    assert first.ranges is None
    begin = int(again.ranges.removeprefix("bytes=").removesuffix("-"))
    assert 0 < begin == len(AUDIO[NAMES[1]]) - again.sent


# Sources


@pytest.mark.parametrize("name", SOURCES)
def test_a_corpus_comes_from_the_site_of_its_makers(name: str) -> None:
    assert urlsplit(SOURCES[name].url).netloc == urlsplit(CORPORA[name].source).netloc


def test_the_checksum_of_ravdess_is_that_of_its_zenodo_record() -> None:
    assert SOURCES["ravdess"].checksum == "md5:bc696df654c87fed845eb13823edef8a"
