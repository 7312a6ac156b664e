"""The one error that is the user's to mend."""

from __future__ import annotations

import re

_FLAG = re.compile(r'(?<![\w/.-])--(?=[a-z])')


class InputError(ValueError):
    """Something the user can mend. The message names the setting or file, the fault and the remedy.

    Messages are written as the command line spells them. In Python a setting has no dashes:

    >>> error = InputError('--seed=-1 must be 0 to 2147483647.')
    >>> str(error)
    'seed=-1 must be 0 to 2147483647.'
    >>> error.with_dashes
    '--seed=-1 must be 0 to 2147483647.'
    """

    def __init__(self, message: str):
        super().__init__(message)
        self.with_dashes = message

    def __str__(self) -> str:
        return _FLAG.sub('', self.with_dashes)
