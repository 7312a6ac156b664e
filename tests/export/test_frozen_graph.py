"""output_graph.pb: what the tutorial's own label_image.py expects of it."""

from __future__ import annotations

import hashlib
import re
import textwrap
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call, start

from poets_tfr.backbones import forward, frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.export import frozen_graph
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures import preprocess

# The tutorial's label_image.py, whose first line was `import tensorflow as tf, sys`.
TUTORIAL = textwrap.dedent("""
    import sys
    import tensorflow.compat.v1 as tf
    tf.disable_v2_behavior()

    image_path = sys.argv[1]
    image_data = tf.gfile.FastGFile(image_path, 'rb').read()
    label_lines = [line.rstrip() for line in tf.gfile.GFile("LABELS")]
    with tf.gfile.FastGFile("GRAPH", 'rb') as f:
        graph_def = tf.GraphDef()
        graph_def.ParseFromString(f.read())
        _ = tf.import_graph_def(graph_def, name='')
    with tf.Session() as sess:
        softmax_tensor = sess.graph.get_tensor_by_name('final_result:0')
        predictions = sess.run(softmax_tensor, {'DecodeJpeg/contents:0': image_data})
        top_k = predictions[0].argsort()[-len(predictions[0]):][::-1]
        for node_id in top_k:
            human_string = label_lines[node_id]
            score = predictions[0][node_id]
            print('%s (score = %.5f)' % (human_string, score))
""")


