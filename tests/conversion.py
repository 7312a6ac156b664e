"""Picture folders to convert, and what a conversion wrote."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import colours
import pytest

from poets_tfr.records import conversion
from poets_tfr.records.manifest import INDEX_SUFFIX, Manifest, ShardIndex
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources.listing import Listing, list_images


def touch(image_dir: Path, paths: Iterable[str]) -> Path:
    """Empty files: enough for a listing."""
    for path in paths:
        (image_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (image_dir / path).touch()
    return image_dir


def config(
    image_dir: Path | str, records_dir: Path | str = '', **settings: Any
) -> ConversionConfig:
    return ConversionConfig(image_dir=str(image_dir), records_dir=str(records_dir), **settings)


def listed(image_dir: Path | str, **settings: Any) -> Listing:
    return list_images(config(image_dir, **settings))


def splits_of(listing: Listing) -> dict[str, str]:
    return {picture.path: picture.split for picture in listing.pictures}


def converted(image_dir: Path | str, records_dir: Path | str, **settings: Any) -> Manifest:
    wanted = config(image_dir, records_dir, dataset_name='flowers', **settings)
    return conversion.convert(wanted, list_images(wanted))


def contents(records_dir: Path) -> dict[str, bytes]:
    """Every file that a reader sees."""
    return {p.name: p.read_bytes() for p in records_dir.iterdir() if not p.name.startswith('.')}


def identities(records_dir: Path) -> dict[str, tuple[int, int]]:
    """Shard -> what changes when the file is written again, even with the same bytes."""
    stats = {path.name: path.stat() for path in records_dir.glob('*.tfrecord-*[0-9]')}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def index_of(records_dir: Path, shard: str) -> ShardIndex:
    return ShardIndex.load(str(records_dir / (shard + INDEX_SUFFIX)))


def made_in(tmp_path_factory: pytest.TempPathFactory, shards: int) -> tuple[Path, Path]:
    """A picture folder of drawn flowers and its records, so many shards for each split."""
    image_dir = colours.write(tmp_path_factory.mktemp('pictures') / 'flowers', per_class=40)
    records_dir = tmp_path_factory.mktemp('records')
    converted(image_dir, records_dir, num_shards=shards)
    return image_dir, records_dir


def copies_of(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both that a test may change; the conversion remembers the pictures' folder."""
    image_dir = Path(shutil.copytree(made[0], tmp_path / 'flowers'))
    return image_dir, Path(shutil.copytree(made[1], tmp_path / 'records'))
