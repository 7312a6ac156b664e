"""corrections.tsv as a person or the review page would have it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from poets_tfr import tables

HEADER = 'path', 'digest', 'action', 'label', 'when_first_shown'


def line(image_dir: Path, path: str, action: str, label: str = '') -> tuple[str, ...]:
    """Of the image as it is now."""
    digest = hashlib.sha256((image_dir / path).read_bytes()).hexdigest()
    return path, digest, action, label, '2026-01-02T03:04:05Z'


def write(table: Path, *lines: tuple[str, ...]) -> Path:
    table.write_bytes(tables.tsv(HEADER, lines))
    return table
