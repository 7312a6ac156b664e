"""TFRecord files: which are meant, and whether they are whole. No TensorFlow.

A record is its length (8 bytes), the length's checksum (4), the data, and the data's checksum (4).
"""

from __future__ import annotations

import collections
import glob
import logging
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.progress import printable

log = logging.getLogger('poets_tfr')

HEADER, FOOTER = 8 + 4, 4
_GZIP = b'\x1f\x8b'
_ZLIB = b'\x78\x01', b'\x78\x5e', b'\x78\x9c', b'\x78\xda'
_INFLATE = 'import sys, zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))'
_SHARD = re.compile(r'(.*)-(\d{5})-of-(\d{5})(.*)')


def files_of(place: str, flag: str, is_one: Callable[[str], bool], wanted: str) -> list[str]:
    """The record files that a folder, a file or a pattern names, sorted.

    Args:
      is_one: whether a file of a folder is meant, by its path; `wanted` says what is.

    Raises:
      InputError: there are none, or they are elsewhere.
    """
    if files.is_remote(place):
        raise InputError(f'{flag}: such files are read on this machine only: copy them.')
    if os.path.isdir(place):
        found = [p for p in glob.glob(os.path.join(glob.escape(place), '*')) if is_one(p)]
        if not found:
            raise InputError(f'{flag}: there is no file named {wanted}.')
    else:
        found = [place] if os.path.isfile(place) else glob.glob(place)
        found = [path for path in found if os.path.isfile(path)]
        if not found:
            raise InputError(f'{flag}: no such file (looked at {os.path.abspath(place)}).')
    return sorted(found)


def is_named_so(path: str) -> bool:
    """Whether a file of a folder holds records, by its name."""
    name = os.path.basename(path).lower()
    is_ours = name.endswith(('.jsonl', '.idx', '.json'))
    begins = name.split('.')[-1].split('-')[0]
    return not is_ours and ('tfrecord' in name or begins == 'record' or '-of-' in name)


def tell_missing(paths: Sequence[str]) -> None:
    """Warns where `a-00000-of-00004` lacks others of its kind."""
    there: dict[tuple[str, str, int], set[int]] = collections.defaultdict(set)
    for path in paths:
        if match := _SHARD.fullmatch(path):
            there[match[1], match[4], int(match[3])].add(int(match[2]))
    for (begins, ends, total), numbers in there.items():
        if len(numbers) < total:
            log.warning(
                'WARNING: of the %d files %s-*-of-%05d%s, %d are there.',
                total, printable(begins), total, ends, len(numbers),
            )  # fmt: skip


def check_whole(path: str) -> None:
    """Raises InputError where a file holds no TFRecords, or does not end with one."""
    try:
        with open(path, 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            number = begins = 0
            while begins < size:
                header = file.read(HEADER)
                if not is_header(header):
                    raise InputError(_what_else(path, number, begins, header))
                begins += HEADER + int.from_bytes(header[:8], 'little') + FOOTER
                if begins > size:
                    raise InputError(
                        f'{path}, record {number}: the file ends in the middle of it: fetch or '
                        'make the file again.'
                    )
                file.seek(begins)
                number += 1
    except OSError as error:
        raise InputError(f'--image_tfrecords: {path} cannot be read ({error.strerror}).') from None


def _what_else(path: str, number: int, begins: int, header: bytes) -> str:
    if number:
        what = 'the file ends in the middle of it' if len(header) < HEADER else 'it is damaged'
        return f'{path}, record {number} (byte {begins:,}): {what}: fetch or make the file again.'
    flag = f'--image_tfrecords: {path}'
    if 'array_record' in os.path.basename(path) or '.riegeli' in path:
        return (
            f'{flag} is no TFRecord file: have TensorFlow Datasets write some '
            "(download_and_prepare(file_format='tfrecord'), or the command tfds convert_format)."
        )
    if header.startswith(_GZIP):
        return f'{flag} is compressed (GZIP): unpack it first (gunzip -c FILE > NEW).'
    if header.startswith(_ZLIB):
        return (
            f'{flag} is compressed (ZLIB), or no TFRecord file: unpack it first (python -c '
            f"'{_INFLATE}' < FILE > NEW)."
        )
    return f'{flag} holds no TFRecords, or is damaged at its first byte.'


def is_header(header: bytes) -> bool:
    """Whether these bytes are a length and its checksum."""
    if len(header) < HEADER:
        return False
    found = _crc32c(header[:8])
    masked = ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(header[8:], 'little')


def record_at(file: Any, offset: int, path: str) -> bytes:
    """The data of the record that begins there. Raises OSError: the file has changed."""
    file.seek(offset)
    header = file.read(HEADER)
    if is_header(header):
        length = int.from_bytes(header[:8], 'little')
        content: bytes = file.read(length)
        if len(content) == length:
            return content
    raise OSError(5, 'the record is not where it was', path)


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def _crc32c(content: bytes) -> int:
    """Only for a few bytes."""
    value = 0xFFFFFFFF
    for byte in content:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