def run_graph(graph_def: Any, fetch: str, feed: dict[str, Any]) -> np.ndarray:
    """As TensorFlow 1 does it, with the graph imported under its own names."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name='')
        return session.run(fetch, feed)


def parse(path: Path) -> Any:
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    return graph_def


@pytest.fixture(scope='module')
def backbone(model_dir: Path) -> Backbone:
    return frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir)))


@pytest.fixture(scope='module')
def jpegs() -> list[bytes]:
    rng = np.random.default_rng(11)
    return [colours.encoded(colours.draw(folder, rng)) for folder in colours.COLOURS]


def head_of(graph_def: Any) -> tuple[np.ndarray, np.ndarray]:
    """The two constants, by the names that the original gave them."""
    import tensorflow as tf

    constants = {node.name: node for node in graph_def.node}
    names = (
        'final_training_ops/weights/final_weights',
        'final_training_ops/biases/final_biases',
    )
    weights, biases = (tf.make_ndarray(constants[name].attr['value'].tensor) for name in names)
    return weights, biases


def test_the_tutorials_label_image_runs_on_it(
    trained: tuple[Places, Ended], jpegs: list[bytes], tmp_path: Path
) -> None:
    places, _ = trained
    script = TUTORIAL.replace('LABELS', str(places.labels)).replace('GRAPH', str(places.graph))
    (tmp_path / 'label_image.py').write_text(script)
    (tmp_path / 'picture.jpg').write_bytes(jpegs[1])
    theirs = start(tmp_path / 'label_image.py', tmp_path / 'picture.jpg')
    assert theirs.status == 0, theirs.err
    ours = call(
        'label_image', f'--graph={places.graph}', f'--labels={places.labels}',
        tmp_path / 'picture.jpg',
    )  # fmt: skip
    for their_line, our_line in zip(theirs.out.splitlines(), ours.out.splitlines(), strict=True):
        line = re.compile(r'([a-z ]+) \(score = (\d\.\d{5})\)')
        theirs_, ours_ = line.fullmatch(their_line), line.fullmatch(our_line)
        assert theirs_
        assert ours_
        assert theirs_[1] == ours_[1]
        assert abs(float(theirs_[2]) - float(ours_[2])) < 1e-4
    assert theirs.out.startswith('red roses ')


@pytest.mark.parametrize('picture_format', ['JPEG', 'PNG'])
def test_scores_are_those_of_the_trained_head(
    trained: tuple[Places, Ended], backbone: Backbone, picture_format: str
) -> None:
    """From the bytes of a picture, against preprocessing, backbone and head one after another."""
    places, _ = trained
    graph_def = parse(places.graph)
    weights, biases = head_of(graph_def)
    assert weights.shape == (1001, 3)
    labeller = Labeller(str(places.graph), str(places.labels))
    rng = np.random.default_rng(12)
    for folder in colours.COLOURS:
        content = colours.encoded(colours.draw(folder, rng), picture_format)
        picture = preprocess.from_encoded(content, backbone.preprocessing)[None]
        features = forward.compile_forward(backbone, 1, 'off')(picture).numpy()
        values = features @ weights + biases
        wanted = np.exp(values) / np.exp(values).sum()
        found = run_graph(graph_def, 'final_result:0', {'DecodeJpeg/contents:0': content})
        assert found.shape == (1, 3)
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        np.testing.assert_allclose(labeller.scores(content), wanted[0], atol=1e-4)
        assert found.sum() == pytest.approx(1, abs=1e-5)


def test_a_batch_of_normalised_pictures_may_be_fed(
    trained: tuple[Places, Ended], backbone: Backbone, jpegs: list[bytes]
) -> None:
    graph_def = parse(trained[0].graph)
    pictures = np.stack([preprocess.from_encoded(x, backbone.preprocessing) for x in jpegs])
    found = run_graph(graph_def, 'final_result:0', {'input:0': pictures})
    for row, content in zip(found, jpegs, strict=True):
        alone = run_graph(graph_def, 'final_result:0', {'DecodeJpeg/contents:0': content})
        np.testing.assert_allclose(row, alone[0], atol=1e-5)


def test_the_same_head_gives_the_same_bytes(
    trained: tuple[Places, Ended], backbone: Backbone, tmp_path: Path
) -> None:
    weights, biases = head_of(parse(trained[0].graph))
    graph = FrozenGraph(backbone, colours.LABELS, 'final_result')
    graph.save(str(tmp_path / 'a.pb'), weights, biases)
    assert (tmp_path / 'a.pb').read_bytes() == trained[0].graph.read_bytes()
    graph.save(str(tmp_path / 'a.pb'), weights * 2, biases)
    assert (tmp_path / 'a.pb').read_bytes() != trained[0].graph.read_bytes()
    graph.save(str(tmp_path / 'a.pb'), weights, biases)
    assert (tmp_path / 'a.pb').read_bytes() == trained[0].graph.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ['a.pb']


def test_it_says_what_it_is(trained: tuple[Places, Ended], backbone: Backbone) -> None:
    _, description = frozen_graph.load(str(trained[0].graph))
    assert description
    assert description.labels == tuple(colours.LABELS)
    assert description.preprocessing == backbone.preprocessing
    assert description.architecture == graphs.MOBILENET
    assert description.weights_digest == backbone.digest
    assert description.output_tensor == 'final_result:0'


def test_nothing_that_training_alone_needs_is_in_it(trained: tuple[Places, Ended]) -> None:
    operations = {node.op for node in parse(trained[0].graph).node}
    assert not operations & {'VariableV2', 'VarHandleOp', 'ReadVariableOp', 'Variable'}


@pytest.mark.parametrize('name', ['my_result', 'scope/result'])
def test_final_tensor_name(
    backbone: Backbone, jpegs: list[bytes], tmp_path: Path, name: str
) -> None:
    graph = FrozenGraph(backbone, ['a', 'b'], name)
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.1, (1001, 2)).astype(np.float32)
    graph.save(str(tmp_path / 'g.pb'), weights, np.zeros(2, np.float32))
    feed = {'DecodeJpeg/contents:0': jpegs[0]}
    found = run_graph(parse(tmp_path / 'g.pb'), f'{name}:0', feed)
    (tmp_path / 'labels.txt').write_text('a\nb\n')
    labeller = Labeller(str(tmp_path / 'g.pb'), str(tmp_path / 'labels.txt'))
    np.testing.assert_allclose(labeller.scores(jpegs[0]), found[0], atol=1e-5)


@pytest.mark.parametrize(
    'name', ['input', 'DecodeJpeg', 'MobilenetV1/Predictions/Reshape', 'poets_tfr/description']
)
def test_a_name_that_is_taken(backbone: Backbone, name: str) -> None:
    with pytest.raises(InputError, match=f"final_tensor_name='{name}' is the name of another"):
        FrozenGraph(backbone, ['a', 'b'], name)


def test_the_inception_of_2015_keeps_its_decoding_out_of_the_way(
    model_dir: Path, jpegs: list[bytes]
) -> None:
    """Its graph has nodes named DecodeJpeg, ResizeBilinear and Mul of its own."""
    config = BackboneConfig(architecture='inception_2015_12_05', model_dir=str(model_dir))
    backbone = frozen.load(config)
    graph = FrozenGraph(backbone, ['a', 'b'], 'final_result')
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.1, (2048, 2)).astype(np.float32)
    graph_def = graph.with_head(weights, np.zeros(2, np.float32))
    found = run_graph(graph_def, 'final_result:0', {'DecodeJpeg/contents:0': jpegs[0]})
    features = graphs.run_one_by_one(
        model_dir / graphs.INCEPTION_2015_ARCHIVE,
        graphs.INCEPTION_2015_MEMBER,
        'pool_3/_reshape:0',
        'DecodeJpeg/contents:0',
        jpegs[:1],
    )
    values = features @ weights
    np.testing.assert_allclose(found, np.exp(values) / np.exp(values).sum(), atol=1e-4)


def test_files_that_are_no_graph_of_ours(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    path = tmp_path / 'graph.pb'
    with pytest.raises(InputError, match=f'{path} not found'):
        frozen_graph.load(str(path))
    with pytest.raises(InputError, match='is not a TensorFlow graph'):
        frozen_graph.load(str(tmp_path))
    path.write_bytes(trained[0].graph.read_bytes()[:-100])
    with pytest.raises(InputError, match=f'{path} is not a TensorFlow graph'):
        frozen_graph.load(str(path))
    path.write_bytes(b'')
    with pytest.raises(InputError, match='is not a TensorFlow graph: it has no nodes'):
        frozen_graph.load(str(path))


@pytest.mark.parametrize(
    'text', [b'', b'{', b'{}', b'[]', b'{"format": "poets_tfr graph 99"}', b'{"format": 1}']
)
def test_a_description_that_cannot_be_read(
    trained: tuple[Places, Ended], tmp_path: Path, text: bytes
) -> None:
    graph_def = parse(trained[0].graph)
    (node,) = (node for node in graph_def.node if node.name == 'poets_tfr/description')
    node.attr['value'].tensor.string_val[0] = text
    path = tmp_path / 'graph.pb'
    path.write_bytes(graph_def.SerializeToString())
    with pytest.raises(InputError, match=f'{path} '):
        frozen_graph.load(str(path))


def flipped(content: bytes, at: int, bit: int = 0) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def test_no_flipped_bit_passes(trained: tuple[Places, Ended]) -> None:
    """In names, weights, the description or its digest: refused, or it changes nothing at all."""
    content = trained[0].graph.read_bytes()
    wanted, _ = frozen_graph.parse(content, 'g.pb')
    described = content.index(b'poets_tfr/description')
    rng = np.random.default_rng(5)
    places = {*rng.integers(0, len(content), 300), *range(described, described + 900, 3)}
    said = []
    for at in map(int, places):
        try:
            found, _ = frozen_graph.parse(flipped(content, at, at % 8), 'g.pb')
        except InputError as error:
            said.append(error.with_dashes)
        else:
            assert found == wanted
    assert len(said) > len(places) * 0.99
    assert all(re.fullmatch('--graph: g.pb .+', each) for each in said)


def without_digest(graph: Path) -> bytes:
    """The graph as version 0.1 wrote it."""
    return frozen_graph.serialized(frozen_graph.load(str(graph))[0])


@pytest.mark.parametrize(
    ('command', 'arguments'),
    [
        ('label_image', ['{picture}']),
        ('evaluate', ['--records_dir={records}']),
        ('serve', ['--port=0']),
    ],
)
def test_a_damaged_graph_is_refused_in_one_line(
    trained: tuple[Places, Ended], tmp_path: Path, command: str, arguments: list[str]
) -> None:
    places, graph = trained[0], tmp_path / 'g.pb'
    picture = colours.write(tmp_path / 'colours', per_class=1) / 'Red_Roses/000.png'
    named = [each.format(picture=picture, records=places.records) for each in arguments]
    content = places.graph.read_bytes()
    weight = content.index(b'final_training_ops/weights/final_weights') + 999
    node = without_digest(places.graph).index(b'DecodeJpeg')
    for damaged, says in (
        (flipped(content, weight), 'is damaged, or was changed after it was written'),
        (flipped(without_digest(places.graph), node + 1), 'does not load: '),
    ):
        graph.write_bytes(damaged)
        ended = call(command, f'--graph={graph}', *named)
        assert ended.status == 1
        assert f': error: --graph: {graph} {says}' in ended.err
        assert ended.err.count('\n') == 1


def test_what_is_no_file_is_not_read(tmp_path: Path, trained: tuple[Places, Ended]) -> None:
    (tmp_path / 'zero.keras').symlink_to('/dev/zero')
    for graph in '/dev/zero', tmp_path / 'zero.keras':
        ended = call('label_image', f'--graph={graph}', 'a.jpg')
        assert f'error: --graph: {graph} cannot be read: a device, not a file.\n' in ended.err
        assert ended.status == 1
    ended = call('label_image', f'--graph={trained[0].graph}', '--labels=/dev/zero', 'a.jpg')
    assert (ended.status, ended.err.count('a device, not a file')) == (1, 1)
    with pytest.raises(InputError, match='/dev/zero cannot be read'):  # as --warm_start does
        frozen_graph.load('/dev/zero')


def test_the_digest_is_of_the_weights(model_dir: Path, backbone: Backbone) -> None:
    import tarfile

    with tarfile.open(model_dir / graphs.MOBILENET_ARCHIVE) as tar:
        content = tar.extractfile(graphs.MOBILENET_FROZEN)
        assert content
        assert backbone.digest == hashlib.sha256(content.read()).hexdigest()
