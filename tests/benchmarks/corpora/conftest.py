import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.corpora.sources import SOURCES
from tests.benchmarks.corpora.archives import RAVDESS
from tests.benchmarks.corpora.server import FileServer, running


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running() as served:
        yield served


@pytest.fixture
def serve(server: FileServer, monkeypatch: pytest.MonkeyPatch):
    """Puts a corpus' archive on the server and the server into the corpus' source."""

    def put(name: str, content: bytes, checksum: str | None = None) -> FileServer:
        server.files[f"/{name}.zip"] = content
        source = replace(SOURCES[name], url=f"{server.address}/{name}.zip?download=1", checksum=checksum)
        monkeypatch.setitem(SOURCES, name, replace(source, objects=source.objects and f"{server.address}/objects/"))
        return server

    return put


@pytest.fixture
def ravdess(serve) -> FileServer:
    return serve("ravdess", RAVDESS, f"md5:{hashlib.md5(RAVDESS).hexdigest()}")
