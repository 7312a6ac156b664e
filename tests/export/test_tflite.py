"""tflite_output: scores, sizes, and metadata as TFLite's own schema lays them out."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
import tensorflow as tf
from command_line import call

from poets_tfr.backbones import frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.export import tflite, tflite_metadata
from poets_tfr.export.description import Description
from poets_tfr.export.frozen_graph import FrozenGraph
from poets_tfr.export.settings import TfliteQuantization
from poets_tfr.label.labeller import Labeller
from poets_tfr.pictures.preprocess import Preprocessing
from poets_tfr.training.head import Head

KINDS: list[TfliteQuantization] = ['float32', 'float16', 'int8']


@pytest.fixture(scope='module')
def backbone(model_dir: Path) -> Backbone:
    return frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir)))


@pytest.fixture(scope='module')
def pictures() -> list[bytes]:
    rng = np.random.default_rng(31)
    return [colours.encoded(colours.draw(name, rng), 'PNG') for name in 8 * [*colours.COLOURS]]


@pytest.fixture(scope='module')
def folder(
    tmp_path_factory: pytest.TempPathFactory, backbone: Backbone, pictures: list[bytes]
) -> Path:
    """graph.pb and <quantization>.tflite of one head."""
    folder = tmp_path_factory.mktemp('tflite')
    weights = np.random.default_rng(0).normal(0, 0.03, (1001, 3)).astype(np.float32)
    head = Head(tf.constant(weights), tf.zeros(3))
    graph = FrozenGraph(backbone, colours.LABELS, 'final_result')
    graph.save(str(folder / 'graph.pb'), weights, np.zeros(3, np.float32))
    for kind in KINDS:
        path = str(folder / f'{kind}.tflite')
        tflite.save(path, backbone, head, graph.description, kind, pictures)
    return folder


@pytest.mark.parametrize(
    ('kind', 'tolerance', 'fraction'),
    [('float32', 1e-4, 1), ('float16', 0.01, 0.5), ('int8', 0.1, 0.4)],
)
def test_scores_and_size(
    folder: Path, pictures: list[bytes], kind: str, tolerance: float, fraction: float
) -> None:
    wanted = Labeller(str(folder / 'graph.pb')).scores_of_stored(pictures)
    labeller = Labeller(str(folder / f'{kind}.tflite'))
    assert labeller.labels == colours.LABELS
    found = labeller.scores_of_stored(pictures)
    assert np.ptp(wanted, axis=0).max() > 0.1, 'scores that differ from image to image'
    np.testing.assert_allclose(found, wanted, atol=tolerance)
    size = (folder / f'{kind}.tflite').stat().st_size
    assert size < 1.1 * fraction * (folder / 'float32.tflite').stat().st_size + 8000


@pytest.mark.filterwarnings('ignore:.*tf.lite.Interpreter is deprecated:UserWarning')  # 2.21
def test_int8_is_int8_from_end_to_end(folder: Path) -> None:
    interpreter = tf.lite.Interpreter(str(folder / 'int8.tflite'))
    interpreter.allocate_tensors()
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (takes['dtype'], gives['dtype']) == (np.uint8, np.uint8)
    scale, zero_point = takes['quantization']
    assert scale == pytest.approx(2 / 255, rel=0.05), 'real images span the whole range'
    assert zero_point == pytest.approx(127.5, abs=5)


def test_label_image_takes_it(folder: Path, tmp_path: Path, pictures: list[bytes]) -> None:
    (tmp_path / 'p.png').write_bytes(pictures[0])
    outs = [
        call('label_image', f'--graph={folder / name}', tmp_path / 'p.png', '--format=json')
        for name in ('graph.pb', 'float32.tflite')
    ]
    assert [ended.status for ended in outs] == [0, 0]
    graphs_, tflites = (json.loads(ended.out)['labels'] for ended in outs)
    assert [line['label'] for line in graphs_] == [line['label'] for line in tflites]


@pytest.mark.parametrize('kind', KINDS)
def test_its_files_can_be_unzipped(folder: Path, kind: str, backbone: Backbone) -> None:
    with zipfile.ZipFile(folder / f'{kind}.tflite') as archive:
        assert archive.testzip() is None
        assert archive.read('labels.txt').decode() == 'green grass\nred roses\nbluebells\n'
        described = json.loads(archive.read('poets_tfr.json'))
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert described['labels'] == colours.LABELS
    assert described['preprocessing'] == {'size': 128, 'mean': 127.5, 'std': 127.5}


class Node:
    """A flatbuffer table, read by field number: an independent reading of what is written."""

    def __init__(self, content: bytes, at: int):
        self._content, self._at = content, at

    @classmethod
    def root(cls, content: bytes) -> Node:
        return cls(content, struct.unpack_from('<I', content)[0])

    def _place(self, slot: int) -> int | None:
        vtable = self._at - struct.unpack_from('<i', self._content, self._at)[0]
        if 4 + 2 * slot >= struct.unpack_from('<H', self._content, vtable)[0]:
            return None
        offset = struct.unpack_from('<H', self._content, vtable + 4 + 2 * slot)[0]
        return self._at + offset if offset else None

    def scalar(self, slot: int, kind: str) -> Any:
        place = self._place(slot)
        return 0 if place is None else struct.unpack_from(f'<{kind}', self._content, place)[0]

    def _target(self, slot: int) -> int:
        place = self._place(slot)
        assert place is not None, f'field {slot} is missing'
        return place + struct.unpack_from('<I', self._content, place)[0]

    def node(self, slot: int) -> Node:
        return Node(self._content, self._target(slot))

    def values(self, slot: int, kind: str) -> Sequence[Any]:
        at = self._target(slot)
        count = struct.unpack_from('<I', self._content, at)[0]
        return struct.unpack_from(f'<{count}{kind}', self._content, at + 4)

    def nodes(self, slot: int) -> list[Node]:
        first = self._target(slot) + 4
        return [
            Node(self._content, first + 4 * i + offset)
            for i, offset in enumerate(self.values(slot, 'I'))
        ]

    def text(self, slot: int) -> str:
        return bytes(self.values(slot, 'B')).decode()


PER_CHANNEL = Preprocessing(96, (10.0, 20.5, 30.0), (50.0, 60.0, 70.0))


@pytest.mark.parametrize('preprocessing', [None, PER_CHANNEL])
def test_metadata_as_the_schema_lays_it_out(
    folder: Path, preprocessing: Preprocessing | None
) -> None:
    """Field numbers are those of TensorFlow Lite's schema.fbs and metadata_schema.fbs."""
    content = (folder / 'float32.tflite').read_bytes()
    if preprocessing:
        description = Description(('a', 'b', 'c'), preprocessing, 'x:0', 'net', '00')
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = content[: archive.infolist()[0].header_offset]
        content = tflite_metadata.add(content, description)  # a second entry: the first one stays
    assert content[4:8] == b'TFL3'
    model = Node.root(content)
    assert model.scalar(0, 'I') == 3, "the schema's version"
    entries = [each for each in model.nodes(6) if each.text(0) == 'TFLITE_METADATA']
    assert len(entries) == (2 if preprocessing else 1)
    metadata = bytes(model.nodes(4)[entries[-1].scalar(1, 'I')].values(0, 'B'))
    assert metadata[4:8] == b'M001'
    about = Node.root(metadata)
    assert [file.text(0) for file in about.nodes(6)] == ['poets_tfr.json']
    assert about.text(7) == '1.0.0'
    (subgraph,) = about.nodes(3)
    (image,), (scores,) = subgraph.nodes(2), subgraph.nodes(3)
    assert image.node(3).scalar(0, 'b') == 2, 'ImageProperties'
    assert image.node(3).node(1).scalar(0, 'b') == 1, 'RGB'
    size = image.node(3).node(1).node(1)
    wants = preprocessing or Preprocessing(128, 127.5, 127.5)
    assert (size.scalar(0, 'I'), size.scalar(1, 'I')) == (wants.size, wants.size)
    (unit,) = image.nodes(4)
    assert unit.scalar(0, 'b') == 1, 'NormalizationOptions'
    assert unit.node(1).values(0, 'f') == tuple(np.ravel(wants.mean))
    assert unit.node(1).values(1, 'f') == tuple(np.ravel(wants.std))
    (labels,) = scores.nodes(6)
    assert (labels.text(0), labels.scalar(2, 'b')) == ('labels.txt', 2), 'TENSOR_AXIS_LABELS'


def test_the_same_head_gives_the_same_bytes(folder: Path, backbone: Backbone) -> None:
    weights = np.random.default_rng(0).normal(0, 0.03, (1001, 3)).astype(np.float32)
    path = str(folder / 'again.tflite')
    head = Head(weights, np.zeros(3, np.float32))
    description = Description.of(backbone, colours.LABELS)
    tflite.save(path, backbone, head, description, 'float32', ())
    assert Path(path).read_bytes() == (folder / 'float32.tflite').read_bytes()


def test_a_model_of_others_or_a_damaged_one(folder: Path, tmp_path: Path) -> None:
    content = (folder / 'float32.tflite').read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.infolist()[0].header_offset
    (tmp_path / 'other.tflite').write_bytes(content[:start])
    with pytest.raises(InputError, match='was not written by this program: it has no poets_tfr'):
        Labeller(str(tmp_path / 'other.tflite'))
    (tmp_path / 'cut.tflite').write_bytes(content[:8] + bytes(64) + content[start:])
    with pytest.raises(InputError, match='cut.tflite does not load|was not written by'):
        Labeller(str(tmp_path / 'cut.tflite'))
