"""A page in the browser that shows what poets-examine has found; decisions go to corrections.tsv.

python tools/review.py EXAMINE_DIR
python tools/retrain.py --image_dir FOLDER --corrections EXAMINE_DIR/corrections.tsv
"""

from __future__ import annotations

import sys
from typing import Any

from poets_tfr import runtime, writable
from poets_tfr.cli import command
from poets_tfr.review import deck
from poets_tfr.review.decisions import Decisions
from poets_tfr.review.settings import ReviewConfig
from poets_tfr.review.site import ReviewSite
from poets_tfr.serving import Server, listen
from poets_tfr.settings import build


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [ReviewConfig], argv)


def _main(given: dict[str, Any], positional: list[str]) -> None:
    config = build(
        ReviewConfig, command.at_home(command.with_folder(given, positional, 'examine_dir'))
    )
    writable.refuse([writable.file_fault(config.table, 'corrections')])
    records = deck.open_records(config)
    dealt = deck.of(config.examine_dir, records)
    decisions = Decisions(config.table, dealt)
    decided = decisions.of_images()
    with listen(config) as listening:
        runtime.start()
        if dealt.images:
            dealt.read(0)  # TensorFlow is imported: nobody waits for it at the first image
        site = ReviewSite(dealt, decisions, config.host)
        with Server(listening, config.host, site) as server:
            left = sum(card.image not in decided for card in dealt.cards)
            print(f'{len(dealt.cards)} images to look at, {left} not decided yet.')
            print(f'Open {server.url} in the browser. Ctrl-C ends it.', flush=True)
            server.serve_forever()


if __name__ == '__main__':
    sys.exit(main())
