"""An export and pictures -> labels and scores; the two files must belong together."""

from __future__ import annotations

import io
from pathlib import Path

import colours
import command_line
import graphs
import numpy as np
import pytest
from command_line import Ended, Places
from PIL import Image

from poets_tfr.errors import InputError
from poets_tfr.label.labeller import Labelled, Labeller
from poets_tfr.records.codecs import BadPictureError
from poets_tfr.records.reading import Records


@pytest.fixture(scope='module')
def labeller(trained: tuple[Places, Ended]) -> Labeller:
    return Labeller(str(trained[0].graph), str(trained[0].labels))


def picture(folder: str = 'bluebells', seed: int = 0) -> bytes:
    return colours.encoded(colours.draw(folder, np.random.default_rng(seed)))


def test_scores_sum_to_one_and_best_comes_first(labeller: Labeller) -> None:
    scores = labeller.scores(picture())
    assert scores.shape == (3,)
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    best_first = labeller.best_first(scores)
    assert best_first[0][0] == 'bluebells'
    assert sorted(label for label, _ in best_first) == sorted(colours.LABELS)
    values = [score for _, score in best_first]
    assert values == sorted(values, reverse=True)
    for label, score in best_first:
        assert score == scores[colours.LABELS.index(label)]


def test_equal_scores_keep_the_labels_order(labeller: Labeller) -> None:
    assert [label for label, _ in labeller.best_first([0.2, 0.4, 0.4])] == [
        'red roses',
        'bluebells',
        'green grass',
    ]


def test_a_picture_is_settled_as_conversion_does_it(labeller: Labeller) -> None:
    """A photo held on its side says so in its EXIF: training saw it upright, so must labelling."""
    rng = np.random.default_rng(1)
    half = np.zeros((40, 60, 3), np.uint8)
    half[:20] = colours.draw('Red_Roses', rng)[:20, :1].mean(axis=(0, 1))
    half[20:] = colours.draw('bluebells', rng)[:20, :1].mean(axis=(0, 1))
    upright = io.BytesIO()
    Image.fromarray(half).save(upright, 'PNG')
    lying = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    Image.fromarray(np.rot90(half)).save(lying, 'JPEG', exif=exif, quality=100, subsampling=0)
    np.testing.assert_allclose(
        labeller.scores(lying.getvalue()), labeller.scores(upright.getvalue()), atol=0.02
    )


def test_a_jpeg_that_lacks_its_end_marker_alone(labeller: Labeller) -> None:
    whole = picture()
    found, other = labeller.settled_of([whole[:-2], whole[:-60]])
    assert isinstance(found, Labelled)
    assert isinstance(other, BadPictureError)
    assert found.scores is not None
    assert (found.scores == labeller.scores(whole)).all()
    assert (labeller.scores(whole[:-2]) == found.scores).all()


@pytest.mark.parametrize('content', [b'', b'no image', picture()[:300]])
def test_what_is_no_whole_picture(labeller: Labeller, content: bytes) -> None:
    with pytest.raises(BadPictureError):
        labeller.scores(content)


@pytest.mark.parametrize(
    ('labels', 'says'),
    [
        ('green grass\nred roses\n', 'names 2 labels, but .* scores 3'),
        ('green grass\nred roses\nbluebells\nweeds\n', 'names 4 labels, but .* scores 3'),
        ('', 'names 0 labels'),
        ('red roses\ngreen grass\nbluebells\n', 'are of different runs'),
        ('green grass\nred roses\ndaisy\n', "'daisy'.*'bluebells'"),
    ],
)
def test_labels_of_another_run(
    trained: tuple[Places, Ended], tmp_path: Path, labels: str, says: str
) -> None:
    path = tmp_path / 'labels.txt'
    path.write_text(labels)
    with pytest.raises(InputError, match=says) as raised:
        Labeller(str(trained[0].graph), str(path))
    assert str(raised.value).startswith(f'labels: {path} ')


@pytest.mark.parametrize(
    'labels',
    [
        'green grass\nred roses\nbluebells',
        'green grass\r\nred roses\r\nbluebells\r\n',
        '\ufeffgreen grass\nred roses\nbluebells\n\n\n',
        '\ufeffgreen grass\r\nred roses\r\nbluebells\r\n\r\n',
    ],
)
def test_labels_that_went_through_an_editor(
    trained: tuple[Places, Ended], tmp_path: Path, labels: str
) -> None:
    path = tmp_path / 'labels.txt'
    path.write_bytes(labels.encode())
    assert Labeller(str(trained[0].graph), str(path)).labels == colours.LABELS


@pytest.mark.parametrize('third', ['Bluebells', 'bluebells', 'BLUEBELLS'])
def test_labels_that_were_put_right(
    trained: tuple[Places, Ended], tmp_path: Path, third: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / 'labels.txt'
    path.write_text(f'Gréén_Grass\nRedéRoses\n{third}\n')
    with pytest.raises(InputError, match="'Gréén_Grass' in line 1"):
        Labeller(str(trained[0].graph), str(path))
    path.write_text(f'Green_Grass\nRedéRoses\n{third}\n')  # 0.1's rule makes them what they were
    labeller = Labeller(str(trained[0].graph), str(path))
    assert labeller.labels == ['Green_Grass', 'RedéRoses', third]
    assert labeller.places['red roses'] == labeller.places['RedéRoses'] == 1
    (told,) = caplog.messages
    assert told.startswith(f'--labels: {path} writes labels otherwise than {trained[0].graph}: ')
    assert 'green grass -> Green_Grass, red roses -> RedéRoses' in told


def test_missing_files(trained: tuple[Places, Ended], tmp_path: Path) -> None:
    missing = str(tmp_path / 'missing')
    with pytest.raises(InputError, match=f'graph: {missing} not found'):
        Labeller(missing, str(trained[0].labels))
    with pytest.raises(InputError, match=f'labels: {missing} not found'):
        Labeller(str(trained[0].graph), missing)


def test_a_picture_is_scaled_down_as_the_training_s_were(
    colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    places = Places(tmp_path)
    ended = command_line.call(
        'retrain', f'--image_dir={colours_dir}', '--store_max_side=30',
        '--how_many_training_steps=5', f'--architecture={graphs.MOBILENET}',
        f'--model_dir={model_dir}', *places.flags(),
        f'--saved_model_dir={tmp_path / "saved_model"}',
    )  # fmt: skip
    assert ended.status == 0, ended.err
    train = Records.open(str(places.records))['train']
    path, stored = train.paths[0], train.read(0)
    source = (colours_dir / path).read_bytes()
    for export in places.graph, tmp_path / 'saved_model':
        labeller = Labeller(str(export), str(places.labels))
        assert labeller.store_max_side == 30
        (wanted,) = labeller.scores_of_stored([stored])
        assert (labeller.scores(source) == wanted).all()
        (unscaled,) = labeller.scores_of_stored([source])
        assert (unscaled != wanted).any()
