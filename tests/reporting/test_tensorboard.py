"""A whole run in TensorBoard: read back by its own reader, and its pages in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boards
import browser as browsers
import colours
import graphs
import numpy as np
import pytest
import tensorflow as tf
from command_line import Ended, Places, call
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

Trained = tuple[Places, Ended]
LABELS = ['green grass', 'red roses', 'bluebells']
HOSTILE_FOLDERS = [
    '<script>document.title="hacked"<',
    '"><img src=x onerror=alert(1)>',
    "it's | `x`",
]


def read(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={'tensors': 0, 'images': 0})
    accumulator.Reload()
    return accumulator


def tensor_of(accumulator: EventAccumulator, tag: str) -> np.ndarray:
    (event,) = accumulator.Tensors(tag)
    return tf.make_ndarray(event.tensor_proto)


def image_of(accumulator: EventAccumulator, tag: str) -> Image.Image:
    (event,) = accumulator.Images(tag)
    picture = Image.open(io.BytesIO(event.encoded_image_string))
    assert picture.size == (event.width, event.height)
    return picture


def test_what_the_run_was(trained: Trained) -> None:
    about = read(trained[0].summaries)
    configuration = tensor_of(about, 'configuration/text_summary').item().decode()
    assert re.search(r'\| --how.{1,6}many.{1,6}training.{1,6}steps \| 200 \|', configuration)
    pictures = tensor_of(about, 'pictures/text_summary').item().decode()
    for label in LABELS:
        assert f'| {label} |' in pictures
    metadata = about.SummaryMetadata('_hparams_/session_start_info').plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(metadata).session_start_info
    assert session.hparams['how_many_training_steps'].number_value == 200
    assert session.hparams['architecture'].string_value == graphs.MOBILENET
    assert not [name for name in session.hparams if name.endswith('_dir')]
    end = about.SummaryMetadata('_hparams_/session_end_info').plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(end).session_end_info.status == 1
    layout = layout_pb2.Layout.FromString(tensor_of(about, 'custom_scalars__config__').item())
    (category,) = layout.category
    assert [list(chart.multiline.tag) for chart in category.chart] == [
        ['^accuracy_1$'],
        ['^cross_entropy_1$'],
    ]


def test_the_graph_without_its_weights(trained: Trained) -> None:
    graph = read(trained[0].summaries).Graph()
    names = {node.name for node in graph.node}
    assert {'DecodeJpeg/contents', 'input', 'final_result'} <= names
    assert graph.ByteSize() < 200_000
    whole = tf.compat.v1.GraphDef.FromString(trained[0].graph.read_bytes())
    assert {node.name for node in whole.node} == names


def test_final_figures_and_pictures(trained: Trained) -> None:
    test = read(trained[0].summaries / 'test')
    scalars = set(test.Tags()['scalars'])
    assert {'final/accuracy', 'final/cross_entropy', 'final/calibration_error'} <= scalars
    names = 'precision', 'recall', 'f1'
    assert {f'final_{name}/{label}' for name in names for label in LABELS} <= scalars
    assert sorted(scalars)[0].startswith('final'), 'behind accuracy_1 and cross_entropy_1'
    for tag in 'confusion_matrix', 'calibration':
        pixels = np.asarray(image_of(test, tag).convert('RGB'))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10, 'more than an empty sheet'
    for label in LABELS:
        curve = tensor_of(test, f'{label}/pr_curves')
        assert curve.shape == (6, 101)
        assert curve[5, 0] == 1.0, 'every image of the class is found at threshold 0'
    validation = read(trained[0].summaries / 'validation')
    assert 'confusion_matrix' in validation.Tags()['images']


def test_what_the_network_sees_has_the_colours_of_the_class(trained: Trained) -> None:
    train = read(trained[0].summaries / 'train')
    for label, colour in zip(LABELS, colours.COLOURS.values(), strict=True):
        sheet = image_of(train, f'what_the_network_sees/{label}')
        mean = np.asarray(sheet.convert('RGB'))[20:60, 20:60].mean(axis=(0, 1))
        assert mean.argmax() == np.argmax(colour)
    assert 'final_training_ops/Wx_plus_b/pre_activations' in train.Tags()['histograms']
    speeds = [event.value for event in train.Scalars('training/steps_per_second')]
    assert min(speeds) > 0
    assert {event.value for event in train.Scalars('training/waiting_for_data')} == {0.0}


@pytest.fixture(scope='module')
def hostile_run(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path
) -> tuple[Places, list[str]]:
    """4,000 steps on classes and files of hostile names."""
    root = tmp_path_factory.mktemp('hostile')
    pictures = colours.write(root / 'pictures', per_class=24)
    for folder, hostile in zip(sorted(colours.COLOURS), HOSTILE_FOLDERS, strict=True):
        (pictures / folder).rename(pictures / hostile)
        for number, path in enumerate(sorted((pictures / hostile).iterdir())):
            path.rename(path.with_name(f'<b onmouseover=alert({number})>\n"\t{path.name}'))
    places = Places(root / 'run')
    ended = call(
        'retrain', f'--image_dir={pictures}', f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', '--testing_percentage=25', '--profile_steps=20,30',
        *places.flags(),
    )  # fmt: skip
    assert ended.status == 0, ended.err
    return places, places.labels.read_text().splitlines()


@pytest.mark.slow
def test_the_event_files_stay_small(hostile_run: tuple[Places, list[str]]) -> None:
    summaries = hostile_run[0].summaries
    written = list(summaries.rglob('events.out.tfevents.*'))
    assert sum(path.stat().st_size for path in written) < 5e6
    assert len(list(summaries.rglob('*.xplane.pb'))) == 1


@pytest.mark.slow
def test_the_pages(browser: Any, hostile_run: tuple[Places, list[str]]) -> None:
    """Accuracy curve, pictures, projector; and no name of a file does any harm."""
    places, _ = hostile_run
    with boards.served(places.summaries) as address:

        def page(name: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            return boards.looked_at(browser, f'{address}#{name}', wanted)

        # Two charts, each with a line of train and one of validation.
        charts = page('custom_scalars', lambda shown: shown['lines'] >= 4)
        assert 'Training and validation' in charts['text']
        page('images', lambda shown: shown['pictures'] >= 2)
        page('projector', lambda shown: 'Points: 72' in shown['text'])
        page('text', lambda shown: '--learning' in shown['text'])
        assert browser.title == 'TensorBoard', 'no name of a file became a script'


@pytest.mark.slow
def test_the_report_in_the_browser(browser: Any, hostile_run: tuple[Places, list[str]]) -> None:
    places, labels = hostile_run
    browsers.complaints(browser)
    browser.get((places.summaries / 'report.html').as_uri())
    assert not browsers.complaints(browser)
    assert 'with mobilenet' in browser.title
    shown = browser.execute_script(boards.LOOK)
    for label in labels:
        assert label.strip() in shown['text']
    accuracy = browser.find_element('id', 'accuracy').text
    assert re.fullmatch(r'\d+\.\d %', accuracy)
    assert browser.execute_script('return document.querySelectorAll("polyline").length') == 4
