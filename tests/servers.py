"""Real HTTP servers on 127.0.0.1, well-behaved and not.

::

    with Server({"/a file.txt": b"content"}) as server:
        server.behave("/a file.txt", truncated(3), times=1)
        fetch(server.url + "/a%20file.txt")
        assert server.log[0].path == "/a file.txt"

Paths are unquoted ones in ``files``, ``behave`` and the log.
"""

import contextlib
import datetime
import gzip
import ipaddress
import itertools
import os
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Files = Mapping[str, bytes | Callable[[], bytes]] | Path
Behaviour = Callable[["Handler", bytes | None], None]


class Request(NamedTuple):
    path: str
    headers: dict[str, str]  # names in lower case
    connection: int  # requests with the same number came over the same connection


class Server:
    """Serves a directory, or a mapping from paths to content or to functions that return it.

    Args:
        files: what to serve; a mapping may be changed at any time.
        tls: a context to serve HTTPS with.
    """

    def __init__(self, files: Files, tls: ssl.SSLContext | None = None) -> None:
        self.files = files
        self.log: list[Request] = []
        self.stopped = threading.Event()
        self._tls = tls
        self._behaviours: dict[str, tuple[Behaviour, int | None]] = {}
        self._lock = threading.Lock()
        self._connections = itertools.count(1)

    def __enter__(self) -> "Server":
        server = self

        class Bound(Handler):
            world = server

        self._server = _HTTPServer(("127.0.0.1", 0), Bound)
        if self._tls:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Close all connections that are open."""
        self._server.close_connections()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.log]

    @property
    def connections(self) -> int:
        """How many connections carried requests."""
        return len({request.connection for request in self.log})

    def behave(self, path: str, behaviour: Behaviour, times: int | None = None) -> None:
        """Answer requests for ``path`` ("*" for any) like that: always, or the next few times."""
        self._behaviours[path] = behaviour, times

    def content(self, path: str) -> bytes | None:
        if isinstance(self.files, Path):
            file = (self.files / path.lstrip("/")).resolve()
            inside = file.is_relative_to(self.files.resolve())
            return file.read_bytes() if inside and file.is_file() else None
        found = self.files.get(path)
        return found() if callable(found) else found

    def behaviour(self, path: str) -> Behaviour:
        with self._lock:
            for name in (path, "*"):
                behaviour, times = self._behaviours.get(name, (good, 0))
                if times != 0:
                    self._behaviours[name] = behaviour, None if times is None else times - 1
                    return behaviour
        return good

    def next_connection(self) -> int:
        return next(self._connections)


class Proxy(Server):
    """An HTTP proxy, which forwards requests and tunnels connections; its log has whole URLs."""

    def __init__(self) -> None:
        super().__init__({})

    def content(self, path: str) -> bytes | None:
        return None

    def behaviour(self, path: str) -> Behaviour:
        return forward


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients hang up on bad servers


class Handler(BaseHTTPRequestHandler):
    """What behaviours answer through: ``start``, ``write``, ``pause``, ``send``."""

    world: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._number = self.world.next_connection()

    def do_GET(self) -> None:
        whole = self.path.startswith("http")
        path = self.path if whole else unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.world.log.append(Request(path, headers, self._number))
        self.world.behaviour(path)(self, self.world.content(path))

    def do_CONNECT(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.world.log.append(Request(self.path, headers, self._number))
        tunnel(self)

    def start(self, status: int, length: int | None, **headers: str) -> None:
        """Send the head of an answer; underscores in names become hyphens."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def write(self, data: bytes) -> None:
        self.wfile.write(data)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.start(status, len(body), **headers)
        self.write(body)

    def pause(self, seconds: float) -> None:
        if self.world.stopped.wait(seconds):
            raise ConnectionAbortedError

    def hang_up(self, *, reset: bool = False) -> None:
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def range_start(self) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(match[1]) if match else 0

    def log_message(self, *_: object) -> None:
        pass


# Behaviours


def good(handler: Handler, body: bytes | None) -> None:
    start = handler.range_start()
    if body is None:
        handler.send(404, b"not found")
    elif start and start >= len(body):
        handler.send(416, b"", Content_Range=f"bytes */{len(body)}")
    elif start:
        part = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.send(206, body[start:], Content_Range=part)
    else:
        handler.send(200, body)


def ignore_range(handler: Handler, body: bytes | None) -> None:
    handler.send(200, body or b"")


def wrong_range(content_range: str | None) -> Behaviour:
    """Answer a range request with the whole body, as if it were a part."""

    def behave(handler: Handler, body: bytes | None) -> None:
        if not handler.range_start():
            good(handler, body)
        elif content_range is None:
            handler.send(206, body or b"")
        else:
            handler.send(206, body or b"", Content_Range=content_range)

    return behave


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    return lambda handler, _: handler.send(code, body, **headers)


