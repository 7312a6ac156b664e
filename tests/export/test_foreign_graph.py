"""Graphs of the original retrain.py, labelled by label_image.py beside the originals' own way."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, call
from PIL import Image

LABELS = 'daisy\nrose\ntulip\n'


@pytest.fixture(scope='module')
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<kind>.pb of each version, labels.txt and picture.png."""
    folder = tmp_path_factory.mktemp('originals')
    for kind in 'input', 'Mul', 'Placeholder':
        (folder / f'{kind}.pb').write_bytes(graphs.original_graph(kind))
    (folder / 'labels.txt').write_text(LABELS)
    rng = np.random.default_rng(5)
    pixels = colours.draw('Red_Roses', rng)
    Image.fromarray(pixels).resize((90, 70)).save(folder / 'picture.png')
    return folder


def originals_scores(
    graph: Path, feed: str, picture: Path, size: int, mean: float, std: float
) -> np.ndarray:
    """The pixels as the originals prepared them, through a TensorFlow 1 session."""
    import tensorflow as tf

    pixels = np.asarray(Image.open(picture), np.float32)[None]
    resized = tf.compat.v1.image.resize_bilinear(pixels, [size, size]).numpy()
    return run(graph, f'{feed}:0', (resized - mean) / std)


def run(graph: Path, feed: str, value: Any) -> np.ndarray:
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef.FromString(graph.read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        return session.run('final_result:0', {feed: value})[0]


def label(places: Path, graph: str, *flags: str) -> Ended:
    return call(
        'label_image', f'--graph={places / graph}', f'--labels={places / "labels.txt"}',
        f'--image={places / "picture.png"}', '--format=json', *flags,
    )  # fmt: skip


def scores_of(ended: Ended) -> list[float]:
    assert ended.status == 0, ended.err
    labels = {line['label']: line['score'] for line in json.loads(ended.out)['labels']}
    return [labels[name] for name in LABELS.split()]


KNOWN = [('input', 128, 127.5, 127.5), ('Mul', 299, 128, 128), ('Placeholder', 96, 0, 255)]


@pytest.mark.parametrize(('kind', 'size', 'mean', 'std'), KNOWN)
def test_known_by_its_input(places: Path, kind: str, size: int, mean: float, std: float) -> None:
    wanted = originals_scores(places / f'{kind}.pb', kind, places / 'picture.png', size, mean, std)
    ended = label(places, f'{kind}.pb')
    np.testing.assert_allclose(scores_of(ended), wanted, atol=1e-5)
    assert ended.err.startswith(f'NOTE: {places / kind}.pb does not say how it wants its images')
    assert f'{size} x {size}, (pixel - {mean}) / {std}.' in ended.err
    assert ended.err.count('\n') == 1


@pytest.mark.parametrize(('kind', 'size', 'mean', 'std'), KNOWN)
def test_flags_say_it_and_0_counts(
    places: Path, kind: str, size: int, mean: float, std: float
) -> None:
    """Mean 0 was taken for not given by the original label_image.py."""
    wanted = originals_scores(places / f'{kind}.pb', kind, places / 'picture.png', size, 0, 200)
    other = originals_scores(places / f'{kind}.pb', kind, places / 'picture.png', size, mean, std)
    ended = label(
        places, f'{kind}.pb', f'--input_layer={kind}', '--output_layer=final_result:0',
        f'--input_height={size}', f'--input_width={size}', '--input_mean=0', '--input_std=200',
    )  # fmt: skip
    np.testing.assert_allclose(scores_of(ended), wanted, atol=1e-5)
    assert abs(np.array(wanted) - other).max() > 1e-4
    assert ended.err == ''


def test_bytes_go_into_the_decoder(places: Path) -> None:
    content = io.BytesIO()
    Image.open(places / 'picture.png').save(content, 'JPEG')
    (places / 'picture.jpg').write_bytes(content.getvalue())
    wanted = run(places / 'Mul.pb', 'DecodeJpeg/contents:0', content.getvalue())
    ended = call(
        'label_image', f'--graph={places / "Mul.pb"}', f'--labels={places / "labels.txt"}',
        '--format=json', '--input_layer=DecodeJpeg/contents:0', places / 'picture.jpg',
    )  # fmt: skip
    np.testing.assert_allclose(scores_of(ended), wanted, atol=1e-5)
    assert ended.err == ''


@pytest.mark.parametrize(
    ('graph', 'flags', 'says'),
    [
        ('input.pb', ['--input_layer=import/Mul'], '--input_layer=Mul: no such node in .*input.pb'),
        ('input.pb', ['--input_layer=Mul'], r'Inputs: input, .*\. Nodes \(the last 20 of \d+\): '),
        ('input.pb', ['--output_layer=softmax:7'], '--output_layer=softmax:7: no such node'),
        ('input.pb', ['--input_height=224'], "--input_height=224: 'input' takes 128."),
        ('Mul.pb', ['--input_layer=Cast'], "in which range 'Cast' wants its images"),
        ('Mul.pb', ['--input_std=0'], r'--input_std=0\.0 must be a finite number above 0'),
        ('Mul.pb', ['--labels='], '--labels:  not found'),
    ],
)
def test_what_is_wrong_is_said(places: Path, graph: str, flags: list[str], says: str) -> None:
    ended = label(places, graph, *flags)
    assert (ended.status, ended.out) == (1, '')
    assert re.search(says, ended.err.splitlines()[-1]), ended.err


def test_labels_have_to_be_named_and_as_many(places: Path, tmp_path: Path) -> None:
    ended = call('label_image', f'--graph={places / "input.pb"}', places / 'picture.png')
    assert ended.status == 1
    assert 'does not carry its labels: name the file of them' in ended.err
    (tmp_path / 'two.txt').write_text('a\nb\n')
    ended = label(places, 'input.pb', f'--labels={tmp_path / "two.txt"}')
    assert ended.status == 1
    assert 'there are 2 labels, but' in ended.err
    assert 'gives 3 scores' in ended.err
