"""Labels images with what retrain.py made: a graph, a SavedModel, a TFLite, Keras or ONNX file.

python tools/label_image.py PICTURE|FOLDER|'PATTERN'|- ...   (-: a list on standard input)
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Any, ClassVar

import poets_tfr
from poets_tfr import progress, writable
from poets_tfr.cli import command
from poets_tfr.errors import InputError
from poets_tfr.label import inputs, output, sorting
from poets_tfr.label.labeller import Labelled, Labeller
from poets_tfr.label.settings import LabelConfig, ModelConfig
from poets_tfr.label.sorting import Sorter
from poets_tfr.settings import Settings, a_path, build, names_of, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(Settings):
    TITLE: ClassVar[str] = 'The image'

    image: str | None = setting(
        None, 'An image; or just name it.', a_path(), affects='input', path='path'
    )


def main(argv: list[str] | None = None) -> int:
    return command.run(_main, __doc__, [LabelConfig, ModelConfig, ImageConfig], argv)


def _main(given: dict[str, Any], named: list[str]) -> int:
    config, image = build(LabelConfig, command.at_home(given)), build(ImageConfig, given).image
    named = named if image is None else [image, *named]
    if not named:
        raise InputError('Name at least one image: poets-label IMAGE (or make label PICTURE=IMAGE)')
    pictures = inputs.find_pictures(named)
    if config.sort_into:
        pictures = _to_be_sorted(pictures, config)
    model = {name: given[name] for name in names_of(ModelConfig) if name in given}
    labeller = poets_tfr.load(**model).labeller
    threshold = labeller.threshold(config.min_score)
    sys.stdout.write(output.header(config.format))
    with contextlib.ExitStack() as stack:
        sorter = None
        if config.sort_into:
            sorter = Sorter(config.sort_into, labeller.labels, config.sort_by)
            stack.enter_context(sorter)
        bad = _label(pictures, labeller, config, threshold, sorter)
    if bad and len(pictures) > 1:
        print(f'{bad} of {len(pictures)} images could not be labelled.', file=sys.stderr)
    if sorter:
        print(sorter.told(), file=sys.stderr)
    return 1 if bad else 0


def _to_be_sorted(pictures: list[str], config: LabelConfig) -> list[str]:
    left = sorting.without_sorted(pictures, config.sort_into)
    if config.sort_by == 'link':
        sorting.check_links(left)
    writable.refuse([writable.folder_fault(config.sort_into, 'sort_into')])
    if passed_over := len(pictures) - len(left):
        print(
            f'{passed_over} images lie in {progress.printable(config.sort_into)} already, and are '
            'passed over.',
            file=sys.stderr,
        )
    return left


def _label(
    pictures: list[str],
    labeller: Labeller,
    config: LabelConfig,
    threshold: float,
    sorter: Sorter | None,
) -> int:
    """How many could not be decoded."""
    bad = 0
    with progress.bar_beside_output(len(pictures), 'pictures', 'Labelling') as bar:
        for labelled in labeller.label_files(pictures):
            bad += labelled.scores is None
            least = output.least(threshold, labelled.is_unlike, config.min_score)
            if sorter and labelled.scores is not None:
                label, score = labeller.best_first(labelled.scores)[0]
                sorter.put(labelled.path, label if score >= least else None)
            _print(labelled, labeller, config, least, with_path=len(pictures) > 1)
            bar.update()
    return bad


def _print(
    labelled: Labelled, labeller: Labeller, config: LabelConfig, least: float, with_path: bool
) -> None:
    if labelled.scores is None:
        sys.stdout.flush()  # where both go to one place, the order is kept
        path = progress.printable(labelled.path)
        print(f'label_image.py: error: {path}: {labelled.reason}', file=sys.stderr)
        return
    best_first = labeller.best_first(labelled.scores)
    sys.stdout.write(
        output.lines(labelled.path, best_first, config.format, config.top_k, least, with_path)
    )


if __name__ == '__main__':
    sys.exit(main())
