"""A page on which pictures are dropped and bars appear, and the same for scripts, as JSON.

    GET  /            the page
    GET  /model       what labels: {"graph": ..., "labels": [...], "min_score": ..., ...}
    POST /label       the bytes of one picture file -> {"label": ..., "labels": [...], ...}

Of /model, `made` (ISO 8601) is '' and `tested` null where no report.json beside the graph says it.
Of /label, `closest` has the two best labels, whatever top_k and min_score leave; `clear` is whether
the first has at least twice the second's score.

Nothing is stored.
"""

from __future__ import annotations

import dataclasses
import threading
import time

from werkzeug import Request, Response, exceptions
from werkzeug.routing import Rule

from poets_tfr import serving
from poets_tfr.label import output, provenance
from poets_tfr.label.labeller import Labeller
from poets_tfr.label.settings import ServeConfig
from poets_tfr.progress import printable
from poets_tfr.records.codecs import BadPictureError
from poets_tfr.sources import headers

_PAGE = {
    '/': ('index.html', 'text/html; charset=utf-8'),
    '/page.css': ('page.css', 'text/css; charset=utf-8'),
    '/page.js': ('page.js', 'text/javascript; charset=utf-8'),
    '/icon.svg': ('icon.svg', 'image/svg+xml'),
}
# Pixels take memory: besides one large picture, for which no small one waits, these at once.
_LARGE_PIXELS, _SMALL_AT_ONCE = 25_000_000, 2
_CLEAR = 2  # times the second label's score


class Application(serving.Site):
    """The page that labels."""

    def __init__(self, labeller: Labeller, graph: str, config: ServeConfig):
        self._labeller, self._graph, self._config = labeller, graph, config
        self._min_score = labeller.threshold(config.min_score)
        self._provenance = provenance.of_export(graph)
        self._small_turns = threading.BoundedSemaphore(_SMALL_AT_ONCE)
        self._large_turn = threading.BoundedSemaphore(1)
        rules = [
            *serving.page_rules('poets_tfr.label', _PAGE),
            Rule('/model', endpoint=self._model, methods=['GET']),
            Rule('/label', endpoint=self._label, methods=['POST']),
        ]
        super().__init__(config.host, rules, 'There is the page at /, and POST /label.')

    def _model(self, request: Request) -> Response:
        labels = [printable(label) for label in self._labeller.labels]
        answer = {'graph': self._graph, 'labels': labels, 'min_score': self._min_score}
        return serving.as_json({**answer, **dataclasses.asdict(self._provenance)})

    def _label(self, request: Request) -> Response:
        limit_mib = self._config.max_upload_mib
        if request.mimetype == 'multipart/form-data':
            hint = 'Send the bytes of one image alone, no form: curl --data-binary @PICTURE.'
            raise exceptions.UnsupportedMediaType(hint)
        content = serving.body_of(request, limit_mib << 20, f'{limit_mib} MiB')
        start = time.perf_counter()
        try:
            header = headers.read(content)
            is_large = header.width * header.height > _LARGE_PIXELS
            with self._large_turn if is_large else self._small_turns:
                labelled = self._labeller.settled(content)
        except BadPictureError as error:
            raise exceptions.UnsupportedMediaType(f'No image to label: {error}.') from None
        assert labelled.scores is not None
        best_first = self._labeller.best_first(labelled.scores)
        least = output.least(self._min_score, labelled.is_unlike, self._config.min_score)
        answer = output.as_json(best_first, self._config.top_k, least)
        closest = [{'label': label, 'score': score} for label, score in best_first[:2]]
        clear = best_first[0][1] >= _CLEAR * sum(score for _, score in best_first[1:2])
        told = {'clear': clear, 'closest': closest, 'seconds': time.perf_counter() - start}
        return serving.as_json({**answer, **told})
