"""An exported model against labelled pictures: a folder of folders, or records."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poets_tfr import files, progress
from poets_tfr.errors import InputError
from poets_tfr.label.labeller import Labelled, Labeller
from poets_tfr.label.settings import EvaluationConfig
from poets_tfr.progress import printable, timed
from poets_tfr.records import codecs, corrections
from poets_tfr.records.corrections import Correction, Corrections
from poets_tfr.records.manifest import MANIFEST, MOST_IN_TABLE
from poets_tfr.records.reading import Records
from poets_tfr.reporting import about, metrics, report
from poets_tfr.reporting.metrics import Metrics
from poets_tfr.reporting.report import Report
from poets_tfr.reporting.summaries import MOST_MISTAKES
from poets_tfr.sources import remarks, split_folders
from poets_tfr.sources.archives import is_archive
from poets_tfr.sources.class_folders import look_into
from poets_tfr.sources.folders import Folders, is_hidden, is_system_folder
from poets_tfr.sources.labels import label_of, possible_labels
from poets_tfr.sources.remarks import Remarks
from poets_tfr.sources.shard_patterns import is_pattern
from poets_tfr.sources.source import Drive
from poets_tfr.training.predictions import Predictions

log = logging.getLogger('poets_tfr')

_BATCH = 32
_MOST_IN_MATRIX = 20  # classes in a confusion matrix of text
_WEAKEST = 20  # classes in a table that has no room for all


class LabelledFile(NamedTuple):
    """A file of image_dir, its path relative to it. `fault`: why it must not be opened, or ''.

    correction: what says that it is of another class than its folder's.
    """

    path: str
    folder: str
    fault: str
    correction: Correction | None = None

    @property
    def class_name(self) -> str:
        return self.correction.label if self.correction else self.folder


class _Scored(NamedTuple):
    """A picture with its true label; scores: float32 [classes], None where it is no picture."""

    path: str
    label: int
    scores: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """How good a model is on images whose classes are known.

    predictions: of all whole images.
    figures: what they are worth.
    bad: how many files could not be decoded.
    """

    predictions: Predictions
    figures: Metrics
    bad: int

    @property
    def accuracy(self) -> float:
        """A fraction of 1."""
        return self.figures.accuracy

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Where the accuracy on endless images lies, with 95 % confidence (Wilson 1927)."""
        return self.figures.interval

    def __repr__(self) -> str:
        low, high = self.accuracy_interval or (0.0, 1.0)
        count = self.figures.pictures
        return f'<Evaluated accuracy {self.accuracy:.1%} ({low:.1%} to {high:.1%}, N={count})>'


def find(config: EvaluationConfig) -> Records | list[LabelledFile]:
    """What there is to label. Without the export, and so without TensorFlow.

    Raises:
      InputError: no such pictures.
    """
    if config.image_dir:
        return _corrected(config, _find_files(config))
    records = Records.open(config.records_dir)
    records.check_indexes()
    return records


def evaluate(
    config: EvaluationConfig,
    found: Records | Sequence[LabelledFile],
    labeller: Labeller,
    graph: str,
) -> Evaluated:
    """Labels every image, says how many are classified correctly, and writes the report asked for.

    Args:
      config: which pictures.
      found: of `find`.
      labeller: of the export.
      graph: the export's path, for the report.

    Raises:
      InputError: no whole picture, or classes that the model does not know.
    """
    timings: dict[str, float] = {}
    with timed(timings, 'labelling'):
        scored = list(_scored(config, found, labeller))
    whole = [each for each in scored if each.scores is not None]
    if not whole:
        raise InputError(_no_picture(config.image_dir or config.records_dir))
    predictions = Predictions(
        tuple(each.path for each in whole),
        np.array([each.label for each in whole], np.int32),
        np.stack([each.scores for each in whole if each.scores is not None]),
    )
    figures = metrics.measure(predictions)
    log.info('%s', table(figures, labeller.labels))
    if config.report_dir:
        _save_report(config, labeller.labels, graph, predictions, figures, timings)
    log.info('Accuracy = %.1f%% (N=%d)', figures.accuracy * 100, figures.pictures)
    return Evaluated(predictions, figures, len(scored) - len(whole))


