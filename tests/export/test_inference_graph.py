"""--inference_graph: a plain network, which scores as the frozen graph does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import tensorflow as tf
from command_line import Ended, Places, call

from poets_tfr.export import frozen_graph, inference_graph
from poets_tfr.export.description import Description
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures.preprocess import Preprocessing


def run_graph(graph_def: Any, feed: dict[str, Any]) -> np.ndarray:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        return session.run('final_result:0', feed)


def test_it_is_a_plain_network(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    whole, description = frozen_graph.load(str(trained[0].graph))
    assert description
    plain = inference_graph.of(whole, description)
    nodes = {node.name: node for node in plain.node}
    assert not any(node.op in ('DecodeJpeg', 'PlaceholderWithDefault') for node in plain.node)
    assert [node.name for node in plain.node if node.op == 'Placeholder'] == ['input']
    shape = [dim.size for dim in nodes['input'].attr['shape'].shape.dim]
    assert shape == [-1, 128, 128, 3]

    images = np.random.default_rng(3).uniform(-1, 1, (2, 128, 128, 3)).astype(np.float32)
    found = run_graph(plain, {'input:0': images})
    np.testing.assert_array_equal(found, run_graph(whole, {'input:0': images}))

    (tmp_path / 'i.pb').write_bytes(frozen_graph.sealed(plain))
    encoded = colours.encoded(colours.draw('bluebells', np.random.default_rng(4)))
    labeller = Labeller(str(tmp_path / 'i.pb'))
    assert labeller.labels == colours.LABELS
    wanted = Labeller(str(trained[0].graph)).scores(encoded)
    np.testing.assert_allclose(labeller.scores(encoded), wanted, atol=1e-6)


def test_weights_that_are_computed_become_constants() -> None:
    """OpenCV does not compute them: a bias that is reshaped, as Keras networks have it."""
    with tf.Graph().as_default() as graph:
        default = tf.zeros([1, 2, 2, 3])
        pictures = tf.compat.v1.placeholder_with_default(default, [None, 2, 2, 3], name='input')
        bias = tf.reshape(tf.identity(tf.constant([1.0, 2.0, 3.0])), [1, 1, 1, 3], name='bias')
        features = tf.reduce_mean(pictures + bias, [1, 2])
        tf.nn.softmax(features, name='final_result')
        description = Description(('a', 'b', 'c'), Preprocessing(2, 0, 1), 'final_result:0', '', '')
        tf.constant(description.to_json(), name=frozen_graph.DESCRIPTION_NODE)
    plain = inference_graph.of(graph.as_graph_def(), description)
    (node,) = (node for node in plain.node if node.name == 'bias')
    assert (node.op, list(node.input)) == ('Const', [])
    assert tf.make_ndarray(node.attr['value'].tensor).tolist() == [[[[1, 2, 3]]]]
    assert {node.op for node in plain.node} == {'Placeholder', 'Const', 'AddV2', 'Mean', 'Softmax'}
    feed = {'input:0': np.ones((1, 2, 2, 3), np.float32)}
    np.testing.assert_array_equal(run_graph(plain, feed), run_graph(graph.as_graph_def(), feed))


def test_two_exports_of_one_name(colours_dir: Path, tmp_path: Path) -> None:
    places = Places(tmp_path)
    ended = call(
        'retrain', f'--image_dir={colours_dir}', f'--architecture={graphs.MOBILENET}',
        *places.flags(), f'--inference_graph={places.graph}',
    )  # fmt: skip
    assert ended.status == 1
    assert '--output_graph and --inference_graph both name ' in ended.err
