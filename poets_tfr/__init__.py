"""poets_tfr: a folder of images goes in; a classifier, its labels and its evidence come out.

    import poets_tfr
    run = poets_tfr.train('~/pets')
    poets_tfr.load(run).predict('tom.jpg').label

The flow, and the wing that owns each step:

    image_dir/<class>/*   what you have
      -> sources       images, their labels and their splits
      -> records       decoded: sharded TFRecords, and Records, their columns
      -> pictures      parallel read, decode, distortions, static batches of pixels
      -> backbones     Inception v3, a MobileNet, any Keras application: pixels -> features
      -> extraction    features, computed only where the cache lacks them     (bottleneck_dir)
      -> training      one softmax layer in a compiled loop; fine-tuning of the network
      -> reporting     metrics, TensorBoard, report.json and report.html      (summaries_dir)
         (examination: what records and features say of the images' labels, copies and odd ones;
         review: a page on which people decide what of it is so)
      -> export        output_graph, output_labels; SavedModel, TFLite, .keras
      -> label         an export + images -> labels and scores; the page in the browser
         (export_check: every new export against the trained model; evaluation: an export against
         labelled images)

`api` is the interface, `run` the orchestrator, `cli` the command lines, which call the interface.
A wing's settings stand in its own settings.py; `settings` says what a setting is. `files` does
every write (`confined`: those under names that may be anybody's; `writable`: whether it is allowed;
`locks`: whose turn it is), `tables` makes them safe to read, `downloads` every fetch, `progress`
shows every wait, `native_stderr` sorts what libraries write past Python, `parallel` has the
threads, `serving` what the pages share, `distribution` the GPUs and the other machines, `runtime`
starts TensorFlow and the log.
Importing this package imports no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = '0.2.0'

if TYPE_CHECKING:
    from poets_tfr.api import Records, convert, evaluate, examine, features, load, runs, train
    from poets_tfr.errors import InputError
    from poets_tfr.examination.examination import Examination
    from poets_tfr.label.classifier import Classifier, Prediction
    from poets_tfr.run.result import Run

# Name -> the module that has it, imported when it is first asked for (PEP 562).
_HOME = {
    **dict.fromkeys(
        ['Records', 'convert', 'evaluate', 'examine', 'features', 'load', 'runs', 'train'],
        'poets_tfr.api',
    ),
    'Examination': 'poets_tfr.examination.examination',
    'InputError': 'poets_tfr.errors',
    'Classifier': 'poets_tfr.label.classifier',
    'Prediction': 'poets_tfr.label.classifier',
    'Run': 'poets_tfr.run.result',
}

__all__ = [
    'Classifier',
    'Examination',
    'InputError',
    'Prediction',
    'Records',
    'Run',
    'convert',
    'evaluate',
    'examine',
    'features',
    'load',
    'runs',
    'train',
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
