"""A class's pictures on one sheet, as people look at them."""

from __future__ import annotations

import io
import os
import re

from poets_tfr import files
from poets_tfr.progress import printable
from poets_tfr.records import codecs, reading
from poets_tfr.records.manifest import Manifest, load_indexes

_SIDE = 160  # pixels of a thumbnail's longer side
_GAP, _LINE = 8, 14  # pixels
_MOST_COLUMNS = 8


def write_all(records_dir: str, manifest: Manifest, per_class: int, out_dir: str) -> list[str]:
    """Writes <out_dir>/<data set>-<label's number>-<label>.png for every class.

    A sheet shows the first `per_class` pictures of train, validation and test, in the order of the
    shards, which is that of a hash and so a fair sample; beneath each stand its split and its name.

    Returns:
      The paths of the sheets.

    Raises:
      InputError: a record is damaged; the message names its shard.
    """
    chosen = _choose(records_dir, manifest, per_class)
    written = []
    for label, (_, text) in enumerate(manifest.classes):
        name = re.sub(r'[^a-z0-9]+', '_', text).strip('_')
        name = '-'.join(filter(None, [manifest.dataset_name, str(label), name])) + '.png'
        written.append(files.join(out_dir, name))
        files.write_bytes(written[-1], _sheet(records_dir, manifest, chosen[label]))
    return written


def _choose(records_dir: str, manifest: Manifest, per_class: int) -> list[list[tuple[str, str]]]:
    """(split, path) of the pictures to show, for each class."""
    chosen: list[list[tuple[str, str]]] = [[] for _ in manifest.classes]
    for split in manifest.splits:
        for index in load_indexes(records_dir, manifest, split):
            for entry in index.entries:
                if entry.is_record and len(chosen[entry.label]) < per_class:
                    chosen[entry.label].append((split, entry.path))
    return chosen


def _sheet(records_dir: str, manifest: Manifest, chosen: list[tuple[str, str]]) -> bytes:
    """PNG bytes."""
    from PIL import Image, ImageDraw

    columns = max(1, min(len(chosen), _MOST_COLUMNS))
    rows = max(1, -(-len(chosen) // columns))
    cell = _SIDE + _GAP, _SIDE + 2 * _LINE + _GAP
    sheet = Image.new('RGB', (columns * cell[0] + _GAP, rows * cell[1] + _GAP), 'white')
    draw = ImageDraw.Draw(sheet)
    for split in dict.fromkeys(split for split, _ in chosen):
        paths = [path for of, path in chosen if of == split]
        pictures = reading.read_pictures(records_dir, manifest, split, paths)
        for path in paths:
            row, column = divmod(chosen.index((split, path)), columns)
            left, top = column * cell[0] + _GAP, row * cell[1] + _GAP
            thumbnail = Image.fromarray(codecs.decoded(pictures[path]))
            thumbnail.thumbnail((_SIDE, _SIDE))
            sheet.paste(thumbnail, (left, top))
            for line, text in enumerate((split, _shortened(path))):
                draw.text((left, top + _SIDE + line * _LINE), text, fill='black')
    content = io.BytesIO()
    sheet.save(content, 'PNG')
    return content.getvalue()


def _shortened(path: str) -> str:
    """The end of a file's name, in letters that every font has."""
    name = printable(os.path.basename(path)).encode('ascii', 'replace').decode()
    return name if len(name) <= 24 else f'...{name[-21:]}'
