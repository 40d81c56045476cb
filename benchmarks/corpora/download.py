"""Downloads that go on where they broke off and are held against a checksum: pooch, with HTTP ranges."""

import os
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pooch
from requests import RequestException, Response, Session
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from benchmarks.errors import FetchError
from dsnet_plugin import __version__

_CHUNK = 1 << 16
_TIMEOUT = (30, 60)
"""Seconds to wait for a connection, and for the next bytes of it."""


def open_session() -> Session:
    """A session that asks a busy server three times more, and says who asks: Zenodo slows nameless clients down."""
    session = Session()
    # Compressed on the way, a file would have other lengths and ranges than on disk.
    session.headers.update({"User-Agent": f"dsnet_plugin/{__version__}", "Accept-Encoding": "identity"})
    # A server may ask for an hour's patience (Retry-After); that is for the user to decide.
    retries = Retry(
        total=3,
        connect=0,
        backoff_factor=1,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    return session


def download(session: Session, url: str, to: Path, checksum: str | None, remedy: str, progress: bool = True) -> None:
    """Downloads a file to ``to``, unless a file with this checksum is there; what comes is kept in ``to``.part.

    Args:
        session: What :func:`open_session` gave.
        url: The file's address.
        to: The file to write; it is whole or as it was before.
        checksum: ``"algorithm:hexadecimal"``; None accepts whatever comes, or is there already.
        remedy: What the user can do where the checksum differs, for the error.
        progress: Whether to show a bar on standard error.

    Raises:
        FetchError: no connection, a refusal, a transfer that broke off (its part is kept), or another checksum
            (nothing is kept).
    """
    # pooch would report each of some thousand files.
    pooch.get_logger().setLevel("WARNING")
    transfer = partial(_transfer, session, to.with_name(f"{to.name}.part"), progress)
    try:
        pooch.retrieve(url, checksum, to.name, to.parent, downloader=transfer)
    except ValueError as error:
        seen = str(error).split(". ")[0]  # the rest says that pooch has removed the file
        raise FetchError(f"{url}: {seen}; it is removed: {remedy}") from error


def _transfer(session: Session, part: Path, progress: bool, url: str, to: str, _: object) -> None:
    """Pooch's downloader: appends to ``part`` what it lacks and moves it to ``to``, where pooch takes the checksum."""
    begin = part.stat().st_size if part.exists() else 0
    with _ask(session, url, begin) as response:
        if response.status_code != 206:  # a server that knows no ranges sends the whole file
            begin = 0
        length = response.headers.get("Content-Length")
        total = begin + int(length) if length else None
        with part.open("ab" if begin else "wb") as file, _bar(part.stem, begin, total, progress) as bar:
            try:
                for chunk in response.iter_content(_CHUNK):
                    bar.update(file.write(chunk))
            except RequestException as error:
                raise _broken_off(url, file.tell(), total) from error
    os.replace(part, to)


def _ask(session: Session, url: str, begin: int) -> Response:
    """The answer to a request for the bytes from ``begin`` on; a server that knows no ranges answers with all of them."""
    ranges = {"Range": f"bytes={begin}-"} if begin else {}
    try:
        response = session.get(url, headers=ranges, stream=True, timeout=_TIMEOUT)
        content_range = response.headers.get("Content-Range", "")
        # 416: the file has no more bytes than the part, so the part is of another file.
        if response.status_code in (206, 416) and not content_range.startswith(f"bytes {begin}-"):
            response.close()
            response = session.get(url, stream=True, timeout=_TIMEOUT)
    except RequestException as error:
        cause = getattr(error.args[0], "reason", error) if error.args else error
        raise FetchError(
            f"no connection to {urlsplit(url).netloc} ({str(cause).split(': ')[-1]}); check the network, then run the "
            "same command again"
        ) from error
    if not response.ok:
        seen = f"{response.status_code} {response.reason}"
        raise FetchError(f"{url}: the server answers {seen}; try later, or look whether the file has moved")
    return response


def _bar(name: str, begin: int, total: int | None, progress: bool) -> "tqdm[None]":
    return tqdm(
        desc=name,
        initial=begin,
        total=total,
        unit="B",
        unit_scale=True,
        mininterval=1,
        leave=False,
        disable=not progress,
    )


def _broken_off(url: str, size: int, total: int | None) -> FetchError:
    of = f" of {total:,}" if total is not None else ""
    return FetchError(f"{url}: broke off after {size:,}{of} bytes; they are kept: run the same command again to go on")
