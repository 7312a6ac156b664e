"""The settings of labelling: what is written, what is tried on known images, and the page."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import fields
from typing import ClassVar, Literal

from poets_tfr.errors import InputError
from poets_tfr.export.foreign_graph import Feeding
from poets_tfr.export.settings import ExportConfig
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.settings import (
    Check,
    Settings,
    about,
    at_least,
    positive,
    require_defaults,
    setting,
    within,
)
from poets_tfr.sources.settings import Split

_FOREIGN = 'For graphs of other programs: ours say it themselves.'
_A_NODE = Check('the name of a node', bool)
_PIXELS = within(1, 65_536)
LabelFormat = Literal['text', 'json', 'csv', 'tsv']
SortBy = Literal['copy', 'link']


def _top_k() -> int:
    found: int = setting(
        0,
        'How many labels to give for an image, the best first; 0: all.',
        at_least(0, '0 (all labels) or more'),
        affects='output',
    )
    return found


def _min_score() -> float | None:
    found: float | None = setting(
        None,
        "Labels below this score are left out; with none left an image is 'unsure'. By default "
        'what the model carries (--target_precision), else 0: none.',
        within(0, 1),
        affects='output',
    )
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Which export labels, and how graphs of other programs are fed: None where it was not said."""

    TITLE: ClassVar[str] = 'The model'

    # fmt: off
    graph: str = setting(ExportConfig().output_graph,
        'What to label with: a graph, a SavedModel folder, a TFLite, Keras or ONNX file, or the '
        'folder of a run; left out, the newest of the last run below runs/ and of the default.',
        affects='input', path='path')
    labels: str | None = setting(None, 'Its labels, one a line; by default those that it carries.',
        affects='input', path='path')
    input_layer: str | None = setting(None, f'Where images go into the graph. {_FOREIGN}', _A_NODE)
    output_layer: str | None = setting(None, f'Where scores come out of the graph. {_FOREIGN}',
        _A_NODE)
    input_height: int | None = setting(None, f'Image height that the graph wants. {_FOREIGN}',
        _PIXELS)
    input_width: int | None = setting(None, f'Image width that the graph wants. {_FOREIGN}',
        _PIXELS)
    input_mean: float | None = setting(None,
        f'The graph wants (pixel 0..255 - mean) / std. {_FOREIGN}',
        Check('a finite number', math.isfinite))
    input_std: float | None = setting(None,
        f'The graph wants (pixel 0..255 - mean) / std. {_FOREIGN}', positive())
    # fmt: on

    @property
    def feeding(self) -> Feeding:
        return Feeding(**{field.name: getattr(self, field.name) for field in fields(Feeding)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelConfig(Settings):
    """How labels and scores are written."""

    TITLE: ClassVar[str] = 'What is written'

    # fmt: off
    format: LabelFormat = setting('text',
        "How to write: text (the tutorial's lines), json (an object a line), csv or tsv.",
        affects='output')
    sort_into: str = setting('',
        "A folder: images go into folders in it by their best label, or into 'unsure' where its "
        'score is below min_score. None is moved, and nothing is replaced.',
        affects='output', path='path')
    sort_by: SortBy = setting('copy', 'How images are sorted: copied, or linked (symbolically).',
        affects='output')
    # fmt: on
    top_k: int = _top_k()
    min_score: float | None = _min_score()

    def check(self) -> None:
        if not self.sort_into:
            require_defaults(self, ['sort_by'], 'sort_into')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Settings):
    """Which labelled images an export is tried on: those of image_dir, or of records."""

    TITLE: ClassVar[str] = 'Labelled images'

    # fmt: off
    image_dir: str = setting('', about(ConversionConfig, 'image_dir').help,
        affects='input', path='path')
    records_dir: str = setting('', 'Or where a conversion wrote its TFRecords.',
        affects='input', path='path')
    split: Split = setting('test', 'Which images of records_dir, or of split folders.',
        affects='input')
    report_dir: str = setting('', 'Where report.html and report.json go; by default nowhere.',
        affects='output', path='path')
    recursive: bool = setting(False, about(ConversionConfig, 'recursive').help, affects='input')
    follow_links: bool = setting(True, about(ConversionConfig, 'follow_links').help,
        affects='input')
    corrections: str = setting('',
        'A corrections.tsv: images of image_dir that are of another class, or are to be left out.',
        affects='input', path='path')
    # fmt: on

    def check(self) -> None:
        if bool(self.image_dir) == bool(self.records_dir):
            raise InputError(
                'Must set flag --image_dir (a folder with one folder per class) or --records_dir, '
                'and not both.'
            )
        if self.corrections and self.records_dir:
            raise InputError(
                f'--corrections={self.corrections} goes with --image_dir: records are made with '
                'theirs. Convert with it, or leave it out.'
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig(Settings):
    """The page that labels. Loopback only, unless told otherwise; port 0: any that is free."""

    TITLE: ClassVar[str] = 'The page'

    # fmt: off
    host: str = setting('127.0.0.1',
        'Where to listen: 127.0.0.1 is this computer alone; 0.0.0.0 lets everybody in the network '
        'label.', Check('an address or a name', bool), affects='output')
    port: int = setting(8077, 'On which port; 0: any that is free.', within(0, 65535))
    max_upload_mib: int = setting(20, 'The largest image file that is taken, in MiB.',
        within(1, 1024), affects='output')
    open: bool = setting(True,
        'Opens the page in the browser, where this is started in a terminal of this computer.',
        affects='output')
    # fmt: on
    top_k: int = _top_k()
    min_score: float | None = _min_score()
