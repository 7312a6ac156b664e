"""What whoever uses an export needs to know. It travels inside every export, as JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from poets_tfr.backbones.frozen import Backbone
from poets_tfr.errors import InputError
from poets_tfr.export.likeness import Likeness
from poets_tfr.pictures.preprocess import Preprocessing

FORMAT = 'poets_tfr graph 1'
FILE = 'poets_tfr.json'  # its name in the exports that are made of files
_DIGEST = 'sha256'  # of a whole export, in the description that it carries
_KERAS = 'keras'  # the version that reads a .keras file, this or a newer one; in that file alone
_WHERE_ASKED_FOR = 'temperature', 'min_score', 'likeness'  # else not a bit of an export changes


@dataclasses.dataclass(frozen=True)
class Description:
    """labels: in the order of the scores. output_tensor: of the frozen graph.

    store_max_side: the conversion's; pictures are scaled down to it before they are labelled, too.
    temperature: what the trained head was divided by (--calibrate), so that scores are calibrated.
    likeness: what a picture is unlike all training pictures by (--refuse_unlike); None: not known.
    min_score: below it an image is unsure (--target_precision), unless something else is asked for.
    """

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    output_tensor: str
    architecture: str
    weights_digest: str
    store_max_side: int = 0
    temperature: float = 1.0
    min_score: float = 0.0
    likeness: Likeness | None = None

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        labels: Sequence[str],
        final_tensor_name: str = 'final_result',
        store_max_side: int = 0,
    ) -> Description:
        return cls(
            labels=tuple(labels),
            preprocessing=backbone.preprocessing,
            output_tensor=f'{final_tensor_name}:0',
            architecture=backbone.name,
            weights_digest=backbone.digest,
            store_max_side=store_max_side,
        )

    def to_json(self, keras: str = '') -> str:
        needed = {_KERAS: keras} if keras else {}
        value = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if field.name in _WHERE_ASKED_FOR and value[field.name] == field.default:
                del value[field.name]
        return json.dumps({'format': FORMAT, **needed, **value}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, path: str) -> Description:
        """What the export at `path` holds. Raises InputError when it cannot be read."""
        try:
            value = json.loads(text)
            if value.pop('format') != FORMAT:
                raise ValueError(f'not {FORMAT}')
            for name in _DIGEST, _KERAS:
                value.pop(name, None)
            preprocessing = Preprocessing.from_json(value.pop('preprocessing'))
            labels = tuple(value.pop('labels'))
            if 'likeness' in value:
                value['likeness'] = Likeness(**value['likeness'])
            description = cls(labels=labels, preprocessing=preprocessing, **value)
            if not (description.temperature > 0 and 0 <= description.min_score <= 1):
                raise ValueError('temperature or min_score')
            return description
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'--graph: {path} was written by another version of this program, or is damaged '
                f'({error!r}): train again.'
            ) from None

    def labels_txt(self) -> bytes:
        """One label a line, in the order of the scores."""
        text = ''.join(f'{label}\n' for label in self.labels)
        return text.encode('utf-8', 'surrogateescape')


def sealed(text: str | bytes, whole: Callable[[str], bytes]) -> bytes:
    """An export whose description says what the rest of it, and of itself, has to be.

    Args:
      text: the description, as JSON.
      whole: gives the export with the description that it is told; the same bytes every time.
    """
    value = _without_digest(text)
    digest = _digest(value, whole)
    return whole(json.dumps({**value, _DIGEST: digest}, sort_keys=True))


def check_seal(text: str | bytes, whole: Callable[[str], bytes], path: str) -> None:
    """Raises InputError unless the export is what `sealed` made; version 0.1 did not seal."""
    sealed_as = json.loads(text).get(_DIGEST)
    if sealed_as is not None and sealed_as != _digest(_without_digest(text), whole):
        raise InputError(
            f'--graph: {path} is damaged, or was changed after it was written: it does not match '
            'the digest that it holds. Copy it again, or train again.'
        )


def _without_digest(text: str | bytes) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if name != _DIGEST}


def _digest(value: dict[str, Any], whole: Callable[[str], bytes]) -> str:
    return hashlib.sha256(whole(json.dumps(value, sort_keys=True))).hexdigest()
