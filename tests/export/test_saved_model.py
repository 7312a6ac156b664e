"""saved_model_dir: both signatures score as the frozen graph does; nobody's folder is replaced."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest
import tensorflow as tf
from command_line import Ended, Places
from PIL import Image

from poets_tfr import files
from poets_tfr.backbones import frozen
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.export import saved_model
from poets_tfr.export.description import Description
from poets_tfr.label.labeller import Labeller
from poets_tfr.training.head import Head


@pytest.fixture(scope='module')
def pngs() -> list[bytes]:
    """Of one size, so that they can be one batch of pixels too; not compressed with loss."""
    rng = np.random.default_rng(21)
    return [
        colours.encoded(np.asarray(Image.fromarray(colours.draw(f, rng)).resize((60, 50))), 'PNG')
        for f in colours.COLOURS
    ]


@pytest.fixture(scope='module')
def wanted(trained: tuple[Places, Ended], pngs: list[bytes]) -> np.ndarray:
    labeller = Labeller(str(trained[0].graph))
    return np.stack([labeller.scores(content) for content in pngs])


@pytest.fixture(scope='module')
def loaded(trained: tuple[Places, Ended]) -> Any:
    return tf.saved_model.load(str(trained[0].root / 'saved_model/1'))


def check(outputs: dict[str, Any], wanted: np.ndarray) -> None:
    found = {name: value.numpy() for name, value in outputs.items()}
    assert sorted(found) == ['classes', 'prediction', 'scores']
    np.testing.assert_allclose(found['prediction'], wanted, atol=1e-4)
    order = np.argsort(-wanted, axis=1)
    np.testing.assert_allclose(found['scores'], np.take_along_axis(wanted, order, 1), atol=1e-4)
    names = [[colours.LABELS[i].encode() for i in row] for row in order]
    assert found['classes'].tolist() == names


def test_pictures_between_0_and_1(loaded: Any, pngs: list[bytes], wanted: np.ndarray) -> None:
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in pngs])
    images = tf.constant(pixels / 255, tf.float32)
    check(loaded.signatures['serving_default'](image=images), wanted)


def test_encoded_pictures(loaded: Any, pngs: list[bytes], wanted: np.ndarray) -> None:
    small = colours.encoded(np.zeros((5, 7, 3), np.uint8), 'JPEG')  # sizes may differ in a batch
    found = loaded.signatures['encoded'](contents=tf.constant([*pngs, small]))
    check({name: value[:-1] for name, value in found.items()}, wanted)
    assert found['prediction'].shape == (4, 3)


def test_label_image_takes_the_folder(
    trained: tuple[Places, Ended], pngs: list[bytes], wanted: np.ndarray
) -> None:
    for folder in 'saved_model', 'saved_model/1':
        labeller = Labeller(str(trained[0].root / folder))
        assert labeller.labels == colours.LABELS
        np.testing.assert_allclose(labeller.scores_of_stored(pngs), wanted, atol=1e-4)


def test_it_carries_its_labels(trained: tuple[Places, Ended]) -> None:
    (labels,) = (trained[0].root / 'saved_model/1/assets').iterdir()
    assert labels.name == 'labels.txt'
    assert labels.read_bytes() == trained[0].labels.read_bytes()


@pytest.fixture(scope='module')
def backbone(model_dir: Path) -> Backbone:
    return frozen.load(BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir)))


def head(scale: float) -> Head:
    rng = np.random.default_rng(0)
    return Head(tf.constant(rng.normal(0, scale, (1001, 2)), tf.float32), tf.zeros(2))


def described(backbone: Backbone, *labels: str) -> Description:
    return Description.of(backbone, labels)


def test_each_model_is_a_version(backbone: Backbone, tmp_path: Path, pngs: list[bytes]) -> None:
    """TensorFlow Serving loads the highest number; the models before it stay as they are."""

    def score(folder: str) -> np.ndarray:
        return Labeller(str(tmp_path / folder)).scores_of_stored(pngs)

    (tmp_path / 'model').mkdir()  # an empty one is free
    killed = subprocess.Popen([sys.executable, '-c', ''])
    killed.wait()
    host = os.path.basename(files.part_of('x')).split('.')[2]
    (tmp_path / f'model/.new.{host}.{killed.pid}.0123abcd.part/new').mkdir(parents=True)
    ab, ac = described(backbone, 'a', 'b'), described(backbone, 'a', 'c')
    first = saved_model.save(f'{tmp_path}/model/', backbone, head(0.01), ab)
    assert first == f'{tmp_path}/model/1'
    assert saved_model.save(f'{tmp_path}/model', backbone, head(0.01), ab) == first
    before = score('model')
    assert saved_model.save(f'{tmp_path}/model', backbone, head(0.1), ab).endswith('/2')
    assert abs(score('model') - before).max() > 0.05
    np.testing.assert_array_equal(score('model/1'), before)
    assert saved_model.save(f'{tmp_path}/model', backbone, head(0.1), ac).endswith('/3')
    assert sorted(path.name for path in (tmp_path / 'model').iterdir()) == ['1', '2', '3']
    assert (tmp_path / 'model/1').stat().st_mode & 0o555 == 0o555, 'servers of other users read it'


def test_a_foreign_folder_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    """Another program's SavedModel, even: it has no mark of ours."""
    directory = tmp_path / 'model'
    directory.mkdir()
    (directory / 'saved_model.pb').write_bytes(b'dear')
    fault = saved_model.fault(str(directory))
    assert fault.startswith(f'--saved_model_dir={directory} holds something else (saved_model.pb)')
    with pytest.raises(InputError, match=re.escape(fault.removeprefix('--'))):
        saved_model.save(str(directory), backbone, head(0.1), described(backbone, 'a', 'b'))
    assert (directory / 'saved_model.pb').read_bytes() == b'dear'
    assert [path.name for path in tmp_path.iterdir()] == ['model']


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    for path in 'file', 'file/model':
        assert f'{tmp_path}/file: a file is in the way' in saved_model.fault(str(tmp_path / path))


def test_a_folder_that_tensorflow_takes_for_a_pattern(
    backbone: Backbone, tmp_path: Path, pngs: list[bytes]
) -> None:
    scores = []
    for folder in 'plain', r'a[1] b* c?\d':
        saved_model.save(str(tmp_path / folder), backbone, head(0.1), described(backbone, 'a', 'b'))
        scores.append(Labeller(str(tmp_path / folder)).scores_of_stored(pngs))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_a_fault_of_saving_is_of_the_folder(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say: TensorFlow names a file that nobody has asked for."""
    say = '/tmp/saved_model.pb.tmp0; No space left on device'

    def full(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, say)

    monkeypatch.setattr(tf.saved_model, 'save', full)
    with pytest.raises(OSError, match='No space left') as raised:
        saved_model.save(str(tmp_path), backbone, head(0.1), described(backbone, 'a', 'b'))
    assert raised.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())
