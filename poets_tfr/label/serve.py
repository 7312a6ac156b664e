"""A page on which pictures are dropped and bars appear, and the same for scripts, as JSON.

    GET  /            the page
    GET  /model       what labels: {"graph": ..., "labels": [...]}
    POST /label       the bytes of one picture file -> {"label": ..., "labels": [...], ...}

Nothing is stored, and nothing is fetched from elsewhere. Errors come as {"error": ...}.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from poets_tfr import progress
from poets_tfr.errors import InputError
from poets_tfr.label import output
from poets_tfr.label.labeller import Labeller
from poets_tfr.label.settings import ServeConfig
from poets_tfr.records.codecs import BadPictureError

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
_SECONDS_TO_SEND_A_PICTURE = 60
_LABELLED_AT_ONCE = 2  # each may hold a large picture in memory
_DRAINED_BYTES = 64 << 20  # of a refused upload: a browser shows an answer only once it has sent


class Server(ThreadingHTTPServer):
    """Serves one labeller until it is shut down."""

    daemon_threads = True

    def __init__(self, labeller: Labeller, graph: str, config: ServeConfig):
        """Listens from here on. Raises InputError when the address cannot be had."""
        self.labeller, self.graph, self.config = labeller, graph, config
        self.turns = threading.BoundedSemaphore(_LABELLED_AT_ONCE)
        if ':' in config.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((config.host, config.port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f'--host={config.host} --port={config.port}: {error}. Another --port, or 0 for '
                'any that is free?'
            ) from None

    @property
    def url(self) -> str:
        host = f'[{self.config.host}]' if ':' in self.config.host else self.config.host
        return f'http://{host}:{self.server_port}/'

    def serves(self, host_header: str) -> bool:
        """Whether a request was meant for this server.

        A page of somebody else's can make a browser ask us under a name of his (DNS rebinding),
        but not under an address, under localhost or under the name that we were given.
        """
        host = urlsplit(f'//{host_header}').hostname or ''
        if host in ('localhost', self.config.host.lower(), socket.gethostname().lower()):
            return True
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(host))
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error of ours."""
        log.debug('%s: the connection broke.', client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'poets_tfr', ''
    timeout = _SECONDS_TO_SEND_A_PICTURE

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        path = urlsplit(self.path).path
        if path in _PAGE:
            name, kind = _PAGE[path]
            folder = resources.files('poets_tfr.label') / 'page'
            self._answer(HTTPStatus.OK, (folder / name).read_bytes(), kind)
        elif path == '/model':
            labels = [progress.printable(label) for label in self.server.labeller.labels]
            self._answer_json(HTTPStatus.OK, {'graph': self.server.graph, 'labels': labels})
        else:
            self._refuse(HTTPStatus.NOT_FOUND, 'There is the page at /, and POST /label.')

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        if urlsplit(self.path).path != '/label':
            self._refuse(HTTPStatus.NOT_FOUND, 'Pictures are posted to /label.')
            return
        content = self._body()
        if content is None:
            return
        if self.headers.get_content_type() == 'multipart/form-data':
            hint = 'Send the bytes of one picture alone, no form: curl --data-binary @PICTURE.'
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, hint)
            return
        start = time.perf_counter()
        try:
            with self.server.turns:
                scores = self.server.labeller.scores(content)
        except BadPictureError as error:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f'No picture to label: {error}.')
            return
        answer = self._labelled(scores)
        self._answer_json(HTTPStatus.OK, {**answer, 'seconds': time.perf_counter() - start})

    def _labelled(self, scores: np.ndarray) -> dict[str, Any]:
        config = self.server.config
        best_first = self.server.labeller.best_first(scores)
        return output.as_json(best_first, config.top_k, config.min_score)

    def _is_allowed(self) -> bool:
        """Refuses what another site's page made a browser ask."""
        host, origin = self.headers.get('Host', ''), self.headers.get('Origin')
        if not self.server.serves(host):
            self._refuse(HTTPStatus.FORBIDDEN, f'{host!r} is not a name of this server.')
            return False
        if origin is not None and urlsplit(origin).netloc != host:
            self._refuse(HTTPStatus.FORBIDDEN, f'{origin!r} is another site.')
            return False
        return True

    def _body(self) -> bytes | None:
        length = self.headers.get('Content-Length', '')
        limit = self.server.config.max_upload_mib << 20
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, 'Content-Length is missing.')
        elif int(length) > limit:
            self._drain(int(length))
            limit_mib = self.server.config.max_upload_mib
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f'Over {limit_mib} MiB.')
        else:
            content = self.rfile.read(int(length))
            if len(content) == int(length):
                return content
            self.close_connection = True
        return None

    def _drain(self, length: int) -> None:
        left = min(length, _DRAINED_BYTES)
        while left and (block := self.rfile.read(min(left, 1 << 20))):
            left -= len(block)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self.close_connection = True  # a body that was not read would be taken for a request
        self._answer_json(status, {'error': progress.printable(text)})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses."""
        status = HTTPStatus(code)
        self._refuse(status, message or status.phrase)

    def _answer_json(self, status: HTTPStatus, value: Any) -> None:
        self._answer(status, json.dumps(value).encode(), 'application/json')

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {'Content-Type': kind, 'Content-Length': str(len(content)), **_HEADERS}
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug('%s: %s', self.address_string(), progress.printable(format % args))
