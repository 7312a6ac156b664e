"""Pages that this computer serves: who may ask, what every answer carries, how long to wait.

Nothing is fetched from elsewhere. Errors come as {"error": ...}.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import ipaddress
import json
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib import resources
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from werkzeug import Request, Response, exceptions
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.sockets import PacedReader

log = logging.getLogger('poets_tfr')

_HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
}
_PATIENCE_SECONDS, _BYTES_PER_SECOND = (
    15.0,
    10_000.0,
)  # how long a body may come slower than that
_WAITING_CONNECTIONS = 1024
_DRAINED_BYTES = 64 << 20  # of a refused upload: a browser shows an answer only once it has sent


class Address(Protocol):
    """Where to listen: a name or an address of this computer, and a port; 0: any that is free."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Site:
    """What is answered: WSGI's function of a request.

    An endpoint is called with the request and with what its rule has found in the path.
    """

    def __init__(self, host: str, rules: Sequence[Rule], what_there_is: str):
        """what_there_is: said to who asks for something else."""
        self._host, self._what_there_is = host, what_there_is
        self._routes = Map(rules).bind('localhost')

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        try:
            self._check_sender(request)
            endpoint, found = self._routes.match(request.path, request.method)
            response = endpoint(request, **found)
        except HTTPException as error:
            response = self._refusal(error)
            if request.headers.get('Content-Length'):
                response.call_on_close(functools.partial(_drain, environ['wsgi.input']))
        except Exception:
            log.exception('%s %s', request.method, printable(request.path))
            response = self._refusal(exceptions.InternalServerError('It failed: see its terminal.'))
        response.headers.update(_HEADERS)
        return response(environ, start_response)

    def _check_sender(self, request: Request) -> None:
        """Refuses what another site's page made a browser ask."""
        host, origin = request.headers.get('Host', ''), request.headers.get('Origin')
        if not self._is_ours(_split(f'//{host}').hostname or ''):
            raise exceptions.Forbidden(f'{host!r} is not a name of this server.')
        if origin is not None and _split(origin).netloc != host:
            raise exceptions.Forbidden(f'{origin!r} is another site.')

    def _is_ours(self, host: str) -> bool:
        """Whether a request to `host` was meant for this server.

        A page of somebody else's can make a browser ask us under a name of his (DNS rebinding),
        but not under an address, under localhost or under the name that we were given.
        """
        if host in ('localhost', self._host.lower(), socket.gethostname().lower()):
            return True
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(host))
        return False

    def _refusal(self, error: HTTPException) -> Response:
        text = error.description or HTTPStatus(error.code or 500).phrase
        if isinstance(error, exceptions.NotFound):
            text = self._what_there_is
        response = as_json({'error': printable(text)})
        response.status_code = error.code or 500
        if isinstance(error, exceptions.MethodNotAllowed):
            response.headers['Allow'] = ', '.join(error.valid_methods or ())
        return response


class Server(ThreadedWSGIServer):
    """Serves a site until it is shut down.

    listening: see `listen`; it may be closed afterwards.
    patience: for how many seconds a client may send next to nothing.
    """

    def __init__(
        self,
        listening: socket.socket,
        host: str,
        site: Site,
        patience: float = _PATIENCE_SECONDS,
    ):
        super().__init__(host, 0, site, _Handler, fd=listening.fileno())
        self.patience = patience

    @property
    def url(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'http://{host}:{self.port}/'

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error of ours."""
        log.debug('%s: the connection broke.', client_address, exc_info=True)


class _Handler(WSGIRequestHandler):
    server_version, sys_version = 'poets_tfr', ''
    server: Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.patience)
        self.rfile.close()
        self.rfile = io.BufferedReader(PacedReader(self.connection, _BYTES_PER_SECOND))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, before there is a request."""
        response = as_json({'error': printable(message or HTTPStatus(code).phrase)})
        self.send_response(code)
        for name, value in {**_HEADERS, **response.headers, 'Connection': 'close'}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.get_data())

    def log_request(self, code: int | str = '-', size: int | str = '-') -> None:
        self.log('info', '"%s" %s', self.requestline, code)

    def log(self, type: str, message: str, *args: Any) -> None:
        log.debug('%s: %s', self.address_string(), printable(message % args))


def listen(address: Address) -> socket.socket:
    """Takes the address; who connects from now on waits for the server.

    Raises:
      InputError: nothing can listen there.
    """
    host, port = address.host, address.port
    listening = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(_WAITING_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        listening.close()
        if isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL:
            raise InputError(
                f'--host={host}: {error}. It must be an address or a name of this computer: '
                '127.0.0.1 is for this computer alone, 0.0.0.0 for everybody in the network.'
            ) from None
        raise InputError(
            f'--host={host} --port={port}: {error}. Another --port, or 0 for any that is free?'
        ) from None
    return listening


def open_in_browser(url: str) -> None:
    """Where a person sits before a browser: in a terminal, which is not that of a remote login.

    Without a desktop, nothing is opened: else a browser of text would take the terminal.
    """
    if not sys.stdout.isatty() or os.environ.get('SSH_CONNECTION'):
        return
    has_desktop = os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')
    if has_desktop or sys.platform != 'linux':
        # Beside the server: some browsers return only when they are closed.
        threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()


def page_rules(package: str, page: Mapping[str, tuple[str, str]]) -> list[Rule]:
    """Rules for the files of a page: path -> its name in the package's folder `page`, its type."""
    return [
        Rule(path, endpoint=functools.partial(_file, package, *file), methods=['GET'])
        for path, file in page.items()
    ]


def body_of(request: Request, limit: int, told_limit: str) -> bytes:
    """The bytes that were sent, `limit` at most. Raises HTTPException."""
    length = request.headers.get('Content-Length', '')
    if 'Transfer-Encoding' in request.headers or not (length.isascii() and length.isdigit()):
        raise exceptions.LengthRequired('Content-Length is missing or no number.')
    if len(length) > 18 or int(length) > limit:
        raise exceptions.RequestEntityTooLarge(f'Over {told_limit}.')
    try:
        content: bytes = request.environ['wsgi.input'].read(int(length))
    except TimeoutError as error:
        raise exceptions.RequestTimeout(f'It came too slowly: {error}.') from None
    if len(content) < int(length):
        raise exceptions.ClientDisconnected
    return content


def as_json(value: Any) -> Response:
    return Response(json.dumps(value), content_type='application/json')


def _file(package: str, name: str, kind: str, request: Request) -> Response:
    return Response((resources.files(package) / 'page' / name).read_bytes(), content_type=kind)


def _split(url: str) -> SplitResult:
    """The parts of what a browser or a stranger sent; empty where it is no URL."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit('')


def _drain(incoming: io.BufferedReader) -> None:
    left = _DRAINED_BYTES
    with contextlib.suppress(OSError):
        while left > 0 and (block := incoming.read1(1 << 20)):
            left -= len(block)
