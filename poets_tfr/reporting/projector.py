"""TensorBoard's embedding projector: bottlenecks with labels and thumbnails, in summaries_dir."""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from poets_tfr import files
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.progress import printable
from poets_tfr.records.reading import Records

CONFIG = 'projector_config.pbtxt'
TENSOR, METADATA, SPRITE = (
    f'projector/{name}' for name in ('bottlenecks.bytes', 'metadata.tsv', 'thumbnails.jpg')
)
_MARK = '# Written by poets_tfr.\n'
_SIDE = 48  # pixels of a thumbnail; 10,000 of them make a sprite of 4,800 x 4,800
_FRAME = 4  # pixels around a thumbnail, in the colour of its label
_GREY = (236, 236, 236)
_GOLDEN = 0.61803398875  # of a turn between the hues of two labels: neighbours differ most


def save(
    summaries_dir: str,
    records: Records,
    splits: Mapping[str, SplitFeatures],
    most: int,
    seed: int,
) -> None:
    """Writes up to `most` pictures of all splits, drawn by `seed`; with 0, removes a former run's.

    What somebody else put there stays, and nothing is written beside it.
    """
    config = files.join(summaries_dir, CONFIG)
    if not files.may_replace(config, _MARK.encode()):
        return
    if not most:
        if files.exists(config):
            for name in CONFIG, TENSOR, METADATA, SPRITE:
                files.remove(files.join(summaries_dir, name))
        return
    places = _drawn({name: len(split) for name, split in splits.items()}, most, seed)
    features, lines, thumbnails = [], [_line('label', 'split', 'path')], []
    labels = records.labels
    for name, rows in places.items():
        split = splits[name]
        features.append(split.features[rows])
        for row, image in zip(rows, records[name].read_each(rows), strict=True):
            lines.append(_line(labels[split.labels[row]], name, split.paths[row]))
            thumbnails.append(_thumbnail(image, _colour(int(split.labels[row]))))
    array = np.concatenate(features).astype('<f4')
    files.write_bytes(files.join(summaries_dir, TENSOR), array.tobytes())
    files.write_bytes(files.join(summaries_dir, METADATA), ''.join(lines).encode('utf-8'))
    files.write_bytes(files.join(summaries_dir, SPRITE), _sprite(thumbnails))
    files.write_bytes(config, (_MARK + _config(*array.shape)).encode())


def _drawn(counts: Mapping[str, int], most: int, seed: int) -> dict[str, np.ndarray]:
    """Split -> ascending rows; each picture is as likely as any other."""
    total = sum(counts.values())
    chosen = np.random.default_rng(seed).permutation(total)[:most]
    drawn, first = {}, 0
    for name, count in counts.items():
        rows = np.sort(chosen[(chosen >= first) & (chosen < first + count)] - first)
        if len(rows):
            drawn[name] = rows
        first += count
    return drawn


def _line(*cells: str) -> str:
    """Without tabs and line ends in the cells, whatever a file is called."""
    return '\t'.join(map(printable, cells)) + '\n'


def _colour(label: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN % 1, 0.85, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _thumbnail(encoded: bytes, colour: tuple[int, int, int]) -> Image.Image:
    """Framed, for TensorBoard shows no colours of its own until it is asked to."""
    cell = Image.new('RGB', (_SIDE, _SIDE), colour)
    inner = _SIDE - 2 * _FRAME
    with Image.open(io.BytesIO(encoded)) as picture:
        picture.thumbnail((inner, inner))  # decodes a JPEG no finer than needed
        small = picture.convert('RGB')
    cell.paste(small, ((_SIDE - small.width) // 2, (_SIDE - small.height) // 2))
    return cell


def _sprite(thumbnails: Sequence[Image.Image]) -> bytes:
    """A square of thumbnails, row by row, as the projector cuts it."""
    columns = math.ceil(math.sqrt(len(thumbnails)))
    sprite = Image.new('RGB', (columns * _SIDE, columns * _SIDE), _GREY)
    for place, thumbnail in enumerate(thumbnails):
        sprite.paste(thumbnail, (place % columns * _SIDE, place // columns * _SIDE))
    content = io.BytesIO()
    sprite.save(content, 'JPEG', quality=85)
    return content.getvalue()


def _config(pictures: int, width: int) -> str:
    from google.protobuf import text_format
    from tensorboard.plugins import projector

    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = 'bottlenecks'
    embedding.tensor_shape.extend([pictures, width])
    embedding.tensor_path, embedding.metadata_path = TENSOR, METADATA
    embedding.sprite.image_path = SPRITE
    embedding.sprite.single_image_dim.extend([_SIDE, _SIDE])
    return text_format.MessageToString(config)
