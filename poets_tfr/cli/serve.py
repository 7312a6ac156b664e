"""A page in the browser on which pictures are dropped and labelled; JSON for scripts.

python tools/serve.py --graph GRAPH
curl --data-binary @picture.jpg http://127.0.0.1:8077/label
"""

from __future__ import annotations

import sys
from typing import Any

import poets_tfr
from poets_tfr.cli import command
from poets_tfr.label.serve import Application
from poets_tfr.label.settings import ModelConfig, ServeConfig
from poets_tfr.records import codecs
from poets_tfr.serving import Server, listen, open_in_browser
from poets_tfr.settings import build, names_of


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [ServeConfig, ModelConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    command.no_stray_arguments(positional)
    config = build(ServeConfig, given)
    with listen(config) as listening, codecs.pillow_silenced():
        classifier = poets_tfr.load(**{n: given[n] for n in names_of(ModelConfig) if n in given})
        classifier.labeller.warm_up()
        application = Application(classifier.labeller, classifier.path, config)
        with Server(listening, config.host, application) as server:
            print(f'Open {server.url} in the browser. Ctrl-C ends it.', flush=True)
            if config.open:
                open_in_browser(server.url)
            server.serve_forever()


if __name__ == '__main__':
    sys.exit(main())
