"""The exports, tried as a stranger would try them: in a fresh process, on pictures of the test.

That process loads every file that was written and labels pictures with it, from the bytes that the
records hold and, where they still exist, from the original files on label_image's own path. Here
its scores are compared with the trained model's. It starts while the head is being trained and
labels while the figures are drawn, so that it costs a run next to nothing.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.export import frozen_graph
from poets_tfr.export.foreign_graph import Feeding, ForeignGraph
from poets_tfr.export.writing import Export
from poets_tfr.extraction.extract import SplitFeatures
from poets_tfr.label.labeller import Labeller
from poets_tfr.records.reading import Records, SplitRecords
from poets_tfr.training import predictions
from poets_tfr.training.head import Head
from poets_tfr.training.predictions import Predictions

log = logging.getLogger('poets_tfr')

_SPLITS = 'test', 'validation', 'train'  # the first that has pictures gives them
_SOURCES = 'stored', 'files'
_SETTLED_MARGIN = 2.0  # tolerances: with less between the best two labels, either is right


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Which pictures are labelled, and what the trained model says of them."""

    split: str
    wanted: Predictions


def choose(splits: Mapping[str, SplitFeatures], head: Head, count: int) -> Pictures:
    """`count` pictures, spread evenly over the test split (without one, over another)."""
    name = next(name for name in _SPLITS if name in splits)
    split = splits[name]
    rows = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(np.int64))
    chosen = SplitFeatures(
        split.features[rows], split.labels[rows], tuple(split.paths[row] for row in rows)
    )
    return Pictures(name, predictions.predict(head, chosen))


class SelfTest:
    """The fresh process: it gets ready, is told what to label, and answers."""

    def __init__(self, pictures: int) -> None:
        """pictures: how many are to be labelled."""
        self.pictures = pictures
        environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}  # the run has the GPU
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'poets_tfr.export_check'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self._pool = concurrent.futures.ThreadPoolExecutor(1)

    def begin(
        self, exports: Sequence[Export], pictures: Pictures, records_dir: str, image_dir: str
    ) -> Callable[[], dict[str, Any]]:
        """Has the pictures labelled with every export, while the caller does something else.

        Returns:
          What waits for the answer and compares. It gives the result as the report has it:
          `passed`, `fault` (an export that cannot be loaded, or a process that ended early),
          `pictures`, `split`, `seconds`, and for each export its verdict on the stored pictures and
          on the original files.
        """
        start = time.perf_counter()
        request = {
            'exports': [dataclasses.asdict(export) for export in exports],
            'records_dir': records_dir,
            'image_dir': image_dir,
            'split': pictures.split,
            'paths': pictures.wanted.paths,
        }
        answering = self._pool.submit(self._answer, request)

        def result() -> dict[str, Any]:
            answer, end = answering.result()
            verdicts = {
                export.flag: _verdict(export, _unpacked(found), pictures.wanted)
                for export, found in zip(exports, answer['exports'], strict=False)
            }
            passed = not answer['error'] and all(each['passed'] for each in verdicts.values())
            return {
                'passed': passed,
                'fault': answer['error'],
                'pictures': len(pictures.wanted),
                'split': pictures.split,
                'seconds': end - start,
                'exports': verdicts,
            }

        return result

    def _answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """What the process found, and when it was there."""
        out, err = self._process.communicate(json.dumps(request).encode())
        try:
            answer = json.loads(out.splitlines()[-1])
        except (IndexError, ValueError):
            last = err.decode(errors='replace').strip().splitlines()[-1:]
            answer = {'error': f'its process ended early: {" ".join(last)}', 'exports': []}
        return answer, time.perf_counter()

    def close(self) -> None:
        self._process.kill()
        self._pool.shutdown()
        with self._process:  # which closes its pipes and waits for its end
            pass


@contextlib.contextmanager
def started(pictures: int) -> Iterator[SelfTest | None]:
    """Inside, a process that gets ready; None where no pictures are to be tried."""
    if pictures == 0:
        yield None
        return
    test = SelfTest(pictures)
    try:
        yield test
    finally:
        test.close()


def begun(
    test: SelfTest | None,
    exports: Sequence[Export],
    splits: Mapping[str, SplitFeatures],
    head: Head,
    records: Records,
    image_dir: str,
) -> Callable[[], dict[str, Any] | None]:
    """Begins the self-test; what is given back waits for its verdicts, for the report, or None."""
    if test is None:
        return lambda: None
    pictures = choose(splits, head, test.pictures)
    verdicts = test.begin(exports, pictures, records.records_dir, image_dir)

    def result() -> dict[str, Any]:
        found = verdicts()
        log_result(found)
        return found

    return result


def log_result(result: Mapping[str, Any]) -> None:
    for flag, verdict in result['exports'].items():
        measure = verdict['measure']
        sources = [verdict[source] for source in _SOURCES if verdict[source]['pictures']]
        log.info(
            'Self-test of %s: %d stored and %d original images, %s difference of a score %.1e, '
            'top-1 agreement %.1f%%',
            flag, verdict['stored']['pictures'], verdict['files']['pictures'], measure,
            max(found[f'{measure}_difference'] for found in sources),
            min(found['top_1_agreement'] for found in sources) * 100,
        )  # fmt: skip
        if verdict['warning']:
            log.warning('WARNING: %s', verdict['warning'])


def check(result: Mapping[str, Any]) -> None:
    """Raises InputError, naming the export, when one gives other scores than the model."""
    if result['fault']:
        raise InputError(f'Self-test failed: {result["fault"]}')
    for flag, verdict in result['exports'].items():
        if not verdict['passed']:
            raise InputError(f'Self-test failed: --{flag}: {verdict["fault"]}')


