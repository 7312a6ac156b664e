"""Where a user's own things go unless told: shared by all runs, and by no two users."""

from __future__ import annotations

import os


def user_cache_dir() -> str:
    """`$XDG_CACHE_HOME/poets_tfr`, or `~/.cache/poets_tfr`."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(base):  # as the XDG standard has it
        base = os.path.join(os.path.expanduser('~'), '.cache')
    if not os.path.isabs(base):  # no home folder, as in a container
        base = f'/tmp/poets_tfr-{os.getuid()}'
    return os.path.join(base, 'poets_tfr')


def is_own_folder(path: str) -> bool:
    """Whether a folder is there, and is this user's."""
    try:
        return os.path.isdir(path) and os.stat(path).st_uid == os.getuid()
    except OSError:
        return False
