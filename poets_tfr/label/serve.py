"""A page on which pictures are dropped and bars appear, and the same for scripts, as JSON.

    GET  /            the page
    GET  /model       what labels: {"graph": ..., "labels": [...]}
    POST /label       the bytes of one picture file -> {"label": ..., "labels": [...], ...}

Nothing is stored, and nothing is fetched from elsewhere. Errors come as {"error": ...}.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from importlib import resources
from typing import Any
from urllib.parse import SplitResult, urlsplit

from werkzeug import Request, Response, exceptions
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from poets_tfr.errors import InputError
from poets_tfr.label import output
from poets_tfr.label.labeller import Labeller
from poets_tfr.label.settings import ServeConfig
from poets_tfr.progress import printable
from poets_tfr.records.codecs import BadPictureError
from poets_tfr.sockets import PacedReader
from poets_tfr.sources import headers

log = logging.getLogger('poets_tfr')

_PAGE = {
    '/': ('index.html', 'text/html; charset=utf-8'),
    '/page.css': ('page.css', 'text/css; charset=utf-8'),
    '/page.js': ('page.js', 'text/javascript; charset=utf-8'),
    '/icon.svg': ('icon.svg', 'image/svg+xml'),
}
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
)  # how long a picture may come slower than that
_WAITING_CONNECTIONS = 1024
# Pixels take memory: besides one large picture, for which no small one waits, these at once.
_LARGE_PIXELS, _SMALL_AT_ONCE = 25_000_000, 2
_DRAINED_BYTES = 64 << 20  # of a refused upload: a browser shows an answer only once it has sent


class Application:
    """What is answered: WSGI's function of a request."""

    def __init__(self, labeller: Labeller, graph: str, config: ServeConfig):
        self._labeller, self._graph, self._config = labeller, graph, config
        self._small_turns = threading.BoundedSemaphore(_SMALL_AT_ONCE)
        self._large_turn = threading.BoundedSemaphore(1)
        pages = [
            Rule(path, endpoint=functools.partial(_page, *page), methods=['GET'])
            for path, page in _PAGE.items()
        ]
        self._routes = Map([
            *pages,
            Rule('/model', endpoint=self._model, methods=['GET']),
            Rule('/label', endpoint=self._label, methods=['POST']),
        ]).bind('localhost')  # fmt: skip

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        try:
            self._check_sender(request)
            endpoint, _ = self._routes.match(request.path, request.method)
            response = endpoint(request)
        except HTTPException as error:
            response = _refusal(error)
            if request.headers.get('Content-Length'):
                response.call_on_close(functools.partial(_drain, environ['wsgi.input']))
        except Exception:
            log.exception('%s %s', request.method, printable(request.path))
            response = _refusal(exceptions.InternalServerError('It failed: see its terminal.'))
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
        if host in ('localhost', self._config.host.lower(), socket.gethostname().lower()):
            return True
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(host))
        return False

    def _model(self, request: Request) -> Response:
        labels = [printable(label) for label in self._labeller.labels]
        return _json({'graph': self._graph, 'labels': labels})

    def _label(self, request: Request) -> Response:
        content = self._picture(request)
        start = time.perf_counter()
        try:
            header = headers.read(content)
            is_large = header.width * header.height > _LARGE_PIXELS
            with self._large_turn if is_large else self._small_turns:
                scores = self._labeller.scores(content)
        except BadPictureError as error:
            raise exceptions.UnsupportedMediaType(f'No picture to label: {error}.') from None
        best_first = self._labeller.best_first(scores)
        answer = output.as_json(best_first, self._config.top_k, self._config.min_score)
        return _json({**answer, 'seconds': time.perf_counter() - start})

    def _picture(self, request: Request) -> bytes:
        """The bytes that were sent."""
        length, limit_mib = request.headers.get('Content-Length', ''), self._config.max_upload_mib
        if 'Transfer-Encoding' in request.headers or not (length.isascii() and length.isdigit()):
            raise exceptions.LengthRequired('Content-Length is missing or no number.')
        if len(length) > 18 or int(length) > limit_mib << 20:
            raise exceptions.RequestEntityTooLarge(f'Over {limit_mib} MiB.')
        if request.mimetype == 'multipart/form-data':
            hint = 'Send the bytes of one picture alone, no form: curl --data-binary @PICTURE.'
            raise exceptions.UnsupportedMediaType(hint)
        try:
            content = request.environ['wsgi.input'].read(int(length))
        except TimeoutError as error:
            raise exceptions.RequestTimeout(f'The picture came too slowly: {error}.') from None
        if len(content) < int(length):
            raise exceptions.ClientDisconnected
        return content


class Server(ThreadedWSGIServer):
    """Serves an application until it is shut down.

    listening: see `listen`; it may be closed afterwards.
    patience: for how many seconds a client may send next to nothing.
    """

    def __init__(
        self,
        listening: socket.socket,
        host: str,
        application: Application,
        patience: float = _PATIENCE_SECONDS,
    ):
        super().__init__(host, 0, application, _Handler, fd=listening.fileno())
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
        response = _json({'error': printable(message or HTTPStatus(code).phrase)})
        self.send_response(code)
        for name, value in {**_HEADERS, **response.headers, 'Connection': 'close'}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.get_data())

    def log_request(self, code: int | str = '-', size: int | str = '-') -> None:
        self.log('info', '"%s" %s', self.requestline, code)

    def log(self, type: str, message: str, *args: Any) -> None:
        log.debug('%s: %s', self.address_string(), printable(message % args))


def listen(config: ServeConfig) -> socket.socket:
    """Takes the address; who connects from now on waits for the server.

    Raises:
      InputError: nothing can listen there.
    """
    host, port = config.host, config.port
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
                '127.0.0.1 lets this computer alone label, 0.0.0.0 everybody in the network.'
            ) from None
        raise InputError(
            f'--host={host} --port={port}: {error}. Another --port, or 0 for any that is free?'
        ) from None
    return listening


def _page(name: str, kind: str, request: Request) -> Response:
    return Response(
        (resources.files('poets_tfr.label') / 'page' / name).read_bytes(), content_type=kind
    )


def _json(value: Any) -> Response:
    return Response(json.dumps(value), content_type='application/json')


def _refusal(error: HTTPException) -> Response:
    text = error.description or HTTPStatus(error.code or 500).phrase
    if isinstance(error, exceptions.NotFound):
        text = 'There is the page at /, and POST /label.'
    response = _json({'error': printable(text)})
    response.status_code = error.code or 500
    if isinstance(error, exceptions.MethodNotAllowed):
        response.headers['Allow'] = ', '.join(error.valid_methods or ())
    return response


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
