"""A class's pictures on one sheet, as people look at them."""

from __future__ import annotations

import io
import os
import re

import numpy as np

from poets_tfr import files
from poets_tfr.progress import printable
from poets_tfr.records import codecs
from poets_tfr.records.reading import Records

_SIDE = 160  # pixels of a thumbnail's longer side
_GAP, _LINE = 8, 14  # pixels
_MOST_COLUMNS = 8


def write_all(records: Records, per_class: int, out_dir: str) -> list[str]:
    """Writes <out_dir>/<data set>-<label's number>-<label>.png for every class.

    A sheet shows the first `per_class` pictures of train, validation and test, in the order of the
    shards, which is that of a hash and so a fair sample; beneath each stand its split and its name.

    Returns:
      The paths of the sheets.

    Raises:
      InputError: a record is damaged; the message names its shard.
    """
    written = []
    for label, text in enumerate(records.labels):
        name = re.sub(r'[^a-z0-9]+', '_', text).strip('_')
        name = '-'.join(filter(None, [records.manifest.dataset_name, str(label), name])) + '.png'
        written.append(files.join(out_dir, name))
        files.write_bytes(written[-1], _sheet(records, _choose(records, label, per_class)))
    return written


def _choose(records: Records, label: int, most: int) -> list[tuple[str, int]]:
    """(split, row) of the images to show."""
    found = [
        (split, int(row))
        for split in records.splits
        for row in np.flatnonzero(records[split].labels == label)[:most]
    ]
    return found[:most]


def _sheet(records: Records, chosen: list[tuple[str, int]]) -> bytes:
    """PNG bytes."""
    from PIL import Image, ImageDraw

    columns = max(1, min(len(chosen), _MOST_COLUMNS))
    rows = max(1, -(-len(chosen) // columns))
    cell = _SIDE + _GAP, _SIDE + 2 * _LINE + _GAP
    sheet = Image.new('RGB', (columns * cell[0] + _GAP, rows * cell[1] + _GAP), 'white')
    draw = ImageDraw.Draw(sheet)
    for place, (split, number) in enumerate(chosen):
        row, column = divmod(place, columns)
        left, top = column * cell[0] + _GAP, row * cell[1] + _GAP
        thumbnail = Image.fromarray(codecs.decoded(records[split].read(number)))
        thumbnail.thumbnail((_SIDE, _SIDE))
        sheet.paste(thumbnail, (left, top))
        for line, text in enumerate((split, _shortened(records[split].paths[number]))):
            draw.text((left, top + _SIDE + line * _LINE), text, fill='black')
    content = io.BytesIO()
    sheet.save(content, 'PNG')
    return content.getvalue()


def _shortened(path: str) -> str:
    """The end of a file's name, in letters that every font has."""
    name = printable(os.path.basename(path)).encode('ascii', 'replace').decode()
    return name if len(name) <= 24 else f'...{name[-21:]}'