def _verdict(export: Export, found: Mapping[str, Any], wanted: Predictions) -> dict[str, Any]:
    row_of = {path: row for row, path in enumerate(wanted.paths)}
    verdict: dict[str, Any] = {
        'path': export.path,
        'tolerance': export.tolerance,
        'measure': export.measure,
        'passed': True,
        'fault': '',
        'warning': '',
    }
    for source in _SOURCES:
        rows = [row_of[path] for path in found[source]]
        scores = np.array(list(found[source].values()), np.float32)
        compared = _compare(scores, wanted.scores[rows], export.tolerance)
        verdict[source] = compared
        if not rows:
            continue
        difference, agreement = (
            compared[f'{export.measure}_difference'],
            compared['top_1_agreement'],
        )
        said = f'{export.path}: of {len(rows)} images ({source})'
        if not difference <= export.tolerance:  # nor if it is no number
            verdict['passed'] = False
            verdict['fault'] = (
                f'{said} the {export.measure} difference of a score from the trained model is '
                f'{difference:.2g}, {export.tolerance:g} is allowed. Do not use this file.'
            )
        if agreement < export.top_1_agreement:
            text = (
                f'{said} {agreement:.1%} get the label that the trained model gives, '
                f'{export.top_1_agreement:.0%} are wanted.'
            )
            if export.agreement_is_needed:
                verdict |= {'passed': False, 'fault': verdict['fault'] or text}
            else:
                remedy = ' --tflite_quantization=float16 keeps more.'
                verdict['warning'] = text + (remedy if export.flag == 'tflite_output' else '')
    return verdict


def _packed(scores: np.ndarray) -> str:
    """As text: of thousands of classes JSON's numbers would take seconds."""
    return base64.b64encode(scores.astype('<f4').tobytes()).decode()


def _unpacked(found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, np.ndarray]]:
    return {
        source: {path: np.frombuffer(base64.b64decode(text), '<f4') for path, text in of.items()}
        for source, of in found.items()
    }


def _compare(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> dict[str, Any]:
    """Two labels that the trained model itself can hardly tell apart count as agreeing."""
    if not len(wanted):
        return {'pictures': 0}
    difference = np.abs(found - wanted)
    best = wanted.max(axis=1)
    of_chosen = np.take_along_axis(wanted, found.argmax(axis=1)[:, None], 1)[:, 0]
    margin = min(_SETTLED_MARGIN * tolerance, 0.05)
    return {
        'pictures': len(wanted),
        'largest_difference': float(difference.max()),
        'mean_difference': float(difference.mean()),
        'top_1_agreement': float(np.mean(best - of_chosen <= margin)),
    }


# What follows runs in the fresh process.


def main() -> None:
    """Reads a request from stdin, answers on stdout; both are one line of JSON."""
    answer_to = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # whatever else is said is no answer
    logging.getLogger('poets_tfr').addHandler(logging.NullHandler())
    import tensorflow as tf  # while the head is trained, before there is anything to do

    # Grappler copies the weights again and again: a second for a head of 10,000 classes, which a
    # few pictures never repay.
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    request = json.loads(sys.stdin.buffer.read() or b'null')
    if request is not None:
        answer: dict[str, Any] = {'error': '', 'exports': []}
        try:
            answer['exports'] += _label_all(request)
        except InputError as error:
            answer['error'] = error.with_dashes
        answer_to.write(json.dumps(answer).encode() + b'\n')
        answer_to.flush()
    os._exit(0)  # tensorflow-io's file systems may abort the process while it takes itself down


def _label_all(request: Mapping[str, Any]) -> Iterator[dict[str, dict[str, str]]]:
    """Of each export: source -> path -> scores, packed."""
    records_dir, split, paths = request['records_dir'], request['split'], request['paths']
    records = Records.open(records_dir)[split]
    rows = records.rows_of(paths)
    stored = dict(zip(paths, records.read_each(rows), strict=True))
    originals = _originals(request['image_dir'], records, rows)
    for fields in request['exports']:
        export = Export(**fields)
        labeller = Labeller(export.path, export.labels)
        yield {
            'stored': dict(zip(paths, _of_stored(export, labeller, stored, paths), strict=True)),
            'files': _of_files(labeller, originals),
        }


def _of_stored(
    export: Export, labeller: Labeller, stored: Mapping[str, bytes], paths: Sequence[str]
) -> list[str]:
    """A graph is fed as other people's scripts do it: bytes, one picture at a time."""
    graph_def, description = (
        frozen_graph.load(export.path) if export.flag == 'output_graph' else (None, None)
    )
    if description is None:
        return list(map(_packed, labeller.scores_of_stored([stored[path] for path in paths])))
    feeding = Feeding(frozen_graph.CONTENTS_TENSOR, description.output_tensor)
    graph = ForeignGraph(export.path, graph_def, feeding)
    return [_packed(graph.score_one(stored[path])) for path in paths]


def _originals(image_dir: str, records: SplitRecords, rows: Sequence[int]) -> dict[str, str]:
    """File -> path in the records, of the images that are still as they were converted."""
    found = {}
    for row in rows if image_dir else ():
        path = records.paths[row]
        file = files.join(image_dir, path)
        with contextlib.suppress(OSError):
            if bytes.fromhex(files.sha256_of(file)) == records.source_digests[row].ljust(32, b'\0'):
                found[file] = path
    return found


def _of_files(labeller: Labeller, originals: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for labelled in labeller.label_files(originals):
        if labelled.scores is None:
            raise InputError(f'{labelled.path} was converted, but is refused: {labelled.reason}')
        found[originals[labelled.path]] = _packed(labelled.scores)
    return found


if __name__ == '__main__':
    main()
