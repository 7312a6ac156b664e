"""A page in the browser on which pictures are dropped and labelled; JSON for scripts.

python tools/serve.py --graph GRAPH
curl --data-binary @picture.jpg http://127.0.0.1:8077/label
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

import poets_tfr
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.label.serve import Server
from poets_tfr.label.settings import ModelConfig, ServeConfig
from poets_tfr.settings import build, names_of


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [ServeConfig, ModelConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    command.no_stray_arguments(positional)
    config = build(ServeConfig, given)
    _check_address(config)
    classifier = poets_tfr.load(**{n: given[n] for n in names_of(ModelConfig) if n in given})
    classifier.labeller.warm_up()
    with Server(classifier.labeller, classifier.path, config) as server:
        print(f'Open {server.url} in the browser. Ctrl-C ends it.', flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _check_address(config: ServeConfig) -> None:
    """Raises InputError where nothing can listen: the model takes seconds to load."""
    host, port = config.host, config.port
    try:
        _try_to_bind(host, 0)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f'--host={host}: {error}. It must be an address or a name of this computer: 127.0.0.1 '
            'lets this computer alone label, 0.0.0.0 everybody in the network.'
        ) from None
    try:
        _try_to_bind(host, port)
    except OSError as error:
        raise InputError(
            f'--host={host} --port={port}: {error}. Another --port, or 0 for any that is free?'
        ) from None


def _try_to_bind(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((host, port))


if __name__ == '__main__':
    sys.exit(main())
