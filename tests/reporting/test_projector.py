"""The projector's files, read back as TensorBoard's plugin and a browser read them."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import colours
import conversion
import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector as plugin

from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.records.manifest import Manifest
from poets_tfr.records.reading import Records
from poets_tfr.reporting import projector

WIDTH = 5
Saved = tuple[Path, Path, Manifest, dict[str, SplitFeatures]]


@pytest.fixture
def converted(tmp_path: Path) -> Saved:
    """A hostile file name among the pictures; features that say which picture they are of."""
    pictures = colours.write(tmp_path / 'pictures', per_class=8)
    folder = pictures / 'Red_Roses'
    (folder / '000.png').rename(folder / '<b>tab\there\nand "line".png')
    records = tmp_path / 'records'
    manifest = conversion.converted(pictures, records)
    splits, first = {}, 0
    for split in manifest.splits:
        columns = Records.open(str(records))[split]
        numbers = np.arange(first, first + len(columns), dtype=np.float32)
        first += len(columns)
        features = np.tile(numbers[:, None], WIDTH)
        splits[split] = SplitFeatures(features, columns.labels, columns.paths)
    return tmp_path / 'logs', records, manifest, splits


def save(converted: Saved, most: int, seed: int = 0) -> Any:
    logs, records, _, splits = converted
    projector.save(str(logs), Records.open(str(records)), splits, most, seed)
    if not (logs / projector.CONFIG).exists():
        return None
    config = plugin.ProjectorConfig()
    text_format.Parse((logs / projector.CONFIG).read_text(), config)
    (embedding,) = config.embeddings
    return embedding


def rows_of(logs: Path, embedding: Any) -> tuple[np.ndarray, list[list[str]]]:
    array = np.fromfile(logs / embedding.tensor_path, '<f4').reshape(embedding.tensor_shape)
    header, *lines = (logs / embedding.metadata_path).read_text().removesuffix('\n').split('\n')
    assert header.split('\t') == ['label', 'split', 'path']
    return array, [line.split('\t') for line in lines]


def test_every_line_is_of_its_row_and_its_thumbnail(converted: Saved) -> None:
    logs, _, manifest, splits = converted
    array, lines = rows_of(logs, embedding := save(converted, 1000))
    assert array.shape == (24, WIDTH)
    every = [
        (manifest.labels[label], name, path)
        for name, split in splits.items()
        for label, path in zip(split.labels, split.paths, strict=True)
    ]
    sprite = np.asarray(Image.open(logs / embedding.sprite.image_path))
    width, height = embedding.sprite.single_image_dim
    assert sprite.shape == (5 * height, 5 * width, 3), 'a square of 5 x 5 holds 24'
    colour_of = dict(zip(colours.LABELS, colours.COLOURS.values(), strict=True))
    frames: dict[str, list[np.ndarray]] = {}
    for place, (row, (label, split, path)) in enumerate(zip(array, lines, strict=True)):
        wanted = every[int(row[0])]
        assert (label, split) == wanted[:2]
        if '<b>' not in path:
            assert path == wanted[2]
        y, x = place // 5 * height + height // 2, place % 5 * width + width // 2
        middle = sprite[y - 4 : y + 4, x - 4 : x + 4].mean(axis=(0, 1))
        assert middle.argmax() == np.argmax(colour_of[label])
        left = x - width // 2
        frame = sprite[y - 4 : y + 4, left + 1 : left + 3].mean(axis=(0, 1))
        frames.setdefault(label, []).append(frame)
    means = [np.mean(of_label, axis=0) for of_label in frames.values()]
    assert all(np.ptp(of_label, axis=0).max() < 40 for of_label in frames.values()), 'one colour'
    apart = [np.abs(a - b).max() for a, b in itertools.combinations(means, 2)]
    assert min(apart) > 60, 'a colour of its own for each label'


def test_a_hostile_name_stays_one_cell(converted: Saved) -> None:
    logs = converted[0]
    _, lines = rows_of(logs, save(converted, 1000))
    assert len(lines) == 24
    assert all(len(line) == 3 for line in lines)
    assert r'Red_Roses/<b>tab\there\nand "line".png' in [path for _, _, path in lines]


def test_no_more_than_asked_for_and_each_once(converted: Saved) -> None:
    logs = converted[0]
    array, lines = rows_of(logs, save(converted, 10))
    assert len(array) == len(lines) == 10
    assert len(set(array[:, 0].tolist())) == 10
    others, _ = rows_of(logs, save(converted, 10, seed=1))
    assert others[:, 0].tolist() != array[:, 0].tolist()


def test_none_removes_ours_and_nobody_elses_is_touched(converted: Saved) -> None:
    logs = converted[0]
    save(converted, 10)
    (logs / 'projector' / 'thesis.txt').write_text('dear')
    assert save(converted, 0) is None
    assert [path.name for path in logs.rglob('*') if path.is_file()] == ['thesis.txt']
    (logs / projector.CONFIG).write_text('embeddings { tensor_name: "theirs" }')
    assert save(converted, 10).tensor_name == 'theirs'
    assert not (logs / projector.METADATA).exists()


def test_a_whole_run_has_one(trained: tuple[Any, Any]) -> None:
    logs = trained[0].summaries
    assert (logs / projector.CONFIG).exists()
    with Image.open(io.BytesIO((logs / projector.SPRITE).read_bytes())) as sprite:
        assert sprite.size == (9 * 48, 9 * 48)  # 72 pictures
