"""An HTTPS server on loopback: a folder to read, posts to keep."""

import http.server
import ssl
import threading
from pathlib import Path

import trustme


class Server:
    """Serves `folder` as the host `name`; `posted` is what was posted, answered with `status` and `location`."""

    def __init__(
        self,
        folder: Path,
        ca: trustme.CA,
        *,
        clients: bool = False,
        name: str = "localhost",
        status: int = 204,
        location: str = "",
        port: int = 0,
    ) -> None:
        posted: list[tuple[str, bytes]] = []

        class Quiet(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]  # socketserver's three

            def do_POST(self) -> None:
                posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            ca.configure_trust(context)
        self.name = name
        self.posted = posted
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Quiet)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused client is expected
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"https://{self.name}:{self.port}"

    def __enter__(self) -> "Server":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
