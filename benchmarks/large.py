"""Pictures of 12 megapixels, as phones take them: 4,032 x 3,024, some 3.4 MB each."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import io
import os
import shutil
import tempfile
from functools import partial

import numpy as np

from benchmarks.data import Data
from benchmarks.measuring import Row, Work, against, compare, median_rates
from benchmarks.peers import decode_only
from poets_tfr import files, parallel
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.extraction.extract import Extraction
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.records import conversion
from poets_tfr.records.reading import Records
from poets_tfr.sources.listing import list_images
from tools import drawing

_IMAGES_S = 'images/s'
_CLASSES, _PER_CLASS = 5, 24
_WIDTH = 4032
_QUALITY = 90
_MAX_SIDE = 1024
_REPEATS = 3


def large(
    data: Data, per_class: int = _PER_CLASS, width: int = _WIDTH, repeats: int = _REPEATS
) -> list[Row]:
    """Conversion with and without --store_max_side, and features from records of both."""
    photos = os.path.join(data.work_dir, f'phone-photos-{width}')
    write_phone_photos(photos, per_class, width)
    data = dataclasses.replace(data, images=photos)
    work = tempfile.mkdtemp(dir=data.work_dir)
    rows = [
        row
        for measure in (_scaling, _converting, _features)
        for row in measure(data, work, repeats)
    ]
    shutil.rmtree(work)
    return rows


def write_phone_photos(directory: str, per_class: int, width: int) -> None:
    """Four of each drawing: as it is, mirrored, upside down, and both. Keeps what stands.

    Drawn at half the size: as with a phone's pictures, pixels are not as sharp as they are many.
    """
    for number in range(_CLASSES):
        name = f'class_{number:02d}'
        for first in range(0, per_class, 4):
            turns = min(4, per_class - first)
            paths = [f'{directory}/{name}/{name}_{first + turn:04d}.jpg' for turn in range(turns)]
            if all(map(os.path.exists, paths)):
                continue
            half = drawing.draw_photo_like(
                drawing.picture_rng(0, name, first), width=width // 2, height=width * 3 // 8
            )
            for turn, path in enumerate(paths):
                files.write_bytes(path, _as_a_phone_writes(half[:: (1, -1)[turn // 2]], turn % 2))


def _as_a_phone_writes(half: np.ndarray, mirrored: int) -> bytes:
    from PIL import Image

    height, width, _ = half.shape
    pixels = np.ascontiguousarray(half[:, ::-1] if mirrored else half)
    photo = Image.fromarray(pixels).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    photo.save(content, 'JPEG', quality=_QUALITY)
    return content.getvalue()


def _scaling(data: Data, work: str, repeats: int) -> list[Row]:
    """On as many threads as ours, and like ours into one file, so that the disk says nothing."""
    peer = 'Pillow: draft, thumbnail, save'
    return _compare_conversions(
        f'convert 12 MP to {_MAX_SIDE} px', data, work, repeats, _MAX_SIDE,
        {peer: partial(_thumbnails, data.paths, os.path.join(work, 'thumbnails'))}, {peer: 1.0},
    )  # fmt: skip


def _converting(data: Data, work: str, repeats: int) -> list[Row]:
    peer = 'decode only, all cores'
    peers = {peer: decode_only(data.paths)}
    return _compare_conversions('convert 12 MP', data, work, repeats, 0, peers, {peer: 0.85})


def _compare_conversions(
    row: str,
    data: Data,
    work: str,
    repeats: int,
    max_side: int,
    peers: dict[str, Work],
    goals: dict[str, float],
) -> list[Row]:
    records_dir = os.path.join(work, 'records')
    config = dataclasses.replace(data.conversion(records_dir), store_max_side=max_side)
    listing = list_images(config)

    def ours() -> int:
        conversion.convert(config, listing)
        return len(listing.pictures)

    clear = partial(shutil.rmtree, records_dir, ignore_errors=True)
    return compare(row, _IMAGES_S, ours, peers, goals, repeats=repeats, clear=clear)


def _features(data: Data, work: str, repeats: int) -> list[Row]:
    """From records as large as they are, and from records scaled down."""
    network, config = data.mobilenet(), data.mobilenet_config()
    scaled = dataclasses.replace(
        data.conversion(os.path.join(work, 'scaled')), store_max_side=_MAX_SIDE
    )
    conversion.convert(scaled, list_images(scaled))
    peer, as_they_are = 'decode only, all cores', 'records of 12 MP'
    stored = {as_they_are: data.records, '': Records.open(scaled.records_dir)}
    sides = {name: _extraction(records, network, config, work) for name, records in stored.items()}
    # More rounds, for the ratio lies a hundredth from its goal.
    rates = median_rates({**sides, peer: decode_only(data.paths)}, repeats + 2)
    whole, small = rates[as_they_are], rates['']
    name = f'features {network.name}, 12 MP'
    return [
        against(name, _IMAGES_S, whole, peer, rates[peer], {peer: 0.9}),
        against(f'{name} at {_MAX_SIDE} px', _IMAGES_S, small, as_they_are, whole),
    ]


def _extraction(records: Records, network: Backbone, config: BackboneConfig, work: str) -> Work:
    def extract() -> int:
        cache = ExtractionConfig(bottleneck_dir=tempfile.mkdtemp(dir=work))
        return sum(map(len, Extraction(records, network, cache, config.xla).features().values()))

    return extract


def _thumbnails(paths: list[str], target: str) -> int:
    with (
        open(target, 'wb') as file,
        concurrent.futures.ThreadPoolExecutor(parallel.decoding_threads()) as pool,
        contextlib.closing(parallel.ordered(pool, _thumbnail, paths, 8)) as thumbnails,
    ):
        return sum(bool(file.write(each)) for each in thumbnails)


def _thumbnail(path: str) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    with Image.open(path) as image:
        image.draft('RGB', (_MAX_SIDE, _MAX_SIDE))
        image.thumbnail((_MAX_SIDE, _MAX_SIDE), reducing_gap=2)
        image.save(content, 'JPEG', quality=95)
    return content.getvalue()
