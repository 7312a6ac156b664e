"""What a run is, in TensorBoard's own terms: text, hyperparameters, the layout, the graph."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import poets_tfr
from poets_tfr.progress import printable
from poets_tfr.records.manifest import Manifest, abridged, in_table
from poets_tfr.sources.settings import SPLITS

ACCURACY, CROSS_ENTROPY = 'accuracy_1', 'cross_entropy_1'  # the original's tags, suffix and all
# Behind those two in the alphabet, by which TensorBoard sorts.
FINAL_ACCURACY, MACRO = 'final/accuracy', 'final/accuracy_mean_of_classes'
MEAN_CROSS_ENTROPY = 'final/cross_entropy'
CALIBRATION_ERROR = 'final/calibration_error'

Setting = str | bool | int | float
_LARGEST_CONSTANT = 1024  # bytes; what is larger are weights, which the graph page does not show


def versions() -> dict[str, str]:
    """Package -> version, of all that may change a result; '' for what is not installed."""
    found = {'poets_tfr': poets_tfr.__version__, 'python': platform.python_version()}
    for package in (
        'tensorflow', 'tensorflow-io', 'keras', 'numpy', 'pillow', 'pi-heif', 'pillow-jxl-plugin',
        'tensorboard',
    ):  # fmt: skip
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ''
    return found


def plain(values: Mapping[str, object]) -> dict[str, Setting]:
    """Settings as JSON and TensorBoard take them: lists are joined by commas."""
    return {
        name: value if isinstance(value, Setting) else _joined(value)
        for name, value in values.items()
    }


def _joined(value: object) -> str:
    return ','.join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def hparams_summaries(hyperparameters: Mapping[str, object]) -> list[Any]:
    """The proto messages that begin a session of TensorBoard's hparams plugin."""
    from tensorboard.plugins.hparams import api as hp
    from tensorboard.plugins.hparams import api_pb2, summary

    metrics = [
        hp.Metric(tag, group=run, display_name=f'{run} {name}').as_proto()
        for run in ('test', 'validation')
        for tag, name in (
            (FINAL_ACCURACY, 'accuracy'),
            (MACRO, 'accuracy, mean of classes'),
            (MEAN_CROSS_ENTROPY, 'cross entropy'),
            (CALIBRATION_ERROR, 'calibration error'),
        )
    ]
    settings = {
        name: printable(value) if isinstance(value, str) else value
        for name, value in plain(hyperparameters).items()
    }
    # Without domains: other runs, shown beside this one, may have any other values.
    columns = [
        api_pb2.HParamInfo(name=name, type=_data_type(value)) for name, value in settings.items()
    ]
    return [summary.experiment_pb(columns, metrics), hp.hparams_pb(settings)]


def _data_type(value: Setting) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    return api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64


def session_end(succeeded: bool) -> Any:
    """The proto message that ends the session."""
    from tensorboard.plugins.hparams import api_pb2, summary

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    return summary.session_end_pb(status)


def layout() -> Any:
    """The custom scalars page: what is to be compared shares a chart."""
    from tensorboard.plugins.custom_scalar import layout_pb2, summary

    def chart(title: str, *tags: str) -> Any:
        patterns = [f'^{re.escape(tag)}$' for tag in tags]
        return layout_pb2.Chart(
            title=title, multiline=layout_pb2.MultilineChartContent(tag=patterns)
        )

    learning = layout_pb2.Category(
        title='Training and validation',
        chart=[chart('accuracy', ACCURACY), chart('cross entropy', CROSS_ENTROPY)],
    )
    return summary.pb(layout_pb2.Layout(category=[learning]))


def text(tag: str, markdown: str) -> Any:
    from tensorboard.plugins.text import summary

    return summary.pb(tag, markdown)


def configuration_text(settings: Mapping[str, object], versions: Mapping[str, str]) -> str:
    rows = [(f'--{name}', value) for name, value in sorted(plain(settings).items())]
    return '\n\n'.join(
        [_table(('flag', 'value'), rows), _table(('package', 'version'), versions.items())]
    )


def records_text(manifest: Manifest) -> str:
    """The data set: how many pictures of each class and split, and what was left out."""
    counts = [manifest.splits[split].pictures_per_class for split in SPLITS]
    labels = manifest.labels
    chosen = in_table([sum(numbers) for numbers in zip(*counts, strict=True)])
    rows: list[Sequence[object]] = [
        ['...'] * (len(SPLITS) + 2)
        if i is None
        else (labels[i], *(of[i] for of in counts), sum(of[i] for of in counts))
        for i in chosen
    ]
    totals = [sum(numbers) for numbers in counts]
    rows.append(('total', *totals, sum(totals)))
    left_out = f'{manifest.skipped:,} files were skipped, {manifest.ignored:,} ignored.'
    if manifest.relabelled:
        left_out += f' {manifest.relabelled:,} images were relabelled.'
    reasons = _table(('skipped because', 'files'), sorted(manifest.skip_reasons.items()))
    parts = [_table(('class', *SPLITS, 'all'), rows)]
    parts += [abridged(len(labels)), left_out] if None in chosen else [left_out]
    return '\n\n'.join([*parts, *([reasons] if manifest.skip_reasons else [])])


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ['---'] * len(header), *([_cell(value) for value in row] for row in rows)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(value: object) -> str:
    """Text that means nothing to Markdown or HTML, whatever a folder is called."""
    return re.sub(r'[^\w ,.:/=-]', lambda match: f'&#{ord(match[0])};', printable(str(value)))


def without_weights(graph_def: Any) -> Any:
    """The graph's nodes and edges; of large constants only type and shape."""
    import tensorflow as tf

    light = tf.compat.v1.GraphDef()
    light.CopyFrom(graph_def)
    for node in light.node:
        value = node.attr['value'] if node.op == 'Const' else None
        if value is not None and value.ByteSize() > _LARGEST_CONSTANT:
            tensor = value.tensor
            value.tensor.CopyFrom(
                type(tensor)(dtype=tensor.dtype, tensor_shape=tensor.tensor_shape)
            )
    return light
