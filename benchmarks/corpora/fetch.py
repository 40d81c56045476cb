"""An open corpus, from its own source to a folder that can be trained on."""

import re
import shutil
import zlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PureWindowsPath
from urllib.parse import quote
from zipfile import BadZipFile, ZipFile

import pooch
from requests import Session
from tqdm import tqdm

from benchmarks.corpora import CORPORA, Corpus, CorpusInfo, load_corpus
from benchmarks.corpora.download import download, open_session
from benchmarks.corpora.sources import SOURCES, Source
from benchmarks.errors import CorpusError, FetchError
from benchmarks.output.files import cache_root
from dsnet_plugin.serialization import write_bytes

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize \d+\n")


_EXPANSION = 10
"""How many times the size of its download a corpus may have on disk; recordings pack to a half or a third."""


def fetch(name: str, to: Path | None = None, say: Callable[[str], None] = print) -> Corpus:
    """Downloads an open corpus, unpacks it and reads it; says licence, source and place before it asks for a byte.

    The folder appears when all is there. Until then everything is in a folder beside it, ``FOLDER.download``, from
    which a second call goes on.

    Args:
        name: One of :data:`SOURCES`.
        to: The corpus' folder, new or empty; ``corpora/NAME`` in the cache by default. Where it holds the corpus
            already, nothing is downloaded.
        say: Takes each line for the user.

    Raises:
        FetchError: a corpus without a source here, another content in the folder, no connection, a transfer that broke
            off, a checksum that differs, or an archive that is damaged or would write outside its folder.
    """
    if name not in SOURCES:
        where = f"; its source: {CORPORA[name].source}" if name in CORPORA else ""
        raise FetchError(f"{name!r} cannot be fetched, only {', '.join(SOURCES)}{where}")
    info, source = CORPORA[name], SOURCES[name]
    folder = (to or cache_root() / "corpora" / name).resolve()
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        return _there_already(info, folder, say)
    say(f"{info.title}, {info.licence}; its terms: {info.source}")
    say(f"from {source.url}{' and ' * bool(source.objects)}{source.objects}, about {source.megabytes} MB")
    say(f"to {folder}")
    work = folder.with_name(f"{folder.name}.download")
    unpacked = work / "unpacked"
    with open_session() as session:
        if not unpacked.exists():
            archive = work / f"{name}.zip"
            record = folder.with_name(f"{folder.name}.sha256")
            _download_archive(session, info, source, archive, record, say)
            _unpack(archive, source, unpacked)
            if source.checksum is None:
                write_bytes(record, f"{pooch.file_hash(str(archive))}  {source.url}\n".encode())
        if source.objects:
            _download_objects(session, source.objects, unpacked)
    if folder.exists():  # and empty; elsewhere than on Windows, renaming would replace it
        folder.rmdir()
    unpacked.rename(folder)
    shutil.rmtree(work)
    return load_corpus(name, folder)


def _there_already(info: CorpusInfo, folder: Path, say: Callable[[str], None]) -> Corpus:
    try:
        corpus = load_corpus(info.name, folder)
    except CorpusError as error:
        raise FetchError(
            f"{folder} holds something else than {info.title}; give it a folder of its own with --to"
        ) from error
    say(f"{info.title} is in {folder} already: nothing to download")
    return corpus


def _download_archive(
    session: Session, info: CorpusInfo, source: Source, archive: Path, record: Path, say: Callable[[str], None]
) -> None:
    """Downloads the zip; where its source publishes no checksum, the first download's, if any, is in ``record``."""
    checksum, remedy = source.checksum, f"run the same command again, or look at {info.source}"
    if checksum is None and record.exists():
        say(f"the source publishes no checksum; the file is held against that of the first download, in {record}")
        checksum = f"sha256:{record.read_text(encoding='utf-8').partition(' ')[0]}"
        remedy = f"if the source has a new release, delete {record} to accept it"
    elif checksum is None:
        say(f"the source publishes no checksum; that of this download is kept in {record}, and further ones must match")
    download(session, source.url, archive, checksum, remedy)


def _unpack(archive: Path, source: Source, to: Path) -> None:
    """Unpacks the members that are wanted beside ``to``, then renames, so that ``to`` is whole or not there.

    Raises:
        FetchError: a damaged archive, one that would write elsewhere, or one without such members; it is removed.
    """
    beside = to.with_name(f"{to.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with ZipFile(archive) as zipped:
            zipped.extractall(beside, _members(zipped, source))
    except (BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: a password, an unknown method
        archive.unlink()
        shutil.rmtree(beside, ignore_errors=True)
        raise FetchError(
            f"{source.url}: no zip archive to use ({error}); it is removed, nothing is unpacked: run the same command "
            "again, or look whether the file has moved"
        ) from error
    inside = list(beside.iterdir())
    # GitHub puts everything into one folder, named after the commit.
    (inside[0] if len(inside) == 1 and inside[0].is_dir() else beside).rename(to)
    shutil.rmtree(beside, ignore_errors=True)


def _members(zipped: ZipFile, source: Source) -> list[str]:
    names = zipped.namelist()
    for name in names:
        path = PureWindowsPath(name)  # knows both kinds of slashes, and drives
        if path.anchor or ".." in path.parts:
            raise BadZipFile(f"its member {name!r} would be written outside of the folder")
    wanted = [name for name in names if any(fnmatchcase(name, pattern) for pattern in source.members)]
    if not wanted:
        raise BadZipFile(f"none of its {len(names)} members is like {' or '.join(source.members)}")
    size = sum(zipped.getinfo(name).file_size for name in wanted) / 1e6
    if size > _EXPANSION * source.megabytes:
        raise BadZipFile(
            f"it would unpack to {size:,.0f} MB; expected no more than {_EXPANSION * source.megabytes:,} MB"
        )
    return wanted


def _download_objects(session: Session, address: str, root: Path) -> None:
    """Puts the audio in the place of every Git LFS pointer; the pointers that are left are what is to be done."""
    pointers = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                if match := _POINTER.match(stream.read(256)):
                    pointers[path] = match[1].decode()
    for path, sha256 in tqdm(pointers.items(), desc="recordings", unit="file", mininterval=1, leave=False):
        url = address + quote(path.relative_to(root).as_posix())
        download(session, url, path, f"sha256:{sha256}", "run the same command again", progress=False)
