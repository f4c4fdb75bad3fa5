"""The HTTP server: cheroot, whose threads a slow or silent client does not hold for long."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from cheroot.makefile import StreamReader
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from kerasql.registry.errors import InvalidInput
from kerasql.web.app import LARGEST_BODY

THREADS = 32
WAITING = 1024
CONNECTIONS = 4096
LARGEST_HEADER = 64 * 2**10
PATIENCE_S = 20
"""How long a client may take for a request's head, for the next bytes, and between two requests."""
SLOWEST_BYTES_PER_S = 16_000
"""What of a longer request arrives slower is not waited for."""
LONGEST_S = 300
"""How long a request is waited for in all."""
TLS_HELLO = b"\x16"
PLAIN = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"

log = logging.getLogger("kerasql.web")


class Patient(socket.SocketIO):
    """A socket's bytes, while they come fast enough."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "r")
        self.sock = sock
        self.begin()

    def begin(self) -> None:
        """Here a request begins."""
        self.waited, self.received = 0.0, 0

    def readinto(self, buffer: Any) -> int | None:
        """The next bytes. Raises TimeoutError where they are too late."""
        most = min(PATIENCE_S + self.received / SLOWEST_BYTES_PER_S, LONGEST_S)
        left = most - self.waited
        if left <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(min(left, PATIENCE_S))
        began = time.monotonic()
        try:
            count = super().readinto(buffer)
        finally:
            # What the server does in between is not the client's fault.
            self.waited += time.monotonic() - began
            self.sock.settimeout(PATIENCE_S)
        self.received += count or 0
        return count


class Reader(StreamReader):
    """What cheroot reads requests from."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super(StreamReader, self).__init__(Patient(sock), size)
        self.bytes_read = 0
        self.sock = sock

    def has_data(self) -> bool:
        """Whether bytes have been received that nobody has read."""
        hidden = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
        return hidden or bool(super().has_data())  # type: ignore[no-untyped-call]


class Request(HTTPRequest):
    """A request; its connection ends where the application says so."""

    def send_headers(self) -> None:
        """Send the status and the headers; what is unread of a body is then not waited for."""
        if (b"Connection", b"close") in self.outheaders:
            self.close_connection = True
        super().send_headers()


class Connection(HTTPConnection):
    """A client; its thread begins once it has sent something."""

    RequestHandlerClass = Request

    def __init__(self, server: Any, sock: socket.socket, makefile: Any) -> None:
        super().__init__(server, sock, makefile)
        self.rfile = Reader(sock, self.rbufsize)
        self.greeted = False
        server.connected.add(self)

    def close(self) -> None:
        """End it."""
        self.server.connected.discard(self)
        super().close()

    def communicate(self) -> bool:
        """Answer one request; says whether to wait for another one."""
        self.rfile.raw.begin()
        if isinstance(self.socket, ssl.SSLSocket) and not self.greeted:
            try:
                self.greet(self.socket)
            except OSError as error:
                log.info("a TLS connection from %s ended at its start: %s", self.remote_addr, error)
                return False
        return bool(super().communicate())  # type: ignore[no-untyped-call]

    def greet(self, sock: ssl.SSLSocket) -> None:
        """The TLS handshake; who speaks plain HTTP is told so."""
        if socket.socket.recv(sock, 1, socket.MSG_PEEK) != TLS_HELLO:
            socket.socket.send(sock, PLAIN + b"this server speaks HTTPS; write https://\n")
            raise ConnectionError("it was no TLS")
        sock.do_handshake()
        self.greeted = True


class LaterTLS(BuiltinSSLAdapter):
    """TLS whose handshake is made by the connection's own thread, not by the one that accepts."""

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        """The socket, still to be greeted, and what a request over it says of itself."""
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}


class Listener(Server):
    """cheroot's WSGI server; a connection without a request waits in no thread."""

    ConnectionClass = Connection
    keep_alive_conn_limit = WAITING

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.connected: set[Connection] = set()

    def process_conn(self, conn: Connection) -> None:
        """Have a thread answer, or wait for the first bytes of a connection that is new."""
        if conn.last_used is not None:
            super().process_conn(conn)
        elif len(self.connected) > CONNECTIONS:
            conn.close()
        else:
            self._connections.put(conn)  # type: ignore[attr-defined]

    def error_log(
        self, message: str = "", level: int = logging.INFO, traceback: bool = False
    ) -> None:
        """What cheroot has to say, in the same log."""
        error = sys.exception()
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            # It would say so a thousand times a second, and expire nobody meanwhile.
            log.error("no more files can be opened; idle connections are closed")
            self._connections._expire(time.time() - 1)  # type: ignore[attr-defined]
            time.sleep(1)
        else:
            log.log(level, message.strip(), exc_info=traceback)


def listening(host: str, port: int, certificate: Path | None, key: Path | None) -> Listener:
    """A server that has its port; its application comes later (``wsgi_app``).

    certificate and key are PEM files. Raises InvalidInput where the port cannot be had.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2 * CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < enough:
        most = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    server = Listener(
        (host, port),
        None,
        numthreads=THREADS,
        request_queue_size=WAITING,
        shutdown_timeout=5,
        timeout=PATIENCE_S,
        server_name="kerasql",
    )
    if certificate:
        server.ssl_adapter = LaterTLS(str(certificate), str(key))
    # Without these cheroot reads whatever is sent, before anybody has signed in. The application's
    # own limit is lower, because it says so in a sentence.
    server.max_request_header_size = LARGEST_HEADER
    server.max_request_body_size = 2 * LARGEST_BODY
    try:
        if port:
            # Asked first, because cheroot leaves its socket open when this fails.
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        server.prepare()
    except OSError as error:
        raise InvalidInput(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); give another --port"
        ) from error
    return server
