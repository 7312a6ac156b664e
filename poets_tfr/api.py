"""The Python interface: what `import poets_tfr` offers, and what the command lines call.

    run = poets_tfr.train('~/pets', architecture='mobilenet_0.25_128')
    poets_tfr.load(run).predict('tom.jpg').label

Settings are named as the flags are, without the dashes; docs/flags.md lists them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

from poets_tfr import evaluation, files, runtime, writable
from poets_tfr.backbones import frozen
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.evaluation import Evaluated
from poets_tfr.examination import examination, writing
from poets_tfr.examination.examination import Examination
from poets_tfr.examination.networks import compare
from poets_tfr.examination.settings import ExamineConfig
from poets_tfr.export.settings import ExportConfig
from poets_tfr.extraction.extract import Extraction, SplitFeatures
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.label.classifier import Classifier
from poets_tfr.label.settings import EvaluationConfig, ModelConfig
from poets_tfr.parallel import decoding_threads
from poets_tfr.pictures import pipeline, preprocess
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.records import conversion, reading, schema
from poets_tfr.records.settings import ConversionConfig, default_records_dir
from poets_tfr.run import folders, orchestrator
from poets_tfr.run.result import Run
from poets_tfr.run.settings import RunConfig, in_cache
from poets_tfr.settings import build, check_names, names_of
from poets_tfr.sources.listing import list_images
from poets_tfr.sources.settings import PLACES, dataset_name_of, is_inside

log = logging.getLogger('poets_tfr')

EXAMINED = ExamineConfig, ConversionConfig, BackboneConfig, ExtractionConfig
RUNS = 'runs'  # where runs are kept unless told, in the current folder

Source = str | os.PathLike[str]


class Records(reading.Records):
    """The records of one data set: `labels`, `splits`, the columns of each split, and a data set.

    >>> records = poets_tfr.convert('~/pets')                     # doctest: +SKIP
    >>> records['train'].labels                                   # doctest: +SKIP
    array([0, 2, 1, ...], dtype=int32)
    """

    def dataset(self, split: str, size: int = 299, batch_size: int = 32) -> Any:
        """Every image of a split once, in the order of its columns, decoded in parallel.

        Args:
          split: 'train', 'validation' or 'test'.
          size: height and width that images are resized to, in pixels.
          batch_size: the last batch is smaller.

        Returns:
          A tf.data.Dataset of (float32 [batch, size, size, 3] images of 0 to 255, int32 [batch]
          labels).

        Raises:
          InputError: an index is missing or damaged. KeyError: there is no such split.
        """
        import tensorflow as tf

        self.check_current()
        records, preprocessing = self[split], Preprocessing(size, 0.0, 1.0)

        @pipeline.as_written
        def load(record: Any, label: Any) -> Any:
            encoded = schema.parse_encoded(record[None])[0]
            return preprocess.from_encoded(encoded, preprocessing), label

        stored = tf.data.TFRecordDataset(records.shards)  # one after another, as the columns are
        labels = tf.data.Dataset.from_tensor_slices(records.labels)
        dataset = tf.data.Dataset.zip((stored, labels))
        dataset = dataset.map(load, num_parallel_calls=decoding_threads())
        return dataset.batch(batch_size).prefetch(2)


def train(
    images: Records | Source = '', /, *, run_dir: Source | None = None, **settings: Any
) -> Run | None:
    """Makes a classifier of images whose classes are known.

    Args:
      images: a folder with one folder per class; or the records that `convert` made of one.
      run_dir: everything of the run goes into a new numbered folder below it; by default
        runs/<name of the images' folder> in the current folder. '': to the places of the original
        retrain.py, below /tmp.
      **settings: by their flags' names (docs/flags.md): architecture, how_many_training_steps, ...
        Only log_steps differs: a few steps are logged unless told.

    Returns:
      What came of it; None in all workers of several machines but the first.

    Raises:
      InputError: something you can mend. All that can be known early is said early.

    >>> run = poets_tfr.train('~/pets', architecture='mobilenet_0.25_128')   # doctest: +SKIP
    >>> run.accuracy                                              # doctest: +SKIP
    0.903
    """
    runtime.start()
    given = _given(images, settings)
    if run_dir is None:
        run_dir = files.join(RUNS, _name(given))
    if run_dir:
        given['run_dir'] = _path(run_dir)
    given.setdefault('log_steps', 'few')
    return orchestrator.train(RunConfig.of(**given))


def convert(image_dir: Source = '', /, **settings: Any) -> Records:
    """Converts a folder of images into sharded TFRecords; only what is missing is made.

    Args:
      image_dir: the folder, with one folder per class.
      **settings: records_dir (by default a folder in your cache), classes,
        validation_percentage, ... by their flags' names.

    Raises:
      InputError: something you can mend; the records that were there stay as they are.

    >>> records = poets_tfr.convert('~/pets', validation_percentage=20)      # doctest: +SKIP
    >>> records.splits                                            # doctest: +SKIP
    {'train': 700, 'validation': 200, 'test': 100}
    """
    runtime.start()
    given = _given(image_dir, settings)
    check_names(given, names_of(ConversionConfig))
    config = build(ConversionConfig, given)
    if not config.place:
        raise InputError('Must set flag --image_dir.')
    if 'records_dir' not in given:
        records_dir = default_records_dir(config.place, config.labels_file)
        config = dataclasses.replace(config, records_dir=records_dir)
    if not config.records_dir:
        raise InputError('Must set flag --records_dir.')
    writable.refuse([writable.folder_fault(config.records_dir, 'records_dir')])
    made = conversion.convert(config, list_images(config))
    records = Records(config.records_dir, made)
    records.check_current()
    return records


def features(records: Records | Source, /, **settings: Any) -> dict[str, SplitFeatures]:
    """What a network makes of every image: the input of the head, or of scikit-learn.

    Args:
      records: of `convert`, or their folder.
      **settings: architecture, weights, bottleneck_dir, ... by their flags' names. Features are
        kept in bottleneck_dir, by default in your cache, where `train` keeps them too: a network
        looks at each image only once.

    Returns:
      Split -> features (float32 [n, width]), labels (int32 [n]) and paths, in the records' order.
      With features_in_memory='off' the features stay on disk: index them, and you get arrays.

    Raises:
      InputError: something you can mend.

    >>> train = poets_tfr.features(records, architecture='mobilenet_0.25_128')['train']
    ...                                                           # doctest: +SKIP
    >>> sklearn.svm.SVC().fit(train.features, train.labels)       # doctest: +SKIP
    """
    runtime.start()
    given = {**in_cache(), **_given('', settings)}
    check_names(given, [*names_of(BackboneConfig), *names_of(ExtractionConfig)])
    if not isinstance(records, reading.Records):
        records = Records.open(_path(records))
    backbone, extraction = build(BackboneConfig, given), build(ExtractionConfig, given)
    writable.refuse([writable.folder_fault(extraction.bottleneck_dir, 'bottleneck_dir')])
    frozen.check_available(backbone)
    return Extraction(records, frozen.load(backbone), extraction, backbone.xla).features()


def load(model: Run | Source = '', /, **settings: Any) -> Classifier:
    """Opens a trained model, to classify images with.

    Args:
      model: a run, or its folder ('runs/pets/3'; 'runs/pets' and 'runs' give the latest that is
        there); or any of its exports: a graph, a SavedModel folder, a TFLite, Keras or ONNX file.
        '': the newest of the last run below runs/ and the graph at the place of the original
        retrain.py, /tmp/output_graph.pb; which one it is is said.
      **settings: labels (a file with one label a line, where the model does not carry them), and
        input_layer, output_layer, input_height, ... for graphs of other programs.

    Raises:
      InputError: there is no such model, or it cannot be read.

    >>> classifier = poets_tfr.load('runs/pets')                  # doctest: +SKIP
    >>> classifier.predict('tom.jpg')                             # doctest: +SKIP
    Prediction(label='cats', score=0.9721, path='tom.jpg')
    """
    runtime.start()
    given = _given('', settings)
    check_names(given, names_of(ModelConfig))
    if model is None or (model and 'graph' in given):
        raise InputError('no model, or two: name one run, folder or file.')
    if model:
        given['graph'] = model_file(model)
    else:
        given['graph'] = model_file(given['graph']) if 'graph' in given else _default_graph()
    config = build(ModelConfig, given)
    return Classifier(config.graph, config.labels, config.feeding)


def evaluate(
    model: Classifier | Run | Source | Mapping[str, Any],
    images: Records | Source = '',
    /,
    **settings: Any,
) -> Evaluated:
    """How good a model is on images whose classes are known.

    Args:
      model: a classifier, what `load` takes, or its settings by name.
      images: a folder with one folder per class; or records, of which the test split is taken.
      **settings: split, report_dir, recursive, ... by their flags' names.

    Raises:
      InputError: no images, or classes that the model does not know.

    >>> poets_tfr.evaluate(run, '~/other_pets').accuracy          # doctest: +SKIP
    0.871
    """
    runtime.start()
    given = _given(images, settings)
    check_names(given, names_of(EvaluationConfig))
    config = build(EvaluationConfig, given)
    if config.report_dir:
        writable.refuse([writable.folder_fault(config.report_dir, 'report_dir')])
        if folders.holds_run(config.report_dir):
            raise InputError(
                f'--report_dir={config.report_dir} holds a run, whose report this one would '
                'replace: choose another folder.'
            )
    found = evaluation.find(config)  # first: the model takes seconds to open
    if isinstance(model, Mapping):
        model = load(**model)
    classifier = model if isinstance(model, Classifier) else load(model)
    return evaluation.evaluate(config, found, classifier.labeller, classifier.path)


def examine(images: Records | Source = '', /, **settings: Any) -> Examination:
    """Looks for labels that are likely wrong, near duplicates, odd images, and what would help.

    Args:
      images: a folder with one folder per class; or the records that `convert` made of one.
      **settings: examine_dir ('': nothing is written), seed, architectures, and those of `convert`
        and `features`: architecture, records_dir, ... by their flags' names. Records and features
        are made where they lack, and kept in your cache, where `train` finds them.

    Raises:
      InputError: something you can mend; too few images or classes to say anything.

    >>> found = poets_tfr.examine('~/pets', architecture='mobilenet_0.25_128')   # doctest: +SKIP
    >>> found.columns.paths[found.suspects.order[0]]              # doctest: +SKIP
    'cats/rex.jpg'
    """
    runtime.start()
    given = {**in_cache(), **_given(images, settings)}
    check_names(given, [n for kind in EXAMINED for n in names_of(kind)])
    wanted = build(ExamineConfig, given)
    if wanted.architectures and not given.get('tfhub_module'):
        given.setdefault('architecture', wanted.architectures[0])
    config = RunConfig.of(**{n: v for n, v in given.items() if n not in names_of(ExamineConfig)})
    place = config.conversion.place
    if wanted.examine_dir and place and is_inside(wanted.examine_dir, place):
        raise InputError(
            f'--examine_dir={wanted.examine_dir} lies in {config.conversion.place_flag}: nothing '
            'is written among the images; choose a folder elsewhere.'
        )
    written = {
        'examine_dir': wanted.examine_dir,
        'records_dir': config.conversion.records_dir if place else '',
        'bottleneck_dir': config.extraction.bottleneck_dir,
    }
    writable.refuse([writable.folder_fault(path, n) for n, path in written.items() if path])
    networks = wanted.networks(config.backbone)
    for network in networks or [config.backbone]:
        frozen.check_available(network)
    if place:
        made = conversion.convert(config.conversion, list_images(config.conversion))
        records = Records(config.conversion.records_dir, made)
    else:
        records = Records.open(config.conversion.records_dir)
    records.check_current()
    backbone = frozen.load(config.backbone)
    extraction = Extraction(records, backbone, config.extraction, config.backbone.xla)
    found = examination.examine(records, extraction.features, backbone.name, wanted.seed)
    if networks:
        group = found.copies.group
        compared = compare(records, networks, config.extraction, group, wanted.seed)
        found = dataclasses.replace(found, networks=compared)
    if wanted.examine_dir:
        writing.save(found, records, wanted.examine_dir)
    return found


def runs(run_dir: Source = RUNS, /) -> list[Run]:
    """The finished runs below a folder, the oldest first.

    >>> for run in poets_tfr.runs('runs/pets'): print(run)        # doctest: +SKIP
    """
    return sorted(map(Run.open, folders.finished_in(_path(run_dir))), key=lambda run: run.finished)


def model_file(model: Run | Source) -> str:
    """The file or folder to label with: of a run, or of a folder of runs, its graph."""
    if isinstance(model, Run):
        return model.exports['output_graph']
    path = _path(model)
    is_place = os.path.isdir(path) or os.path.basename(path) == folders.LATEST
    if is_place and folders.find(path):
        return Run.open(folders.latest(path)).exports['output_graph']
    return path


def _default_graph() -> str:
    """The newest of the last run in the current folder, and the original's place; it is said."""
    places = [ExportConfig.output_graph]
    with contextlib.suppress(InputError):
        places.append(model_file(RUNS))
    there = [path for path in places if os.path.isfile(path)]
    if not there:
        return places[0]
    newest = max(there, key=os.path.getmtime)
    log.warning('No model was named: %s is taken, the newest here.', newest)
    return newest


def _given(images: Records | Source, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Paths as they are meant: a leading ~ is the home folder."""
    given = dict(settings)
    of_records = isinstance(images, reading.Records)
    twice = {*PLACES, *(['records_dir'] if of_records else [])} & given.keys()
    if images and twice:
        raise InputError(f'--{min(twice)} is given twice, or contradicts the records: give one.')
    if isinstance(images, reading.Records):
        given['records_dir'] = images.records_dir
    elif images:
        given['image_dir'] = images
    return {
        name: _path(value) if isinstance(value, str | os.PathLike) else value
        for name, value in given.items()
    }


def _path(value: Source) -> str:
    text = os.fspath(value)
    return os.path.expanduser(text) if text.startswith('~') else text


def _name(given: Mapping[str, Any]) -> str:
    """What a run is called: after its images, or its records."""
    place = str(next(filter(None, map(given.get, (*PLACES, 'records_dir'))), 'run'))
    if os.path.isfile(place) or given.get('image_tfrecords') or given.get('image_parquet'):
        return dataset_name_of(place)
    return os.path.basename(os.path.abspath(place)) or 'run'