def redirect(location: str) -> Behaviour:
    """To its own path: a circle."""
    return status(302, b"gone elsewhere", Location=location)


def too_much(extra: int) -> Behaviour:
    """A body that is longer than the right one."""
    return lambda handler, body: handler.send(200, (body or b"") + b"x" * extra)


def endless(code: int = 200, block: bytes = b"x" * 65536, **headers: str) -> Behaviour:
    """A body without end."""

    def behave(handler: Handler, _: bytes | None) -> None:
        handler.start(code, None, Connection="close", **headers)
        while True:
            handler.write(block)

    return behave


def endless_headers(handler: Handler, _: bytes | None) -> None:
    """Interim answers without end; no header or answer is long."""
    while True:
        handler.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_trailer(handler: Handler, body: bytes | None) -> None:
    """A chunked body with trailing headers without end."""
    body = body or b""
    handler.start(200, None, Transfer_Encoding="chunked")
    handler.write(b"%x\r\n%b\r\n0\r\n" % (len(body), body))
    while True:
        handler.write(b"X-More: x\r\n" * 1000)


def chunked(size: int) -> Behaviour:
    """The right body in chunked transfer encoding."""

    def behave(handler: Handler, body: bytes | None) -> None:
        body = body or b""
        handler.start(200, None, Transfer_Encoding="chunked")
        for i in range(0, len(body), size):
            piece = body[i : i + size]
            handler.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        handler.write(b"0\r\n\r\n")

    return behave


def truncated(count: int) -> Behaviour:
    """Announce the whole body, send ``count`` bytes of what was asked for, and close."""

    def behave(handler: Handler, body: bytes | None) -> None:
        body = body or b""
        start = handler.range_start()
        if start:
            part = f"bytes {start}-{len(body) - 1}/{len(body)}"
            handler.start(206, len(body) - start, Content_Range=part)
        else:
            handler.start(200, len(body))
        handler.write(body[start : start + count])
        handler.hang_up()

    return behave


def drip_body(seconds: float, size: int = 1, first: int = 0) -> Behaviour:
    """Send ``first`` bytes of the body, then ``size`` at a time, with a pause before each."""

    def behave(handler: Handler, body: bytes | None) -> None:
        body = body or b""
        handler.start(200, len(body))
        handler.write(body[:first])
        for i in range(first, len(body), size):
            handler.pause(seconds)
            handler.write(body[i : i + size])

    return behave


def drip_headers(seconds: float) -> Behaviour:
    """Send a byte of a head without end at a time."""

    def behave(handler: Handler, _: bytes | None) -> None:
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX-Slow: ", itertools.repeat(ord("x"))):
            handler.write(bytes([byte]))
            handler.pause(seconds)

    return behave


def late(seconds: float) -> Behaviour:
    """Think first, then answer well."""

    def behave(handler: Handler, body: bytes | None) -> None:
        handler.pause(seconds)
        good(handler, body)

    return behave


def gzipped(handler: Handler, body: bytes | None) -> None:
    """Compress, though nobody asked for it."""
    handler.send(200, gzip.compress(body or b"", mtime=0), Content_Encoding="gzip")


def reset_in_body(handler: Handler, body: bytes | None) -> None:
    """Break the connection after the body, where only its end would show that it is whole."""
    handler.start(200, None, Connection="close")
    handler.write(body or b"")
    handler.hang_up(reset=True)


def reset(handler: Handler, _: bytes | None) -> None:
    """Break the connection before the answer."""
    handler.hang_up(reset=True)


def not_http(handler: Handler, _: bytes | None) -> None:
    handler.write(b"\x00\xff this is no HTTP\r\n\r\n")
    handler.hang_up()


def forward(handler: Handler, _: bytes | None) -> None:
    """Pass a request on, as a proxy."""
    parts = urlsplit(handler.path)
    upstream = HTTPConnection(parts.netloc)
    upstream.request("GET", parts.path)
    response = upstream.getresponse()
    handler.send(response.status, response.read())
    upstream.close()


def tunnel(handler: Handler) -> None:
    """Connect a client with the host that it wants, as a proxy."""
    host, _, port = handler.path.rpartition(":")
    with socket.create_connection((host, int(port))) as upstream:
        handler.start(200, None)
        ends = {handler.connection: upstream, upstream: handler.connection}
        while True:
            for end in select.select(list(ends), [], [])[0]:
                data = end.recv(65536)
                if not data:
                    handler.hang_up()
                    return
                ends[end].sendall(data)


def self_signed(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1; return its file, and a context for a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file = directory / "certificate.pem"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file = directory / "key.pem"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return certificate_file, context
