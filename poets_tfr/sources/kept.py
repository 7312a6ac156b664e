"""What was found in files that take long to look through, kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from poets_tfr import files
from poets_tfr.places import user_cache_dir

_DAYS = 90  # what is not asked for so long is forgotten


def kept(what: str, paths: Sequence[str], make: Callable[[], Any]) -> Any:
    """The JSON value that `make` gives; made again only when one of the files has changed.

    Args:
      what: which kind of value it is, with all that it depends on besides the files.
      paths: of the files, whose size and time tell whether they changed.
    """
    places = [os.path.abspath(path) for path in paths]
    stamp = [[stat.st_size, stat.st_mtime_ns] for stat in map(os.stat, places)]
    name = hashlib.sha256(json.dumps([what, places]).encode()).hexdigest()[:32]
    path = os.path.join(user_cache_dir(), 'sources', f'{name}.json')
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        with open(path, 'rb') as file:
            former, content = json.loads(file.readline()), file.read()
        if former == {'stamp': stamp, 'sha256': hashlib.sha256(content).hexdigest()}:
            with contextlib.suppress(OSError):
                os.utime(path)
            return json.loads(content)
    value = make()
    with contextlib.suppress(OSError):  # it only saves time
        content = json.dumps(value, separators=(',', ':')).encode('ascii')
        about = {'stamp': stamp, 'sha256': hashlib.sha256(content).hexdigest()}
        files.write_bytes(path, json.dumps(about).encode('ascii') + b'\n' + content)
        _forget_old(os.path.dirname(path))
    return value


def _forget_old(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.name.endswith('.json') and time.time() - entry.stat().st_mtime > _DAYS * 86_400:
            os.remove(entry.path)
