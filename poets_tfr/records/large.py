"""What storing large pictures scaled down would bring, told to whoever stores them as they are."""

from __future__ import annotations

import contextlib
import logging

from poets_tfr import parallel
from poets_tfr.errors import InputError
from poets_tfr.records import codecs
from poets_tfr.records.reading import Records
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources import headers

log = logging.getLogger('poets_tfr')

LARGE = 4_000_000  # pixels
ADVISED_SIDE = 1024
PIXELS_A_SECOND = 180e6  # that one core decodes, of JPEGs of 12 megapixels
_LEAST_BYTES = LARGE // 50  # no photo of so many pixels is smaller
_LOOKED_AT, _SCALED = 8, 3


def advise(config: ConversionConfig) -> None:
    """One line, if new records hold pictures of more than `LARGE` pixels on average.

    A few of them are looked at, and some of these scaled down, which takes a third of a second.
    """
    if not config.store_max_side:
        with codecs.pillow_silenced(), contextlib.suppress(InputError):  # replaced meanwhile
            _advise(Records.open(config.records_dir))


def _advise(records: Records) -> None:
    pictures = sum(records.splits.values())
    stored = sum(
        shard.bytes for split in records.manifest.splits.values() for shard in split.shards
    )
    if not pictures or stored / pictures < _LEAST_BYTES:
        return
    contents = _some(records)
    before = [headers.read(content) for content in contents]
    pixels = sum(header.width * header.height for header in before) / len(before)
    if pixels <= LARGE:
        return
    after = [codecs.store(content, ADVISED_SIDE, check=False) for content in contents[:_SCALED]]
    share = sum(len(each.encoded) for each in after) / sum(map(len, contents[:_SCALED]))
    smaller = sum(each.width * each.height for each in after) / len(after)
    log.info(
        'The images are large: %.1f megapixels on average. With --store_max_side=%d the records '
        'would take about %s MB in place of %s, and decoding them all %s s in place of %s (on %d '
        'cores).',
        pixels / 1e6, ADVISED_SIDE, _rounded(stored * share / 1e6), _rounded(stored / 1e6),
        *(_rounded(_seconds(each * pictures)) for each in (smaller, pixels)), parallel.cores(),
    )  # fmt: skip


def _some(records: Records) -> list[bytes]:
    """Up to `_LOOKED_AT` pictures of the largest split: its shards are in the order of a hash."""
    split = records[max(records.splits, key=records.splits.__getitem__)]
    return split.read_each(range(min(_LOOKED_AT, len(split))))


def _seconds(pixels: float) -> float:
    return pixels / (PIXELS_A_SECOND * parallel.cores())


def _rounded(value: float) -> str:
    """Two digits say all that an estimate knows."""
    return f'{float(f"{value:.2g}"):,.10g}'
