"""Labels pictures with an export: each is settled just as the conversion settles it."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.export.foreign_graph import Feeding
from poets_tfr.export.opening import open_export
from poets_tfr.parallel import left_on_interrupt, ordered
from poets_tfr.records import codecs
from poets_tfr.records.codecs import BadPictureError
from poets_tfr.sources.labels import possible_labels
from poets_tfr.sources.remarks import some

log = logging.getLogger('poets_tfr')

_BATCH = 32
_BATCHES_AT_ONCE = 2  # one is read and settled while the other is decoded and labelled


@dataclasses.dataclass(frozen=True)
class Labelled:
    """What became of one picture file.

    scores: float32 [classes], summing to 1; None where the file is no whole picture.
    reason: why there are no scores; else ''.
    is_unlike: whether it is farther from all training pictures than the export allows.
    """

    path: str
    scores: np.ndarray | None
    reason: str = ''
    is_unlike: bool = False


class Labeller:
    """An export, ready to label.

    labels: in the order of the scores.
    places: where a label stands in that order, also by the name that the export itself gives it.
    store_max_side: what larger pictures are scaled down to first, as the training's were; 0: none.
    min_score: the export's own threshold, below which a picture is unsure; 0: none.
    """

    def __init__(self, graph: str, labels: str | None = None, feeding: Feeding | None = None):
        """Opens an export: a frozen graph, a SavedModel folder, a TFLite, Keras or ONNX file.

        Args:
          graph: its path.
          labels: the labels file; not needed where the export carries its labels.
          feeding: for graphs that do not say how they want their pictures.

        Raises:
          InputError: a file is missing or damaged, or they do not belong together.
        """
        named = None if labels is None else _read_labels(labels)
        self._export = open_export(graph, feeding)
        description = self._export.description
        own = list(description.labels) if description else None
        self.store_max_side = description.store_max_side if description else 0
        self.min_score = description.min_score if description else 0.0
        self._likeness = description.likeness if description else None
        if labels is None and own is None:
            raise InputError(f'--labels: {graph} does not carry its labels: name the file of them.')
        if named is not None and own is not None:
            _check_labels(labels or '', named, graph, own)
        self.labels = named or own or []
        self.places = {
            label: place for names in (own or [], self.labels) for place, label in enumerate(names)
        }

    def threshold(self, asked: float | None) -> float:
        """What was asked for; else the export's own, which is told."""
        if asked is not None:
            return asked
        if self.min_score:
            log.warning(
                'NOTE: labels below a score of %.4f are left out, as %s says (--target_precision); '
                '--min_score=0 gives all.', self.min_score, self._export.path,
            )  # fmt: skip
        if self._likeness and not self._export.scores_and_features:
            log.warning(
                'NOTE: %s gives no features, so that images unlike those of the training are not '
                'told (--refuse_unlike): label with the graph for that.', self._export.path,
            )  # fmt: skip
        return self.min_score

    def settled(self, content: bytes) -> Labelled:
        """For the bytes of one picture file. Raises codecs.BadPictureError."""
        (found,) = self.settled_of([content])
        if isinstance(found, BadPictureError):
            raise found
        return found

    def settled_of(self, contents: Sequence[bytes]) -> list[Labelled | BadPictureError]:
        """For the bytes of each picture file, its path not told, or why it has no scores."""
        with codecs.pillow_silenced():
            return self._settled_of(contents)

    def scores(self, content: bytes) -> np.ndarray:
        """float32 [classes], summing to 1, for the bytes of one picture file.

        Raises:
          codecs.BadPictureError: it is no picture, or damaged.
        """
        scores = self.settled(content).scores
        assert scores is not None
        return scores

    def label_files(self, paths: Iterable[str]) -> Iterator[Labelled]:
        """Labels any number of picture files, in their order, a batch at a time."""
        iterator = iter(paths)
        batches = iter(lambda: list(itertools.islice(iterator, _BATCH)), [])
        with codecs.pillow_silenced(), left_on_interrupt(_BATCHES_AT_ONCE) as pool:
            for labelled in ordered(pool, self._label_batch, batches, 2 * _BATCHES_AT_ONCE):
                yield from labelled

    def warm_up(self) -> None:
        """Labels a black picture, so that the first real one does not wait for the set-up."""
        import tensorflow as tf

        self.scores_of_stored([tf.io.encode_jpeg(np.zeros([8, 8, 3], np.uint8)).numpy()])

    def best_first(self, scores: Sequence[float] | np.ndarray) -> list[tuple[str, float]]:
        """(label, score) of every class, the highest score first."""
        order = np.argsort(-np.asarray(scores), kind='stable')
        return [(self.labels[i], float(scores[i])) for i in order]

    def _label_batch(self, paths: Sequence[str]) -> list[Labelled]:
        read = [_read(path) for path in paths]
        contents = [content for content in read if isinstance(content, bytes)]
        settled = iter(self._settled_of(contents))
        found = [next(settled) if isinstance(content, bytes) else content for content in read]
        return [
            Labelled(path, None, str(each))
            if isinstance(each, BadPictureError)
            else dataclasses.replace(each, path=path)
            for path, each in zip(paths, found, strict=True)
        ]

    def _settled_of(self, contents: Sequence[bytes]) -> list[Labelled | BadPictureError]:
        import tensorflow as tf

        settled = [self._settle(content, check=False) for content in contents]
        try:
            return self._scored(settled)
        except tf.errors.InvalidArgumentError:  # damaged data: TensorFlow does not say whose
            checked = [self._settle(content, check=True) for content in contents]
            if checked == settled:
                raise
            return self._scored(checked)

    def _scored(
        self, settled: Sequence[bytes | BadPictureError]
    ) -> list[Labelled | BadPictureError]:
        encoded = [each for each in settled if isinstance(each, bytes)]
        rows = (
            Labelled('', scores, is_unlike=is_unlike)
            for scores, is_unlike in zip(*self._scores_and_unlike(encoded), strict=True)
        )
        return [next(rows) if isinstance(each, bytes) else each for each in settled]

    def _settle(self, content: bytes, check: bool) -> bytes | BadPictureError:
        try:
            return codecs.store(content, max_side=self.store_max_side, check=check).encoded
        except BadPictureError as error:
            return error

    def _scores_and_unlike(self, encoded: Sequence[bytes]) -> tuple[np.ndarray, list[bool]]:
        both = self._export.scores_and_features
        if not (encoded and self._likeness and both):
            return self.scores_of_stored(encoded), [False] * len(encoded)
        scores, features = both(encoded)
        return scores, self._likeness.is_unlike(features).tolist()

    def scores_of_stored(self, encoded: Sequence[bytes]) -> np.ndarray:
        """float32 [n, classes] for the bytes that records hold: `image/encoded`."""
        if not encoded:
            return np.empty([0, len(self.labels)], np.float32)
        scores = self._export.scores(encoded)
        if scores.shape[1] != len(self.labels):
            raise InputError(
                f'--labels: there are {len(self.labels)} labels, but {self._export.path} gives '
                f'{scores.shape[1]} scores: they are of different runs.'
            )
        return scores


