"""`view`: a server of this machine alone, and the page in a real browser."""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium
from conftest import ROOT

import tcnn_codec
from tcnn_codec.errors import CodecError
from tcnn_codec.view import ViewServer

GOLDEN = ROOT / "tests" / "golden"


@contextmanager
def serving(path: Path) -> Iterator[ViewServer]:
    with ViewServer(path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[ViewServer]:
    with serving(GOLDEN / "v3_rgb.tcnn") as found:
        yield found


def ask(server: ViewServer, path: str, method: str = "GET", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


# The server.


def test_the_page_and_the_file_are_served(server: ViewServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address.endswith("/?file=/file/v3_rgb.tcnn")
    for path, kind, source in (
        ("/", "text/html; charset=utf-8", ROOT / "web" / "index.html"),
        ("/?file=/file/v3_rgb.tcnn", "text/html; charset=utf-8", ROOT / "web" / "index.html"),
        ("/decoder.js", "text/javascript; charset=utf-8", ROOT / "web" / "decoder.js"),
        ("/style.css", "text/css; charset=utf-8", ROOT / "web" / "style.css"),
        ("/file/v3_rgb.tcnn", "application/octet-stream", GOLDEN / "v3_rgb.tcnn"),
    ):
        answer = ask(server, path)
        assert (answer.status, answer.getheader("Content-Type")) == (200, kind), path
        assert answer.content == source.read_bytes()
        head = ask(server, path, "HEAD")
        assert (head.status, head.content) == (200, b"")
        assert head.getheader("Content-Length") == str(len(answer.content))


@pytest.mark.parametrize(
    "path",
    [
        *("/package.json", "/setup.py", "/../setup.py", "/%2e%2e/setup.py", "/web/"),
        *("/tests/golden/v3_rgb.tcnn", "/etc/passwd", "/index.html/", "/file"),
    ],
)
def test_nothing_else_is_served(server: ViewServer, path: str) -> None:
    assert ask(server, path).status == 404


def test_only_this_machine_is_answered(server: ViewServer) -> None:
    """Another site whose name is made to lead here finds nothing."""
    port = server.server_port
    for name in ("127.0.0.1", "localhost"):
        assert ask(server, "/", Host=f"{name}:{port}").status == 200
    for name in ("example.com", f"example.com:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert ask(server, "/", Host=name).status == 403
    assert ask(server, "/", "POST").status == 501


def test_the_file_is_read_anew(tmp_path: Path) -> None:
    """And one that is gone meanwhile is no end of the server."""
    path = tmp_path / "a b?#.tcnn"
    shutil.copy(GOLDEN / "v3_grey.tcnn", path)
    with serving(path) as found:
        assert found.address.endswith("/?file=/file/a%2520b%253F%2523.tcnn")
        assert ask(found, "/file/a%20b").content == path.read_bytes()
        shutil.copy(GOLDEN / "v3_rgb.tcnn", path)
        assert ask(found, "/file/").content == path.read_bytes()
        path.unlink()
        assert ask(found, "/file/").status == 404
        assert ask(found, "/").status == 200


def test_bad_files_and_ports_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tcnn"
    bad.write_bytes(b"GIF89a")
    with pytest.raises(CodecError, match=r"bad.tcnn': the file begins with"):
        ViewServer(bad)
    with pytest.raises(CodecError, match="cannot read"):
        ViewServer(tmp_path / "none.tcnn")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CodecError, match=f"port {port} is taken; .*`port`"):
            ViewServer(GOLDEN / "v3_rgb.tcnn", port)
    for port in (-1, 65536):
        with pytest.raises(CodecError, match=f"port {port} cannot be had"):
            ViewServer(GOLDEN / "v3_rgb.tcnn", port)


def start(*options: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tcnn_codec", "view", str(GOLDEN / "v3_rgb.tcnn"), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        # Tests that a shell runs in the background would hand on that interrupts are ignored.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_the_command_prints_its_address_and_ends_quietly() -> None:
    with start("--no-browser") as running:
        assert running.stdout
        line = running.stdout.readline()
        address = line.split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.status == 200
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (0, "", "")


def test_a_browser_is_asked_to_open_it(tmp_path: Path) -> None:
    script, opened = tmp_path / "browser", tmp_path / "opened"
    script.write_text(
        f"#!/bin/sh\necho \"$1\" > '{opened}.part' && mv '{opened}.part' '{opened}'\n"
    )
    script.chmod(0o755)
    with start(BROWSER=f"{script} %s") as running:
        assert running.stdout
        address = running.stdout.readline().split()[0]
        for _ in range(600):
            if opened.exists():
                break
            threading.Event().wait(0.05)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    assert opened.read_text().strip() == address


# The page.

#: True once a picture is there and nothing is being rendered.
READY = (
    "document.querySelector('#stage canvas') && document.querySelector('#stage[aria-busy=false]')"
)
PIXELS = """(() => {
  const canvas = document.querySelector('#stage canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.height, canvas.width, Array.from(data)];
})()"""


@pytest.fixture(scope="module")
def browser(need: Callable[[str, bool], None]) -> Iterator[Chromium]:
    executable = shutil.which("chromium")
    need("chromium", executable is not None)
    with Chromium(str(executable)) as found:
        yield found


def pixels_of(browser: Chromium) -> Any:
    """What the page shows, uint8 [height, width, 4]."""
    height, width, values = browser.run(PIXELS)
    return np.array(values, np.uint8).reshape(height, width, 4)


def click(browser: Chromium, element: str) -> None:
    browser.run(f"document.getElementById('{element}').click()")


def wait_for_pixels(browser: Chromium, expected: Any) -> None:
    """Until the page shows exactly these, uint8 [height, width, channels]."""
    if expected.shape[-1] == 1:
        expected = expected.repeat(3, axis=-1)
    for _ in range(200):
        if browser.run(f"Boolean({READY})"):
            found = pixels_of(browser)
            if found.shape[:2] == expected.shape[:2] and (found[..., :3] == expected).all():
                return
        threading.Event().wait(0.05)
    pytest.fail("the page does not show these pixels")


@pytest.mark.parametrize("name", ["v3_rgb", "v3_grey", "v3_wide"])
def test_the_page_shows_a_picture_exactly(browser: Chromium, name: str) -> None:
    path = GOLDEN / f"{name}.tcnn"
    with serving(path) as server:
        browser.open(server.address)
        browser.wait(READY)
        assert browser.run("document.getElementById('name').textContent") == path.name
        facts = browser.run("document.getElementById('facts').innerText")
        assert f"{path.stat().st_size:,} bytes" in facts
        assert "WebAssembly" in facts
        click(browser, "zoom-one")
        wait_for_pixels(browser, np.load(path.with_suffix(".npy")))
        # The network is asked anew at every zoom.
        for _ in range(2):
            click(browser, "zoom-in")
        assert browser.run("document.getElementById('zoom-value').value") == "200 %"
        wait_for_pixels(browser, tcnn_codec.decode(path, scale=2))


def test_a_window_is_exact_and_can_be_moved(browser: Chromium) -> None:
    """Where the picture is larger than the page, what is seen of it is rendered alone."""
    path = GOLDEN / "v3_rgb.tcnn"
    whole = tcnn_codec.decode(path, scale=64)
    with serving(path) as server:
        browser.open(server.address)
        browser.wait(READY)
        while browser.run("document.getElementById('zoom-value').value") != "6400 %":
            click(browser, "zoom-in")
        corners = [wait_for_window(browser, whole)]
        drag = [("mousePressed", 300, 300), ("mouseMoved", 250, 280), ("mouseReleased", 250, 280)]
        for kind, x, y in drag:
            browser.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )
        corners.append(wait_for_window(browser, whole))
    assert np.subtract(*corners).tolist() == [-20, -50]


def wait_for_window(browser: Chromium, whole: Any) -> tuple[int, int]:
    """Row and column of `whole` where that begins which the page shows, when it is rendered."""
    browser.run("new Promise(requestAnimationFrame)")  # it begins with the next one
    browser.wait(READY)
    found = pixels_of(browser)[..., :3]
    height, width = found.shape[:2]
    assert height < whole.shape[0]
    assert width < whole.shape[1]
    rows, columns = whole.shape[0] - height + 1, whole.shape[1] - width + 1
    places = (whole[:rows, :columns] == found[0, 0]).all(axis=-1)
    for y, x in np.argwhere(places).tolist():
        if np.array_equal(whole[y : y + height, x : x + width], found):
            return y, x
    pytest.fail("the page shows no window of the picture")


def test_the_page_shows_transparency(browser: Chromium) -> None:
    """Colours of a canvas are kept as products with alpha, so that only alpha is exact."""
    path = GOLDEN / "v3_rgba.tcnn"
    expected = np.load(path.with_suffix(".npy")).astype(int)
    with serving(path) as server:
        browser.open(server.address)
        browser.wait(READY)
        click(browser, "zoom-one")
        browser.wait(f"{READY} && document.querySelector('#stage canvas').width === 19")
        found = pixels_of(browser).astype(int)
        assert browser.run("document.querySelectorAll('#stage .backdrop').length") == 1
    alpha = expected[..., 3:]
    assert np.array_equal(found[..., 3:], alpha)
    # Half a unit of the product, in units of the colour, and half a unit of that.
    errors = np.abs(found - expected)[..., :3] * alpha
    assert (errors <= 255 / 2 + alpha / 2).all()


def test_the_page_plays_a_video(browser: Chromium) -> None:
    path = GOLDEN / "v3_video.tcnn"
    frames = np.load(path.with_suffix(".npy"))
    with serving(path) as server:
        browser.open(server.address)
        browser.wait(READY)
        assert browser.run("document.getElementById('player').hidden") is False
        click(browser, "zoom-one")
        wait_for_pixels(browser, frames[0])
        info = tcnn_codec.inspect(path)
        click(browser, "chunk-forward")
        wait_for_pixels(browser, frames[info.chunk_frames[0]])
        click(browser, "frame-forward")
        wait_for_pixels(browser, frames[info.chunk_frames[0] + 1])
        browser.run(
            "(() => { const time = document.getElementById('time'); time.value = 2;"
            " time.dispatchEvent(new Event('input')); })()"
        )
        wait_for_pixels(browser, frames[2])
        click(browser, "play")
        browser.wait("document.getElementById('time').value !== '2'")
        assert browser.run("document.getElementById('play').textContent") == "Pause"
        click(browser, "play")
        shown = int(browser.run("document.getElementById('time').value"))
        wait_for_pixels(browser, frames[shown])


def test_the_page_says_what_is_wrong(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "broken.tcnn"
    data = (GOLDEN / "v3_rgb.tcnn").read_bytes()
    path.write_bytes(data)
    with serving(path) as server:
        for damaged, message in (
            (b"", "the file is empty"),
            (b"GIF89a", "the file begins with"),
            (data[:4] + b"\2" + data[5:], "version 2"),
            (data[:-1], "the file ends in chunk 0"),
            (data[:-1] + bytes([data[-1] ^ 1]), "checksum"),
            (None, "404"),
        ):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            browser.open(server.address)
            browser.wait("document.querySelector('#error:not([hidden])')")
            text = browser.run("document.querySelector('[role=alert]').textContent")
            assert message in text, text
            assert "\n" not in text
            # The line takes room from the stage, which may be rendered once more for that.
            browser.wait("!document.querySelector('#stage canvas')")


def test_a_file_can_be_dropped(browser: Chromium) -> None:
    path = GOLDEN / "v3_grey.tcnn"
    with serving(GOLDEN / "v3_rgb.tcnn") as server:
        browser.open(server.address.split("?")[0])
        browser.wait("document.querySelector('#welcome:not([hidden])')")
        browser.run(
            f"""(() => {{
              const transfer = new DataTransfer();
              const bytes = new Uint8Array({list(path.read_bytes())});
              transfer.items.add(new File([bytes], 'dropped.tcnn'));
              document.dispatchEvent(new DragEvent('drop', {{ dataTransfer: transfer }}));
            }})()"""
        )
        browser.wait(READY)
        assert browser.run("document.getElementById('name').textContent") == "dropped.tcnn"
        click(browser, "zoom-one")
        wait_for_pixels(browser, np.load(path.with_suffix(".npy")))
