"""A page in the browser on which pictures are dropped and labelled; JSON for scripts.

python tools/serve.py --graph GRAPH
curl --data-binary @picture.jpg http://127.0.0.1:8077/label
"""

from __future__ import annotations

import contextlib
import sys

from absl import flags as absl_flags

from poets_tfr.config import ServeConfig
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
    labeller = flags.open_labeller(values)
    labeller.warm_up()
    with Server(labeller, values.graph, config) as server:
        print(f'Open {server.url} in the browser. Ctrl-C ends it.', flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == '__main__':
    sys.exit(main())