def _read(path: str) -> bytes | BadPictureError:
    try:
        return files.read_regular(path)
    except OSError as error:
        return BadPictureError(error.strerror or str(error))


def _read_labels(path: str) -> list[str]:
    """One label a line, whatever an editor did to the ends of lines and of the file."""
    try:
        content = files.read_regular(path)
    except FileNotFoundError:
        raise InputError(f'--labels: {path} not found. Training writes it.') from None
    text = content.decode('utf-8-sig', 'surrogateescape').replace('\r\n', '\n').rstrip('\n')
    return text.split('\n') if text else []


def _check_labels(path: str, labels: Sequence[str], graph: str, own: Sequence[str]) -> None:
    if len(labels) != len(own):
        raise InputError(
            f'--labels: {path} names {len(labels)} labels, but {graph} scores {len(own)}: they are '
            'of different runs.'
        )
    put_right = []
    for line, (found, wanted) in enumerate(zip(labels, own, strict=True), 1):
        if found == wanted:
            continue
        if found in own or wanted not in possible_labels(found):
            raise InputError(
                f'--labels: {path} has {found!r} in line {line}, but {graph} was trained with '
                f'{wanted!r} there: they are of different runs.'
            )
        put_right.append(f'{wanted} -> {found}')
    if put_right:
        log.warning(
            '--labels: %s writes labels otherwise than %s: %d (%s); they are taken as it has them.',
            path, graph, len(put_right), some(put_right),
        )  # fmt: skip
