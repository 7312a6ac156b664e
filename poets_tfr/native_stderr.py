"""What C and C++ libraries write to standard error, past Python."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator

from poets_tfr.progress import printable

log = logging.getLogger('poets_tfr')

# libjpeg (its jdmarker.c, jdhuff.c, jdphuff.c), libtiff (which Pillow gives files of this name) and
# libpng, on images that they decode as well as they can, or that are skipped with a reason of ours.
_OF_IMAGES = re.compile(
    rb'Corrupt JPEG data|Premature end of JPEG|Warning: unknown JFIF|Inconsistent progression|'
    rb'Invalid (SOS|JPEG|progressive)|Unsupported (marker|JPEG)|libpng (warning|error)|'
    rb'tempfile\.tif|[A-Za-z0-9]*TIFF[A-Za-z]*: |(ZIP|LZW|LZMA|PackBits|Fax\w*|JPEG\w*|Old\w*)\w*: '
)
_counting = threading.Lock()


@contextlib.contextmanager
def dropped() -> Iterator[None]:
    """Inside, what C++ code writes to stderr is lost: TensorFlow Lite's has no level to set."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def lines_on_images_counted() -> Iterator[None]:
    """Inside, libraries' lines on damaged images are counted, and told in one line at the end.

    All else still reaches stderr. Python's own lines and bars do so directly.
    """
    if not _counting.acquire(blocking=False):
        yield
        return
    found: list[bytes] = []
    try:
        with _filtered(found):
            yield
    finally:
        _counting.release()
        if found:
            first = printable(found[0].decode('utf-8', 'backslashreplace').strip())
            log.warning('Lines of libjpeg, libtiff and libpng: %d (the first: %s).',
                        len(found), first)  # fmt: skip


@contextlib.contextmanager
def _filtered(found: list[bytes]) -> Iterator[None]:
    try:
        true = os.dup(2)
    except OSError:  # closed, as services have it
        yield
        return
    reading, writing = os.pipe()
    reader = threading.Thread(target=_sort_out, args=(reading, true, found), daemon=True)
    reader.start()
    try:
        with _python_writes_to(true):
            os.dup2(writing, 2)
            os.close(writing)
            yield
    finally:
        os.dup2(true, 2)  # the last end of the pipe, but for processes that were started meanwhile
        reader.join(timeout=1)


@contextlib.contextmanager
def _python_writes_to(descriptor: int) -> Iterator[None]:
    """sys.stderr is another object, where it would write to descriptor 2."""
    former = sys.stderr
    try:
        is_ours = former.fileno() == 2
    except (OSError, ValueError, AttributeError):  # a notebook's, or none
        is_ours = False
    if not is_ours:
        yield
        return
    former.flush()
    with open(descriptor, 'w', 1, former.encoding, former.errors, closefd=False) as stream:
        sys.stderr = stream
        try:
            yield
        finally:
            sys.stderr = former


def _sort_out(reading: int, true: int, found: list[bytes]) -> None:
    with open(reading, 'rb') as lines, open(true, 'wb', 0) as stderr:
        for line in lines:
            if _OF_IMAGES.match(line):
                found.append(line)
            else:
                stderr.write(line)