def table(figures: Metrics, labels: Sequence[str]) -> str:
    """Class by class (of many, the weakest), and of few classes what gets mistaken for what."""
    is_whole = len(labels) <= MOST_IN_TABLE
    chosen = range(len(labels)) if is_whole else figures.weakest(_WEAKEST).tolist()
    names = [printable(labels[i]) for i in chosen]
    width = max([len('class'), *map(len, names)])
    lines = [f'{"class":{width}}  images  precision    recall        F1']
    for name, i in zip(names, chosen, strict=True):
        shares = figures.precision[i], figures.recall[i], figures.f1[i]
        cells = ''.join(f'{_percent(share):>10}' for share in shares)
        lines.append(f'{name:{width}}{figures.support[i]:>10,} {cells}')
    if not is_whole:
        lines.append(
            f'Of {len(labels):,} classes the {len(chosen)} weakest; --report_dir has all of them.'
        )
    if len(labels) <= _MOST_IN_MATRIX:
        lines += ['', 'Rows: what they are; columns: what they were taken for, in the same order.']
        confusion = figures.confusion
        cell = max(4, len(str(confusion.max())) + 1)
        for name, counts in zip(names, confusion, strict=True):
            lines.append(
                f'{name:{width}} ' + ''.join(f'{count or ".":>{cell}}' for count in counts)
            )
    lines += [
        '',
        f'Mean of the classes {_percent(figures.macro_accuracy)}, '
        f'cross entropy {figures.cross_entropy:.4f}, '
        f'calibration error {_percent(figures.calibration.error)}',
    ]
    return '\n'.join(lines)


def _percent(share: float) -> str:
    return '-' if np.isnan(share) else f'{share * 100:.1f}%'


def _no_picture(where: str) -> str:
    return f'{where}: no image to evaluate.'


def _find_files(config: EvaluationConfig) -> list[LabelledFile]:
    root = config.image_dir
    if is_archive(root) or is_pattern(root):
        raise InputError(
            f'--image_dir={root}: archives have to be converted first: poets-convert '
            f"--image_dir='{root}' --records_dir=DIR; then evaluate takes --records_dir=DIR."
        )
    try:
        files.scan(root)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f'--image_dir: there is no folder {root}.') from None
    if folder := split_folders.folder_of(Drive(root), config.split, config.recursive):
        log.info('Splits are given by folders: the images in %s are taken.', printable(folder))
        found = _find_class_folders(config, files.join(root, folder))
        return [file._replace(path=f'{folder}/{file.path}') for file in found]
    return _find_class_folders(config, root)


def _find_class_folders(config: EvaluationConfig, root: str) -> list[LabelledFile]:
    entries = files.scan(root)
    classes = [entry for entry in entries if entry.is_dir and not is_hidden(entry.name)]
    if not classes:
        raise InputError(f'--image_dir: {root} holds no folders: one is wanted per class.')
    folders = Folders(Drive(root), config.recursive, config.follow_links)
    about = Remarks(len(classes))
    found = []
    for entry in classes:
        name = entry.name
        contents = look_into(folders, entry)
        if contents is None or is_system_folder(name):
            continue
        about.of_contents(name, contents)
        if not contents.pictures:
            about.of_size(name, 0)
        found += [LabelledFile(f'{name}/{p.name}', name, p.fault) for p in contents.pictures]
    about.flush()
    remarks.check_open('--image_dir', folders)
    if not found:
        raise InputError(f'--image_dir: {_no_picture(root)}')
    remarks.of_loose_pictures(root, entries)
    remarks.of_folders(folders)
    return found


def _corrected(config: EvaluationConfig, found: list[LabelledFile]) -> list[LabelledFile]:
    """With the classes that --corrections gives, and without what it leaves out."""
    faults = {file.path: file.fault for file in found}

    def sha256_of(path: str) -> str:
        with contextlib.suppress(OSError):
            if not faults[path]:
                return hashlib.sha256(
                    files.read_bytes(files.join(config.image_dir, path))
                ).hexdigest()
        return ''

    said = Corrections.of(config.corrections, faults).unchanged(sha256_of)
    relabelled, left_out = said.all(corrections.RELABEL), said.all(corrections.LEAVE_OUT)
    said.report(len(relabelled), len(left_out))
    return [
        file._replace(correction=relabelled.get(file.path))
        for file in found
        if file.path not in left_out
    ]


