"""A running demo on loopback, and requests that its page would not make."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import requests

from tests.benchmarks.commands.test_predict import save, sound

pytest.importorskip("gradio")

PATIENCE = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The process, its address, and the folder of its uploads."""
    fold, temporary = save(tmp_path_factory.mktemp("fold"), "dsnet"), tmp_path_factory.mktemp("temporary")
    with (temporary.parent / "demo.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "demo", str(fold), "--port", "0"],
            env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            url = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert url, log.name
            yield SimpleNamespace(process=process, url=url[0], host=url[0][7:], log=Path(log.name), temporary=temporary)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def goes_on(demo):
    """Whatever was asked, the page is there afterwards, and nothing was traced back."""
    yield
    assert requests.get(demo.url, timeout=PATIENCE).status_code == 200
    assert "Traceback" not in demo.log.read_text()


def file_data(path, **more):
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}


def join(demo, data, headers=None, fn_index=0):
    body = {"data": data, "fn_index": fn_index, "session_hash": "attack"}
    return requests.post(f"{demo.url}/gradio_api/queue/join", json=body, headers=headers, timeout=PATIENCE)


def upload(demo, path):
    with path.open("rb") as stream:
        return requests.post(f"{demo.url}/gradio_api/upload", files={"files": stream}, timeout=PATIENCE)


def ask(demo, data, session):
    """What the page answers, as its own requests get it."""
    body = {"data": data, "fn_index": 0, "session_hash": session}
    requests.post(f"{demo.url}/gradio_api/queue/join", json=body, timeout=PATIENCE).raise_for_status()
    events = requests.get(
        f"{demo.url}/gradio_api/queue/data?session_hash={session}", stream=True, timeout=PATIENCE
    ).iter_lines()
    for line in events:
        message = json.loads(line.removeprefix(b"data: ")) if line else {}
        if message.get("msg") == "process_completed":
            return message
    return None


def test_an_uploaded_file_is_answered(demo, tmp_path):
    [path] = upload(demo, sound(tmp_path / "a.wav", 0.3)).json()
    message = ask(demo, [file_data(path)], "good")
    assert message["success"], message
    assert "angry" in json.dumps(message["output"])


@pytest.mark.parametrize("kind", ["there", "absent", "/dev/zero", "/etc/passwd", "link", "above", "url", "hidden"])
def test_a_file_that_was_not_uploaded_is_not_read_nor_told_of(demo, tmp_path, kind):
    file = sound(tmp_path / "secret.wav", 0.3)
    (demo.temporary / "link.wav").unlink(missing_ok=True)
    (demo.temporary / "link.wav").symlink_to(file)
    [uploaded] = upload(demo, sound(tmp_path / "a.wav", 0.3)).json()
    data = {
        "there": [file_data(file)],
        "absent": [file_data(tmp_path / "absent.wav")],
        "link": [file_data(demo.temporary / "link.wav")],
        "above": [file_data(f"{os.path.dirname(uploaded)}/../../../secret.wav")],
        "url": [file_data("http://127.0.0.1:9/a.wav")],
        "hidden": [file_data(uploaded), {"deep": [{"er": file_data(file)}]}],
    }.get(kind, [file_data(kind)])
    answer = join(demo, data)
    assert (answer.status_code, answer.text) == (403, "only uploads\n")


@pytest.mark.parametrize("path", ["/etc/passwd", "{cwd}/setup.cfg", "..%2F..%2Fetc%2Fpasswd", "http://127.0.0.1:9/"])
def test_no_file_but_an_upload_is_served(demo, path):
    path = path.format(cwd=os.getcwd())
    assert requests.get(f"{demo.url}/gradio_api/file={path}", timeout=PATIENCE).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["run/hear", "call/hear", "call/v2/hear", "api/hear", "component_server", "process_recording", "vibe-edit"],
)
def test_what_the_page_does_not_ask_for_is_not_there(demo, tmp_path, path):
    body = {"data": [file_data(sound(tmp_path / "a.wav", 0.3))], "fn_index": 0}
    assert requests.post(f"{demo.url}/gradio_api/{path}", json=body, timeout=PATIENCE).status_code == 404
    for other in ("proxy=http://127.0.0.1:9/", "openapi.json", "vibe-code", "deep_link"):
        assert requests.get(f"{demo.url}/gradio_api/{other}", timeout=PATIENCE).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.1.2.3", "", "[::"])
def test_another_name_for_this_server_is_refused(demo, host):
    assert requests.get(demo.url, headers={"Host": host}, timeout=PATIENCE).status_code in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_another_page_is_refused_and_no_answer_permits_it(demo, origin):
    answer = join(demo, [None], {"Origin": origin})
    assert answer.status_code == 403
    for found in (answer, requests.options(f"{demo.url}/config", headers={"Origin": origin}, timeout=PATIENCE)):
        assert not [name for name in found.headers if name.lower().startswith("access-control-")]


def test_the_page_s_own_origin_is_answered_without_permission_for_others(demo):
    answer = requests.get(f"{demo.url}/config", headers={"Origin": demo.url}, timeout=PATIENCE)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def raw(demo, head, *pieces):
    """The status line that a hand-made request gets."""
    address, port = demo.host.split(":")
    with socket.create_connection((address, int(port)), PATIENCE) as connection:
        connection.sendall(f"{head}\r\nHost: {demo.host}\r\n".encode())
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
        return connection.recv(200).split(b"\r\n")[0]


def test_a_body_that_is_too_long_is_refused_before_it_comes_and_as_it_comes(demo):
    post = "POST /gradio_api/queue/join HTTP/1.1"
    assert b" 413 " in raw(demo, post, b"Content-Length: 100001\r\n\r\n")
    chunks = [b"186a0\r\n" + bytes(100_000) + b"\r\n"] * 2
    assert b" 413 " in raw(demo, post, b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
    assert b" 413 " in raw(demo, "POST /gradio_api/upload HTTP/1.1", b"Content-Length: 100000001\r\n\r\n")


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 90_000, b"\xff\xfe", b'{"data": "path"}'], ids=range(5))
def test_a_body_of_another_form_is_refused_or_fails_and_harms_nothing(demo, body):
    answer = requests.post(f"{demo.url}/gradio_api/queue/join", data=body, timeout=PATIENCE)
    assert 400 <= answer.status_code < 600


@pytest.mark.parametrize("name", ["hours.flac", "text.wav", "evil\x1b[2J.wav", "a.m4a"])
def test_an_upload_of_any_content_is_answered_soon_and_in_little_memory(demo, tmp_path, name):
    import numpy as np
    import soundfile

    path = tmp_path / name
    if name == "hours.flac":
        with soundfile.SoundFile(path, "w", 44_100, 2) as file:
            for _ in range(120):
                file.write(np.zeros((44_100 * 60, 2), np.int16))
    else:
        path.write_text("#EXTM3U\nhttp://127.0.0.1:9/a.ts\n")
    [uploaded] = upload(demo, path).json()
    before, begin = psutil.Process(demo.process.pid).memory_info().rss, time.monotonic()
    message = ask(demo, [file_data(uploaded)], f"content-{name[:4]}")
    assert message["success"], message
    assert "alert" in json.dumps(message["output"])
    assert time.monotonic() - begin < PATIENCE
    assert psutil.Process(demo.process.pid).memory_info().rss - before < 200e6
