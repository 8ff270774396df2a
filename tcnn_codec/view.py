"""A page that shows one .tcnn file in a browser: a server of this machine alone.

The page decodes the file itself (web/decoder.js); what is served is the page and the file.
"""

from __future__ import annotations

import errno
import sys
import threading
import webbrowser
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

from tcnn_codec import __version__
from tcnn_codec.bitstream.header import read_header
from tcnn_codec.decoding.decoder import open_stream
from tcnn_codec.errors import CodecError

ADDRESS = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
#: Where the page asks for the file; its name follows, for the title.
FILE = "/file/"


class ViewServer(ThreadingHTTPServer):
    """Serves the page at `address`, to browsers of this machine, until it is shut down.

    path: of a .tcnn file. port: 0 for any that is free. Raises CodecError for what is no .tcnn file
    and for a port that cannot be had.
    """

    daemon_threads = True

    def __init__(self, path: Path, port: int = 0) -> None:
        with open_stream(path) as stream:
            read_header(stream)
        page = _page()
        try:
            super().__init__((ADDRESS, port), partial(_Handler, page, path))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            raise CodecError(
                f"port {port} {'is taken' if taken else 'cannot be had'}",
                "allowed are free ones, 1024 to 65535",
                "leave `port` out for any that is free",
            ) from error
        self.address = (
            f"http://{ADDRESS}:{self.server_port}/?file={quote(FILE + quote(path.name), safe='/')}"
        )

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that leaves before it has all is no fault."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def view_file(path: Path, *, port: int = 0, browser: bool = True) -> ViewServer:
    """A server that shows a file, and a browser that is asked to open it."""
    server = ViewServer(path, port)
    if browser:
        # In a thread, since one in the terminal ends only when its user leaves it.
        threading.Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
    return server


def _page() -> dict[str, Path]:
    """The files of the page by the name they are served under."""
    package = Path(__file__).parent
    # In a checkout they stand beside the package, and in an installed one inside.
    for folder in (package / "web", package.parent / "web"):
        if (folder / "index.html").is_file():
            files = {file.name: file for file in folder.iterdir() if file.suffix in TYPES}
            return {"": files["index.html"], **files}
    raise CodecError(
        "this installation lacks the files of the page", remedy="install tcnn_codec again"
    )


class _Handler(BaseHTTPRequestHandler):
    """Nothing but the files of the page and the one file that is shown."""

    server_version = f"tcnn_codec/{__version__}"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, page: dict[str, Path], file: Path, *arguments: object) -> None:
        self._page, self._file = page, file
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        # A page of another site can have its own name lead here, but not change what it is.
        if self.headers.get("Host") not in self._names():
            self.send_error(HTTPStatus.FORBIDDEN, "this server is for this machine alone")
            return
        path = urlsplit(self.path).path
        if path.startswith(FILE):
            source, kind = self._file, "application/octet-stream"
        elif (found := self._page.get(path.removeprefix("/"))) is not None:
            source, kind = found, TYPES[found.suffix]
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there is nothing of that name")
            return
        try:
            content = source.read_bytes()
        except OSError as error:
            self.send_error(HTTPStatus.NOT_FOUND, f"{error.strerror}")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def _names(self) -> set[str]:
        assert isinstance(self.server, ViewServer)
        return {f"{name}:{self.server.server_port}" for name in (ADDRESS, "localhost")}

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the terminal is the user's."""
