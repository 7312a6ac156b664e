"""A page in the browser on which pictures are dropped and labelled; JSON for scripts.

python tools/serve.py --graph GRAPH
curl --data-binary @picture.jpg http://127.0.0.1:8077/label
"""

from __future__ import annotations

import contextlib
import socket
import sys

from absl import flags as absl_flags

from poets_tfr.config import InputError, ServeConfig
from poets_tfr.label.serve import Server
from poets_tfr.tools import flags


def main(argv: list[str] | None = None) -> int:
    return flags.run(_define, _main, __doc__ or '', argv)


def _define(values: absl_flags.FlagValues) -> None:
    flags.define_serve(values)
    flags.define_export_to_open(values)


def _main(values: absl_flags.FlagValues, positional: list[str]) -> None:
    flags.no_stray_arguments(positional)
    config = flags.build(ServeConfig, values)
    _check_address(config)
    labeller = flags.open_labeller(values)
    labeller.warm_up()
    with Server(labeller, values.graph, config) as server:
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
