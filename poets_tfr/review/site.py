"""The page on which is decided, and what it asks.

    GET  /                the page
    GET  /cards           what there is to decide, what was decided, and the token
    GET  /image/NUMBER    an image
    POST /decide          {"image": NUMBER, "action": "right", "relabel" or "leave_out", "label": N}
    POST /undo            takes the last decision back

Both POSTs carry the token of this server's start in the header X-Token, which no other site's page
can read.
"""

from __future__ import annotations

import contextlib
import datetime
import hmac
import json
import secrets
from collections.abc import Iterator
from typing import Any

from werkzeug import Request, Response, exceptions
from werkzeug.routing import Rule

from poets_tfr import serving
from poets_tfr.errors import InputError
from poets_tfr.progress import printable
from poets_tfr.records.corrections import ACTIONS, RELABEL, Correction
from poets_tfr.review.decisions import Decisions, when_shown
from poets_tfr.review.deck import KINDS, Card, Deck

_PAGE = {
    '/': ('index.html', 'text/html; charset=utf-8'),
    '/page.css': ('page.css', 'text/css; charset=utf-8'),
    '/page.js': ('page.js', 'text/javascript; charset=utf-8'),
    '/icon.svg': ('icon.svg', 'image/svg+xml'),
}
_MOST_BYTES = 4096  # of a decision


class ReviewSite(serving.Site):
    """The review of a deck."""

    def __init__(self, deck: Deck, decisions: Decisions, host: str):
        self._deck, self._decisions = deck, decisions
        self._token = secrets.token_urlsafe(32)
        self._when_shown = when_shown(_now)
        rules = [
            *serving.page_rules('poets_tfr.review', _PAGE),
            Rule('/cards', endpoint=self._cards, methods=['GET']),
            Rule('/image/<int:number>', endpoint=self._image, methods=['GET']),
            Rule('/decide', endpoint=self._decide, methods=['POST']),
            Rule('/undo', endpoint=self._undo, methods=['POST']),
        ]
        super().__init__(host, rules, 'There is the page at /, and what it asks.')

    def _cards(self, request: Request) -> Response:
        deck = self._deck
        return serving.as_json(
            {
                'token': self._token,
                'name': deck.records.manifest.dataset_name,
                'table': printable(self._decisions.table),
                'labels': [printable(label) for label in deck.labels],
                'kinds': KINDS,
                'images': [
                    {'path': printable(image.path), 'label': image.label, 'split': image.split}
                    for image in deck.images
                ],
                'cards': [_shown(card) for card in deck.cards],
                **self._decided(),
            }
        )

    def _decided(self) -> dict[str, Any]:
        with _told():
            decided = self._decisions.of_images()
        place = {label: number for number, label in enumerate(self._deck.labels)}
        return {
            'decided': {number: _said(each, place) for number, each in decided.items()},
            'can_undo': self._decisions.can_undo,
        }

    def _image(self, request: Request, number: int) -> Response:
        if number >= len(self._deck.images):
            raise exceptions.NotFound
        with _told():
            content = self._deck.read(number)
        self._when_shown(number)
        kind = 'image/png' if content.startswith(b'\x89PNG') else 'image/jpeg'
        return Response(content, content_type=kind)

    def _decide(self, request: Request) -> Response:
        self._check_token(request)
        number, action, label = self._decision(request)
        with _told():
            self._decisions.decide(number, action, label, self._when_shown(number))
        return serving.as_json(self._decided())

    def _undo(self, request: Request) -> Response:
        self._check_token(request)
        try:
            with _told():
                number = self._decisions.undo()
        except LookupError:
            raise exceptions.Conflict('Nothing was decided since the start.') from None
        return serving.as_json({'undone': number, **self._decided()})

    def _check_token(self, request: Request) -> None:
        given = request.headers.get('X-Token', '').encode('utf-8', 'replace')
        if not hmac.compare_digest(given, self._token.encode()):
            raise exceptions.Forbidden('The page is of another start of the server: load it anew.')

    def _decision(self, request: Request) -> tuple[int, str, str]:
        """(number of the image, action, label), checked."""
        content = serving.body_of(request, _MOST_BYTES, f'{_MOST_BYTES} bytes')
        try:
            value = json.loads(content)
            number, action, label = value['image'], value['action'], value.get('label')
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise exceptions.BadRequest('No decision: image, action and label.') from None
        if not _is_place(number, self._deck.images):
            raise exceptions.BadRequest('There is no such image.')
        if action not in ACTIONS:
            raise exceptions.BadRequest(f'The action must be one of {", ".join(ACTIONS)}.')
        if action != RELABEL:
            return number, action, ''
        if not _is_place(label, self._deck.labels):
            raise exceptions.BadRequest('There is no such label.')
        return number, action, self._deck.labels[label]


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What a person can mend is said on the page."""
    try:
        yield
    except InputError as error:
        raise exceptions.Conflict(str(error)) from None
    except OSError as error:
        raise exceptions.Conflict(f'{error.filename}: {error.strerror}.') from None


def _shown(card: Card) -> dict[str, Any]:
    return {
        'image': card.image,
        'kind': card.kind,
        'said': [printable(said) for said in card.said],
        'suggested': card.suggested,
        'alike': card.alike,
    }


def _said(correction: Correction, place: dict[str, int]) -> dict[str, Any]:
    return {'action': correction.action, 'label': place.get(correction.label)}


def _is_place(value: object, among: list[Any]) -> bool:
    return type(value) is int and 0 <= value < len(among)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
