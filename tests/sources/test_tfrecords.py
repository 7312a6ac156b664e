"""TFRecords that others made: whose labels, which splits, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import logging
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import colours
import command_line
import numpy as np
import pytest
import tensorflow_datasets as tfds
from command_line import call
from conversion import config, contents, converted, identities, listed, splits_of
from record_files import Values
from record_files import write_records as write

from poets_tfr.errors import InputError
from poets_tfr.records.manifest import load_manifest
from poets_tfr.records.reading import Records
from poets_tfr.sources.examples import serialized_in
from poets_tfr.sources.opening import source_of

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
    assert splits_of(from_tfrecords(tmp_path / 'pets')) == splits_of(listing), 'its one version'
    shutil.copytree(directory, tmp_path / 'pets/2.0.0')
    with pytest.raises(
        InputError, match=r'several .* versions: .*/pets/1\.0\.0, .*/pets/2\.0\.0: name'
    ):
        from_tfrecords(tmp_path / 'pets')


@pytest.fixture(scope='module')
def prepare(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[dict[str, Any], Any, Any], str]:
    """Has TensorFlow Datasets write a data set of 20 training and 10 test images."""

    def prepare(features: dict[str, Any], supervised: Any, example: Any) -> str:
        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
            __module__ = 'none'  # else it looks for the sources of a package
            name = 'my_test'
            VERSION = tfds.core.Version('1.0.0')

            def _info(self) -> Any:
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features),
                    supervised_keys=supervised,
                )  # fmt: skip

            def _split_generators(self, dl_manager: Any) -> Any:
                return {'train': self._generate_examples(0, 20),
                        'test': self._generate_examples(20, 30)}  # fmt: skip

            def _generate_examples(self, first: int, last: int) -> Any:
                for number in range(first, last):
                    yield number, example(number, np.full((16, 12, 3), number, np.uint8))

        builder = Builder(data_dir=str(tmp_path_factory.mktemp('tfds')), file_format='tfrecord')
        builder.download_and_prepare()
        return str(builder.data_dir)

    return prepare


def test_supervised_keys_choose_among_several(prepare: Any) -> None:
    features = {
        'photo': tfds.features.Image(encoding_format='jpeg'),
        'mask': tfds.features.Image(shape=(None, None, 1)),
        'coarse': tfds.features.ClassLabel(names=['pet', 'ox']),
        'fine': tfds.features.ClassLabel(num_classes=5),
    }
    place = prepare(
        features,
        ('photo', 'fine'),
        lambda n, image: {'photo': image, 'mask': image[:, :, :1], 'coarse': n % 2, 'fine': n % 5},
    )
    listing = from_tfrecords(place, validation_percentage=0)
    assert listing.counts() == {'train': [4] * 5, 'validation': [0] * 5, 'test': [2] * 5}
    assert [name for name, _ in listing.classes] == ['0', '1', '2', '3', '4']
    assert {path.rsplit('.', 1)[1] for path in labels_in(listing)} == {'jpg'}
    listing = from_tfrecords(place, image_key='mask', label_key='coarse')
    assert [name for name, _ in listing.classes] == ['ox', 'pet']
    assert {path.rsplit('.', 1)[1] for path in labels_in(listing)} == {'png'}


def test_nested_features(prepare: Any) -> None:
    place = prepare(
        {
            'shot': {
                'left': tfds.features.Image(),
                'right': tfds.features.Image(),
                'file_name': tfds.features.Text(),
            },
            'kind': {'of': tfds.features.ClassLabel(names=['cat', 'dog'])},
        },
        None,
        lambda n, image: {
            'shot': {'left': image, 'right': image + 1, 'file_name': f'{n}.png'},
            'kind': {'of': n % 2},
        },
    )
    with pytest.raises(
        InputError, match=r'kind Image \(shot/left, shot/right\): choose with image_key'
    ):
        from_tfrecords(place)
    listing = from_tfrecords(place, image_key='shot/left', validation_percentage=0)
    wanted = {f'{number}.png': ['cat', 'dog'][number % 2] for number in range(30)}
    assert labels_in(listing) == wanted


@pytest.mark.parametrize('what', ['pixels', 'several labels'])
def test_what_is_no_classification_of_images(prepare: Any, what: str) -> None:
    label = tfds.features.ClassLabel(num_classes=2)
    if what == 'pixels':
        features = {
            'image': tfds.features.Tensor(shape=(16, 12, 3), dtype=np.uint8),
            'label': label,
        }
        message = r'image holds 0 encoded images \(int64_list\).*Raw pixels are not supported'
    else:
        features = {'image': tfds.features.Image(), 'label': tfds.features.Sequence(label)}
        message = r'label holds 2 labels \(int64_list\); one number or text is wanted'
    several = what != 'pixels'
    place = prepare(
        features, None, lambda n, image: {'image': image, 'label': [0, 1] if several else n % 2}
    )
    with pytest.raises(InputError, match=message):
        from_tfrecords(place)


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
    with pytest.raises(InputError, match=r'no feature colour\. Name it with label_key'):
        from_tfrecords(path, image_key='pixels_jpg', label_key='colour')
    settings = {'image_key': 'pixels_jpg', 'label_key': 'what'}
    listing = from_tfrecords(path, label_names=names_file(tmp_path), **settings)
    first = [picture.path for picture in listing.pictures][:2]
    assert first == ['a.tfrecord/00000000.png', 'a.tfrecord/00000001.jpg']
    assert {*labels_in(listing).values()} == {'Green Grass', 'Red_Roses', 'bluebells'}
    assert {*labels_in(from_tfrecords(path, **settings)).values()} == {'0', '1', '2'}


@pytest.mark.parametrize(
    ('labels', 'settings', 'message'),
    [
        (
            [3, 0],
            {},
            r'a\.tfrecord, record 1: the label 0 has no name: 3 names are those of 1 to 3 '
            r'\(another record has 3\): give other names',
        ),
        ([1, 4], {}, r'record 1: the label 4 has no name: 3 names are those of 0 to 2 '),
        (
            [1, 3],
            {'first_label': '0'},
            r'record 1: the label 3 has no name: 3 names are those of 0 to 2',
        ),
        (
            [0, 1],
            {'first_label': '1'},
            r'record 0: the label 0 has no name: 3 names are those of 1 to 3',
        ),
        ([0, 1, -1], {}, r'a\.tfrecord, record 2: it has the label -1: leave such files out'),
        (
            [[0, 1], [1]],
            {},
            r'record 0: image/class/label holds 2 labels \(int64_list\); one number',
        ),
    ],
)
def test_labels_that_contradict(
    tmp_path: Path, labels: list[Any], settings: dict[str, str], message: str
) -> None:
    records = [{'image/encoded': b'\xff\xd8\xff', 'image/class/label': each} for each in labels]
    path = write(tmp_path / 'a.tfrecord', records)
    with pytest.raises(InputError, match=message):
        from_tfrecords(path, label_names=names_file(tmp_path), **settings)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        ([(1, b'cat'), (2, b'dog'), (1, b'dog')],
         "a.tfrecord, record 2: the label 1 is 'dog', and 'cat' in records before: give the names"),
        ([(134, b'crane'), (1, b'dog'), (517, b'crane')],
         "a.tfrecord, record 2: 'crane' is the label 517, and 134 in records before: give each"),
    ],
)  # fmt: skip
def test_numbers_and_names_that_contradict(
    tmp_path: Path, labels: list[tuple[int, bytes]], message: str
) -> None:
    path = write(tmp_path / 'a.tfrecord', [
        {'image/encoded': b'\xff\xd8\xff', 'image/class/label': number, 'image/class/text': text}
        for number, text in labels
    ])  # fmt: skip
    with pytest.raises(InputError, match=re.escape(message)):
        from_tfrecords(path)


def test_texts_alone(flowers: Path, tmp_path: Path) -> None:
    def record(path: str, label: int, content: bytes) -> Values:
        number = label + 7 * path.endswith('.jpg')
        return slim(number - label, with_text=True)(path, label, content)

    path = write(tmp_path / 'a.tfrecord', of_folder(flowers, record))
    with pytest.raises(InputError, match='take the text alone by naming it with label_key'):
        from_tfrecords(path)
    listing = from_tfrecords(path, label_key='image/class/text')
    assert labels_in(listing) == labels_in(listed(flowers))


def test_numbers_that_leave_it_open_are_warned_of(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'names.txt').write_text('a\nb\nc\nd\ne\n')
    path = write(tmp_path / 'a.tfrecord', of_folder(flowers, slim(1)))
    wanted: dict[str, list[str]] = {'auto': ['b', 'c', 'd'], '1': ['a', 'b', 'c']}
    for first, classes in wanted.items():
        caplog.clear()
        listing = from_tfrecords(path, label_names=str(tmp_path / 'names.txt'), first_label=first)
        assert [name for name, _ in listing.classes] == classes
        assert ('no 0 and no 5 occurs with 5 names: the first is taken' in caplog.text) is (
            first == 'auto'
        )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'not records at all', 'a.tfrecord holds no TFRecords, or is damaged at its first byte.'),
        (b'\x20' + bytes(100), 'a.tfrecord holds no TFRecords, or is damaged at its first byte.'),
        (gzip.compress(bytes(100)), 'a.tfrecord is compressed (GZIP): unpack it first (gunzip -c'),
        (zlib.compress(bytes(100)), 'a.tfrecord is compressed (ZLIB), or no TFRecord file: unpack'),
        (b'', 'there are no records in 1 files.'),
        (b'cut', 'a.tfrecord, record 35: the file ends in the middle of it: fetch or make'),
        (b'cut in a header', '): the file ends in the middle of it: fetch or make'),
        (b'flip', 'a.tfrecord, record 18 (byte '),
        (b'flip a length', 'a.tfrecord, record 17 (byte '),
    ],
)
def test_files_that_cannot_be_read(
    flowers: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / 'a.tfrecord'
    if content[:3] in (b'cut', b'fli'):
        whole = bytearray(write(path, of_folder(flowers, slim())).read_bytes())
        begins = [offset for _, offset, _ in serialized_in(str(path))]
        ends = {b'cut': len(whole) - 9, b'cut in a header': begins[-1] + 5}.get(content)
        if content[:3] == b'fli':
            whole[begins[17] if b'length' in content else begins[18] + 50] ^= 1
        content = bytes(whole[:ends])
    path.write_bytes(content)
    ended = call('convert_images', f'--image_tfrecords={path}', f'--records_dir={tmp_path}/r')
    assert ended.status == 1
    assert message in ended.err
    assert ended.err.count('\n') == 1


def test_a_large_compressed_file_is_told_as_such(tmp_path: Path) -> None:
    """Its first bytes, read as a length, are less than its size."""
    import tensorflow as tf

    path = tmp_path / 'a.tfrecord'
    with tf.io.TFRecordWriter(str(path), 'GZIP') as writer:
        writer.write(np.random.default_rng(0).bytes(1 << 20))
    with pytest.raises(InputError, match=r'is compressed \(GZIP\)'):
        from_tfrecords(path)


def test_what_cannot_be_parsed(tmp_path: Path) -> None:
    import tensorflow as tf

    for name, content, message in (
        ('none', b'no example', r'none, record 0: it is no tf\.train\.Example \('),
        (
            'sequence',
            sequence_example(),
            r'record 0: it is a tf\.train\.SequenceExample \(frames\)',
        ),
        ('empty', b'', r'record 0: which feature is it\?.*The features are none\.'),
        ('a.array_record', b'', r'is no TFRecord file: have TensorFlow Datasets write some'),
    ):
        path = tmp_path / name
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(content)
        if name == 'a.array_record':
            path.write_bytes(b'any' * 9)
        with pytest.raises(InputError, match=message):
            from_tfrecords(path)


def sequence_example() -> bytes:
    import tensorflow as tf

    found = tf.train.SequenceExample()
    found.context.feature['label'].int64_list.value.append(1)
    found.feature_lists.feature_list['frames'].feature.add().bytes_list.value.append(b'\xff\xd8')
    content: bytes = found.SerializeToString()
    return content


def test_a_record_without_a_good_image_is_skipped(flowers: Path, tmp_path: Path) -> None:
    records = of_folder(flowers, slim(with_text=True))
    del records[3]['image/encoded']
    records[4]['image/encoded'] = b''
    records[5]['image/encoded'] = b'no image' * 99
    write(tmp_path / 'a.tfrecord', records)
    converted('', tmp_path / 'records', image_tfrecords=f'{tmp_path}/a.tfrecord',
              max_bad_fraction=0.5)  # fmt: skip
    lines = (tmp_path / 'records/skipped.tsv').read_text().splitlines()
    skipped = dict(line.split('\t')[:2] for line in lines)
    names = [str(records[row]['image/filename'], 'utf-8') for row in (3, 4, 5)]  # type: ignore[arg-type]
    assert [skipped[name] for name in names[:2]] == ['the record has no images'] * 2
    assert names[2] in skipped
    assert len([line for line in lines if line.startswith(('Green', 'Red', 'blue'))]) == 3


def test_files_of_one_name_in_folders_of_splits(flowers: Path, tmp_path: Path) -> None:
    def record(path: str, label: int, content: bytes) -> Values:
        return {'image/encoded': content, 'image/class/text': path.split('/')[0].encode()}

    records = of_folder(flowers, record)
    write(tmp_path / 'train/0.tfrecord', records[::2])
    write(tmp_path / 'test/0.tfrecord', records[1::2])
    listing = from_tfrecords(tmp_path / '*/*.tfrecord', validation_percentage=0)
    assert listing.counts() == {'train': [6, 6, 6], 'validation': [0, 0, 0], 'test': [6, 6, 6]}
    assert {p.path.split('/0.tfrecord/')[0] == p.split for p in listing.pictures} == {True}
    assert len({p.path for p in listing.pictures}) == 36


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['my_test-train.tfrecord-00000-of-00001', 'my_test-test.tfrecord-00000-of-00001'], ''),
        (['a.val.tfrecord', 'a.training.tfrecord'], ''),
        (['a_train_00000-of-00001.tfrecord', 'a_Validation_00000-of-00001.tfrecord'], ''),
        (['train-00000-of-00001', 'validation-00000-of-00001'], ''),
        (['a-train.tfrecord', 'a-extra.tfrecord'],
         'others do not: a-extra.tfrecord. Rename them, or draw all splits with '),
        (['my_test-train.tfrecord-00000-of-00001', 'my_test-extra.tfrecord-00000-of-00001'],
         'others do not: my_test-extra.tfrecord-00000-of-00001. Rename'),
        (['a-test.tfrecord', 'b-test.tfrecord'],
         'no training images by the names of the files: leave that out with split_by=relative'),
    ],
)  # fmt: skip
def test_splits_by_names(flowers: Path, tmp_path: Path, names: list[str], message: str) -> None:
    records = of_folder(flowers, slim(with_text=True))
    split_of = {}
    for row, name in enumerate(names):
        write(tmp_path / 'in' / name, records[row::2])
        split = 'train' if 'train' in name else 'test' if '-test' in name else 'validation'
        paths = [values['image/filename'].decode() for values in records[row::2]]  # type: ignore[union-attr]
        split_of.update(dict.fromkeys(paths, split))
    if message:
        with pytest.raises(InputError, match=re.escape(message)):
            from_tfrecords(tmp_path / 'in')
        assert from_tfrecords(tmp_path / 'in', split_by='relative_path').given == frozenset()
        return
    none = (
        {'testing_percentage': 0}
        if 'test' not in split_of.values()
        else {'validation_percentage': 0}
    )
    assert splits_of(from_tfrecords(tmp_path / 'in', **none)) == split_of


def test_shards_that_are_missing_are_told(
    flowers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / 'in/a-00002-of-00004', of_folder(flowers, slim(with_text=True)))
    from_tfrecords(tmp_path / 'in')
    assert f'of the 4 files {tmp_path}/in/a-*-of-00004, 1 are there.' in caplog.text


def test_the_second_time_needs_no_tensorflow(flowers: Path, tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / 'a.tfrecord', of_folder(flowers, slim(with_text=True)))
    first = from_tfrecords(path)
    code = (
        'import sys\nfrom poets_tfr.records.settings import ConversionConfig\n'
        'from poets_tfr.sources.listing import list_images\n'
        f'found = list_images(ConversionConfig(image_tfrecords={str(path)!r}, records_dir="r"))\n'
        'assert "tensorflow" not in sys.modules\nprint(len(found.pictures))\n'
    )
    ended = command_line.start('-c', code)
    assert ended.out.split() == ['36'], ended.err
    (index,) = (cache / 'sources').iterdir()
    index.write_bytes(index.read_bytes()[:-40])
    assert from_tfrecords(path) == first, 'a damaged index is made again'
    write(path, of_folder(flowers, slim(with_text=True))[:30])
    assert len(from_tfrecords(path).pictures) == 30


def test_a_record_that_changed_is_no_other_image(flowers: Path, tmp_path: Path) -> None:
    path = write(tmp_path / 'a.tfrecord', of_folder(flowers, slim(with_text=True)))
    source = source_of(config('', image_tfrecords=str(path)))
    images = {image.path: image for image in source.inventory().images}
    for name, image in images.items():
        assert source.read(image) == (flowers / name).read_bytes()
    write(path, of_folder(flowers, slim(with_text=True))[1:])
    for image in images.values():
        with pytest.raises(OSError, match='is not where it was|has changed'):
            source.read(image)


@pytest.mark.parametrize('name', [b'../../etc/x.jpg', b'/etc/x.jpg', b'C:\\etc\\x.jpg', b'./x.jpg'])
def test_names_that_lead_elsewhere(tmp_path: Path, name: bytes) -> None:
    records: list[Values] = [
        {'image/encoded': colours.encoded(np.full((8, 8, 3), n, np.uint8)),
         'image/class/label': n % 2, 'image/filename': name if not n else b'%d.png' % n}
        for n in range(20)
    ]  # fmt: skip
    listing = from_tfrecords(write(tmp_path / 'a.tfrecord', records))
    assert {p.path for p in listing.pictures} == {'x.jpg', *(f'{n}.png' for n in range(1, 20))}


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
        ({'image_tfrecords': 'gs://pets/*'}, 'read on this machine only: copy them.'),
    ):
        flags = [f'--{name}={value}' for name, value in settings.items()]
        ended = call('convert_images', *flags, f'--records_dir={tmp_path}/r')
        assert ended.status == 1
        assert re.search(re.escape(message), ended.err), ended.err
