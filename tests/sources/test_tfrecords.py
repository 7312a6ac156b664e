"""TFRecords that others made: whose labels, which splits, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import colours
import numpy as np
import pytest
from command_line import call
from conversion import contents, converted, identities, listed, splits_of
from record_files import Values
from record_files import write_records as write

from poets_tfr.errors import InputError
from poets_tfr.records.manifest import load_manifest
from poets_tfr.records.reading import Records

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('tfrecords') / 'flowers', per_class=12)


def of_folder(flowers: Path, record: Callable[[str, int, bytes], Values]) -> list[Values]:
    """record: (path, label from 0, content) -> a record."""
    folders = sorted(path.name for path in flowers.iterdir())
    return [
        record(str(path.relative_to(flowers)), folders.index(path.parent.name), path.read_bytes())
        for path in sorted(flowers.glob('*/*'))
    ]


def slim(first: int = 0, with_text: bool = False) -> Callable[[str, int, bytes], Values]:
    def record(path: str, label: int, content: bytes) -> Values:
        text: Values = {'image/class/text': path.split('/')[0].encode()} if with_text else {}
        return {'image/encoded': content, 'image/class/label': label + first,
                'image/filename': path.encode(), **text}  # fmt: skip

    return record


def names_file(tmp_path: Path) -> str:
    (tmp_path / 'names.txt').write_text('Green Grass\nRed_Roses\nbluebells\n')
    return str(tmp_path / 'names.txt')


def from_tfrecords(place: Path | str, **settings: Any) -> Any:
    return listed('', image_tfrecords=str(place), **settings)


def labels_in(listing: Any) -> dict[str, str]:
    return {p.path: listing.classes[p.label].folder for p in listing.pictures}


@pytest.mark.parametrize('first', [0, 1])
@pytest.mark.parametrize('with_text', [False, True])
def test_slim_s_records(
    flowers: Path, tmp_path: Path, first: int, with_text: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / 'in/a-00000-of-00001', of_folder(flowers, slim(first, with_text)))
    settings = {} if with_text else {'label_names': names_file(tmp_path)}
    with caplog.at_level(logging.INFO, 'poets_tfr'):
        found = from_tfrecords(tmp_path / 'in', **settings)
    assert labels_in(found) == labels_in(listed(flowers))
    assert splits_of(found) == splits_of(listed(flowers))
    told = f'Labels: the first of 3 names is that of {first}.'
    assert (told in caplog.text) is not with_text


def test_the_same_records_as_of_the_folder(flowers: Path, tmp_path: Path) -> None:
    converted(flowers, tmp_path / 'wanted')
    write(tmp_path / 'in/a.tfrecord', of_folder(flowers, slim(1)))
    settings = {'image_tfrecords': str(tmp_path / 'in/*'), 'label_names': names_file(tmp_path)}
    converted('', tmp_path / 'records', **settings)
    assert contents(tmp_path / 'records') == contents(tmp_path / 'wanted')
    shards = identities(tmp_path / 'records')
    converted('', tmp_path / 'records', **settings)
    assert identities(tmp_path / 'records') == shards


def test_our_own_records_are_tensorflow_datasets(flowers: Path, tmp_path: Path) -> None:
    converted(flowers, tmp_path / 'wanted', num_shards=2)
    converted('', tmp_path / 'records', image_tfrecords=str(tmp_path / 'wanted'), num_shards=2)
    wanted, found = (load_manifest(str(tmp_path / name)) for name in ('wanted', 'records'))
    assert found.labels == sorted(wanted.labels)
    for split in 'train', 'validation', 'test':
        one, other = (Records.open(str(tmp_path / n))[split] for n in ('wanted', 'records'))
        np.testing.assert_array_equal(one.digests, other.digests)
        named = [
            [manifest.labels[label] for label in split.labels]
            for manifest, split in ((wanted, one), (found, other))
        ]
        assert named[0] == named[1]
        assert one.paths == other.paths
    assert found.settings['split_by'] == 'source'


def test_what_tensorflow_datasets_says_is_believed(tmp_path: Path) -> None:
    """Features as its folders have them: the keys and the names come from there."""

    def feature(kind: str) -> dict[str, Any]:
        return {'pythonClassName': f'tensorflow_datasets.core.features.{kind}'}

    features = {
        'photo': feature('image_feature.Image'), 'kind': feature('class_label_feature.ClassLabel'),
        'file_name': feature('text_feature.Text'),
    }  # fmt: skip
    top = {**feature('features_dict.FeaturesDict'), 'featuresDict': {'features': features}}
    directory = tmp_path / 'pets/1.0.0'
    pixels = np.zeros((8, 8, 3), np.uint8)
    for split, count in ('train', 20), ('validation', 4), ('test', 6):
        records: list[Values] = [
            {'photo': colours.encoded(pixels + n), 'kind': n % 2, 'file_name': b'%d.jpg' % n}
            for n in range(count)
        ]
        write(directory / f'pets-{split}.tfrecord-00000-of-00001', records)
    (directory / 'features.json').write_text(json.dumps(top))
    (directory / 'dataset_info.json').write_text('{}')
    (directory / 'kind.labels.txt').write_text('dogs\ncats\n')
    listing = from_tfrecords(directory)
    assert listing.counts() == {'train': [10, 10], 'validation': [2, 2], 'test': [3, 3]}
    assert [name for name, _ in listing.classes] == ['cats', 'dogs']
    assert 'pets-test.tfrecord-00000-of-00001/00000005.jpg' in labels_in(listing), 'not unique'
    with pytest.raises(InputError, match=r'no file named .*; try image_tfrecords=.*/pets/1\.0\.0'):
        from_tfrecords(tmp_path / 'pets')


def test_files_of_one_name_keep_their_images_apart(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for split in 'train', 'val', 'test':
        records: list[Values] = [
            {'image': colours.encoded(pixels), 'label': n % 2} for n in range(8)
        ]
        path = tmp_path / f'in/{split}/0.tfrecord'
        path.parent.mkdir(parents=True)
        write(path, records)
    listing = from_tfrecords(tmp_path / 'in/*/*.tfrecord')
    assert listing.counts() == {split: [4, 4] for split in ('train', 'validation', 'test')}
    assert 'val/0.tfrecord/00000003.jpg' in labels_in(listing)


def test_any_other_keys_by_flags(flowers: Path, tmp_path: Path) -> None:
    def record(path: str, label: int, content: bytes) -> Values:
        return {'pixels_jpg': content, 'what': label, 'weight': 3}

    path = write(tmp_path / 'a.tfrecord', of_folder(flowers, record))
    with pytest.raises(InputError) as raised:
        from_tfrecords(path)
    assert str(raised.value).endswith(
        'a.tfrecord, record 0: which feature is it? Name it with image_key. The features are '
        'pixels_jpg (bytes_list), weight (int64_list), what (int64_list).'
    )
    settings = {'image_key': 'pixels_jpg', 'label_key': 'what'}
    listing = from_tfrecords(path, label_names=names_file(tmp_path), **settings)
    first = [picture.path for picture in listing.pictures][:2]
    assert first == ['a.tfrecord/00000000.png', 'a.tfrecord/00000001.jpg']
    assert {*labels_in(listing).values()} == {'Green Grass', 'Red_Roses', 'bluebells'}
    assert {*labels_in(from_tfrecords(path, **settings)).values()} == {'0', '1', '2'}


@pytest.mark.parametrize(
    ('labels', 'settings', 'message'),
    [
        ([0, 3], {}, r'the labels are 0 to 3, and 3 names are those of 1 to 3: give other names'),
        ([1, 4], {}, r'the labels are 1 to 4, and 3 names are those of 0 to 2'),
        ([1, 3], {'first_label': '0'}, r'the labels are 1 to 3, and 3 names are those of 0 to 2'),
        ([[0, 1], [1]], {}, r'record 0: image/class/label holds 2 labels; one is wanted'),
    ],
)
def test_labels_that_contradict(
    tmp_path: Path, labels: list[Any], settings: dict[str, str], message: str
) -> None:
    records = [{'image/encoded': b'\xff\xd8\xff', 'image/class/label': each} for each in labels]
    path = write(tmp_path / 'a.tfrecord', records)
    with pytest.raises(InputError, match=message):
        from_tfrecords(path, label_names=names_file(tmp_path), **settings)


def test_a_number_with_two_names(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.tfrecord', [
        {'image/encoded': b'\xff\xd8\xff', 'image/class/label': 1, 'image/class/text': text}
        for text in (b'cat', b'dog')
    ])  # fmt: skip
    with pytest.raises(InputError, match="the label 1 is 'cat' in one record and 'dog' in another"):
        from_tfrecords(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'not records at all', 'holds no TFRecords, or is cut off.'),
        (gzip.compress(bytes(100)), 'is compressed: unpack it first'),
        (b'', 'there are no records in 1 files.'),
        (b'cut', 'is damaged at byte '),
        (b'flip', 'is damaged at byte '),
    ],
)
def test_files_that_cannot_be_read(
    flowers: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / 'a.tfrecord'
    if content in (b'cut', b'flip'):
        whole = bytearray(write(path, of_folder(flowers, slim())).read_bytes())
        whole[len(whole) // 2] ^= 1
        content = bytes(whole[:-9] if content == b'cut' else whole)
    path.write_bytes(content)
    ended = call('convert_images', f'--image_tfrecords={path}', f'--records_dir={tmp_path}/r')
    assert ended.status == 1
    assert message in ended.err
    assert 'Traceback' not in ended.err


def test_raw_pixels_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.tfrecord', [{'image': bytes(784), 'label': n} for n in range(2)])
    with pytest.raises(InputError, match=r'record 0: image is no image file; raw pixels, perhaps'):
        from_tfrecords(path)


def test_flags_exclude_each_other(tmp_path: Path) -> None:
    for settings, message in (
        ({'image_tfrecords': 'a', 'image_dir': 'b'}, 'exclude each other: images come from one'),
        ({'image_tfrecords': 'a', 'labels_file': 'b'}, '--labels_file goes with --image_dir, not'),
        ({'image_dir': 'a', 'first_label': '1'}, '--first_label goes with --image_tfrecords, not'),
        ({'image_tfrecords': f'{tmp_path}/no*'}, 'no such file (looked at '),
    ):
        flags = [f'--{name}={value}' for name, value in settings.items()]
        ended = call('convert_images', *flags, f'--records_dir={tmp_path}/r')
        assert ended.status == 1
        assert re.search(re.escape(message), ended.err), ended.err