def _scored(
    config: EvaluationConfig, found: Records | Sequence[LabelledFile], labeller: Labeller
) -> Iterator[_Scored]:
    if isinstance(found, Records):
        return _scored_records(found, config.split, labeller)
    _check_corrected(config, found, labeller)
    return _scored_files(config.image_dir, found, labeller)


def _check_corrected(
    config: EvaluationConfig, found: Sequence[LabelledFile], labeller: Labeller
) -> None:
    """Raises InputError where an image is to be of a class that the model does not know."""
    for said in [file.correction for file in found if file.correction]:
        if not any(label in labeller.places for label in possible_labels(said.label)):
            raise corrections.no_such_label(config.corrections, said, labeller.labels)


def _scored_files(
    image_dir: str, found: Sequence[LabelledFile], labeller: Labeller
) -> Iterator[_Scored]:
    folders = dict.fromkeys(file.class_name for file in found)
    labels = [
        next((label for label in possible_labels(folder) if label in labeller.places), '')
        or label_of(folder)
        for folder in folders
    ]
    places = dict(zip(folders, _places(labeller, labels, image_dir), strict=True))
    labelled = labeller.label_files(
        files.join(image_dir, file.path) for file in found if not file.fault
    )
    with progress.bar(len(found), 'images', 'Labelling') as bar:
        for file in found:
            path = files.join(image_dir, file.path)
            scored = Labelled(path, None, file.fault) if file.fault else next(labelled)
            if scored.scores is None:
                log.warning('%s: %s', printable(path), scored.reason)
            yield _Scored(file.path, places[file.class_name], scored.scores)
            bar.update()


def _scored_records(records: Records, split: str, labeller: Labeller) -> Iterator[_Scored]:
    places, of_split = _places(labeller, records.labels, records.records_dir), records[split]
    with progress.bar(len(of_split), 'images', 'Labelling') as bar:
        for rows, images in of_split.batches(batch_size=_BATCH):
            for row, scores in zip(rows, labeller.scores_of_stored(images), strict=True):
                yield _Scored(of_split.paths[row], places[of_split.labels[row]], scores)
            bar.update(len(rows))


def _places(labeller: Labeller, wanted: Iterable[str], where: str) -> list[int]:
    """Where each label stands among the model's."""
    known, found = labeller.labels, []
    for label in wanted:
        if label not in labeller.places:
            names = ', '.join(printable(name) for name in known[:20])
            raise InputError(
                f'{where} has the class {label!r}, which the model does not know: its labels are '
                f'{names}{" ..." if len(known) > 20 else ""}.'
            )
        found.append(labeller.places[label])
    return found


def _save_report(
    config: EvaluationConfig,
    labels: Sequence[str],
    graph: str,
    predictions: Predictions,
    figures: Metrics,
    timings: Mapping[str, float],
) -> None:
    where = config.image_dir or config.records_dir
    rows = metrics.worst_mistakes(predictions, MOST_MISTAKES).tolist()
    right = metrics.right_beside(predictions, rows, report.MOST_EXAMPLES).tolist()
    pictures = _pictures(config, [predictions.paths[row] for row in [*rows, *right]])
    name = 'given' if config.image_dir else config.split
    settings: dict[str, Any] = {**dataclasses.asdict(config), 'graph': graph}
    digests = {}
    if not files.is_remote(graph) and os.path.isfile(graph):
        digests['graph'] = files.sha256_of(graph)
    if config.records_dir:
        digests[MANIFEST] = files.sha256_of(files.join(config.records_dir, MANIFEST))
    report.save(
        config.report_dir,
        Report(
            title=f'{os.path.basename(graph.rstrip("/"))} on {files.absolute(where)}',
            labels=labels,
            metrics={name: figures},
            mistakes=report.mistakes(predictions, rows, pictures, labels),
            examples=report.examples(predictions, right, pictures, labels),
            settings=settings,
            versions=about.versions(),
            timings=timings,
            digests=digests,
        ),
    )


def _pictures(config: EvaluationConfig, paths: Sequence[str]) -> dict[str, bytes]:
    """Path -> the picture as it would be stored: upright, JPEG or PNG."""
    if config.records_dir:
        split = Records.open(config.records_dir)[config.split]
        return dict(zip(paths, split.read_each(split.rows_of(paths)), strict=True))
    with codecs.pillow_silenced():
        return {
            path: codecs.store(files.read_bytes(files.join(config.image_dir, path))).encoded
            for path in paths
        }
