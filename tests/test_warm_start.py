"""--warm_start: more classes, or more pictures, from a head that was trained before."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import colours
import graphs
import numpy as np
import pytest
from command_line import Ended, Places, call

from poets_tfr.export import frozen_graph


def retrain(places: Places, model_dir: Path, *flags: object, steps: int) -> Ended:
    return call(
        'retrain', *places.flags(), f'--model_dir={model_dir}',
        f'--how_many_training_steps={steps}', f'--architecture={graphs.MOBILENET}', *flags,
    )  # fmt: skip


def head_of(places: Places) -> dict[str, np.ndarray]:
    """label -> its column of weights, its bias last."""
    graph_def, description = frozen_graph.load(str(places.graph))
    assert description
    weights, biases = frozen_graph.head_of(graph_def)
    both = np.concatenate([weights, biases[None]])
    return dict(zip(description.labels, both.T, strict=True))


@pytest.fixture(scope='module')
def two(
    tmp_path_factory: pytest.TempPathFactory,
    trained: tuple[Places, Ended],
    colours_dir: Path,
    model_dir: Path,
) -> Places:
    """A run that knows two of the three classes."""
    places = Places(tmp_path_factory.mktemp('two'))
    shutil.copytree(trained[0].bottlenecks, places.bottlenecks)
    flags = f'--image_dir={colours_dir}', '--classes=Red_Roses,bluebells', '--standardize_features'
    assert retrain(places, model_dir, *flags, steps=50).status == 0
    return places


@pytest.mark.parametrize('source', ['graph', 'checkpoint'])
@pytest.mark.parametrize('standardize', ['--standardize_features', '--nostandardize_features'])
def test_a_class_is_added(
    two: Places, colours_dir: Path, model_dir: Path, tmp_path: Path, source: str, standardize: str
) -> None:
    places = Places(tmp_path)
    shutil.copytree(two.bottlenecks, places.bottlenecks)
    former = two.graph if source == 'graph' else two.checkpoints
    flags = f'--image_dir={colours_dir}', f'--warm_start={former}', standardize
    ended = retrain(places, model_dir, *flags, steps=0)
    assert ended.status == 0, ended.err
    assert 'Warm start: 2 of 3 classes from a former run.' in ended.out
    assert ' to compute' not in ended.out, 'features of known images are reused'
    before, after = head_of(two), head_of(places)
    assert list(after) == colours.LABELS
    for label in 'red roses', 'bluebells':
        np.testing.assert_allclose(after[label], before[label], rtol=1e-4, atol=1e-5)
    assert abs(after['green grass']).max() < 0.1, 'fresh'


@pytest.mark.parametrize('source', ['graph', 'checkpoint'])
def test_another_backbone_is_refused(
    two: Places, colours_dir: Path, model_dir: Path, tmp_path: Path, source: str
) -> None:
    former = two.graph if source == 'graph' else two.checkpoints
    ended = retrain(
        Places(tmp_path), model_dir, f'--image_dir={colours_dir}', f'--warm_start={former}',
        '--architecture=inception_2015_12_05', steps=0,
    )  # fmt: skip
    assert ended.status == 1
    assert 'stands on other features (mobilenet_0.50_128' in ended.err
    assert 'than this run (inception_2015_12_05)' in ended.err


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (None, '--warm_start: .*nothing not found'),
        (b'', 'is not a TensorFlow graph'),
        (b'x', '--warm_start'),
    ],
)
def test_what_is_no_head_is_refused(
    two: Places, model_dir: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / 'nothing'
    if content is not None:
        path.write_bytes(content)
    places = Places(tmp_path)
    flags = f'--records_dir={two.records}', f'--warm_start={path}'
    ended = retrain(places, model_dir, *flags, steps=0)
    assert ended.status == 1
    assert re.search(says, ended.err), ended.err
    assert ended.err.count('\n') == 1
