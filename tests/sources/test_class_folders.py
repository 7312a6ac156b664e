"""Classes, labels and splits, from names alone."""

from __future__ import annotations

import bisect
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import colours
import conversion
import numpy as np
import pytest
from conversion import listed, splits_of, touch

from poets_tfr import evaluation as evaluate
from poets_tfr.errors import InputError
from poets_tfr.label import inputs
from poets_tfr.label.settings import EvaluationConfig
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources import splits
from poets_tfr.sources.labels import label_of, possible_labels
from poets_tfr.sources.splits import split_percentage

# The names of the 3,670 pictures of flower_photos, as its archive of 2016 holds them.
FLOWERS = (Path(__file__).parents[1] / 'data/flower_photos_files.txt').read_text().split()


@pytest.fixture(scope='module')
def flower_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return touch(tmp_path_factory.mktemp('tree') / 'flower_photos', FLOWERS)


def numbered(folder: str, count: int, extension: str = 'jpg') -> list[str]:
    return [f'{folder}/{i:03d}.{extension}' for i in range(count)]


def two_classes(image_dir: Path, count: int = 30) -> Path:
    return touch(image_dir, numbered('daisy', count) + numbered('roses', count))


# The split


@pytest.mark.parametrize(
    ('prefix', 'classes', 'sizes'),
    [
        # The tutorial's run on two flowers printed (N=145).
        ('/tf_files/flower_photos', ('daisy', 'roses'), {'test': 145}),
        # The path that the tutorial types gives another split.
        ('/image_classification_tf_docker/flower_photos', ('daisy', 'roses'), {'test': 139}),
        # The codelab's, of which 80.9 % were published with N=362.
        ('tf_files/flower_photos', (), {'train': 2949, 'validation': 359, 'test': 362}),
    ],
)
def test_split_by_given_path_is_the_original_s(
    flower_photos: Path, prefix: str, classes: tuple[str, ...], sizes: dict[str, int]
) -> None:
    listing = listed(flower_photos, split_prefix=prefix, classes=classes)
    found = Counter(splits_of(listing).values())
    assert {split: found[split] for split in sizes} == sizes
    assert len(listing.classes) == (len(classes) or 5)


def test_image_dir_as_typed_is_the_given_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flower_photos: Path
) -> None:
    (tmp_path / 'tf_files').mkdir()
    (tmp_path / 'tf_files/flower_photos').symlink_to(flower_photos)
    monkeypatch.chdir(tmp_path)
    counts = listed('tf_files/flower_photos', split_by='given_path').counts()
    assert [sum(counts[s]) for s in ('train', 'validation', 'test')] == [2949, 359, 362]


def test_default_split_does_not_depend_on_where_the_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = two_classes(tmp_path / 'here', 300)
    split = splits_of(listed(here))
    monkeypatch.chdir(tmp_path)
    for spelling in ('here', './here/', f'{here}//', 'here/../here'):
        assert splits_of(listed(spelling)) == split, spelling
    shutil.move(here, tmp_path / 'moved')
    assert splits_of(listed('moved')) == split
    assert splits_of(listed('moved', split_by='given_path')) != split


def test_the_hash_cuts_at_the_percentages(tmp_path: Path) -> None:
    listing = listed(two_classes(tmp_path, 400), validation_percentage=20, testing_percentage=30)
    for path, split in splits_of(listing).items():
        # The original's formula, by hand: sha1, modulo 2^27, as a percentage.
        fraction = int(hashlib.sha1(path.encode()).hexdigest(), 16) % 2**27 / (2**27 - 1)
        wanted = 'validation' if fraction < 0.2 else 'test' if fraction < 0.5 else 'train'
        assert split == wanted, path


def test_the_hash_cuts_just_there(tmp_path: Path) -> None:
    names = sorted((f'daisy/{i}' for i in range(30_000)), key=split_percentage)
    percentages = [split_percentage(name) for name in names]
    cuts = [bisect.bisect(percentages, percentage) for percentage in (10, 30)]
    beside = [names[cut + side] for cut in cuts for side in (-1, 0)]
    assert [percentages[cut] - percentages[cut - 1] < 0.05 for cut in cuts] == [True, True]
    config = ConversionConfig(validation_percentage=10, testing_percentage=20)
    found = [splits.by_hash(config, name) for name in beside]
    assert found == ['validation', 'test', 'test', 'train']


def test_adding_pictures_moves_none_between_splits(tmp_path: Path) -> None:
    before = splits_of(listed(two_classes(tmp_path, 40)))
    touch(tmp_path, [f'daisy/new_{i}.jpg' for i in range(40)])
    after = splits_of(listed(tmp_path))
    assert {path: after[path] for path in before} == before


def test_nohash_groups_stay_together(tmp_path: Path) -> None:
    plants = [f'daisy/plant{g:02d}_nohash_{i}.jpg' for g in range(40) for i in range(3)]
    touch(tmp_path, plants + numbered('roses', 30))
    for settings in ({}, {'split_prefix': '/tf_files/flower_photos'}):
        split = splits_of(listed(tmp_path, **settings))
        groups: dict[str, set[str]] = {}
        for path in plants:
            groups.setdefault(path.split('_nohash_')[0], set()).add(split[path])
        assert all(len(found) == 1 for found in groups.values())
        assert len({next(iter(found)) for found in groups.values()}) == 3, 'groups do differ'


def test_each_split_of_a_small_class_gets_the_picture_nearest_to_it(tmp_path: Path) -> None:
    names = numbered('daisy', 300)
    trained = [n for n in names if split_percentage(n) >= 20][:4]
    touch(tmp_path, trained + numbered('roses', 30))
    split = splits_of(listed(tmp_path))
    daisies = [path for path, _ in sorted(split.items()) if path.startswith('daisy/')]
    by_hash = sorted(daisies, key=split_percentage)
    # Validation comes first and takes the lowest hash; test takes the next.
    assert [split[path] for path in by_hash] == ['validation', 'test', 'train', 'train']


def test_a_group_moves_as_a_whole(tmp_path: Path) -> None:
    names = [f'daisy/p{i}' for i in range(300) if split_percentage(f'daisy/p{i}') >= 20][:3]
    touch(tmp_path, [f'{name}_nohash_{i}.jpg' for name in names for i in range(2)])
    touch(tmp_path, numbered('roses', 30))
    split = splits_of(listed(tmp_path))
    for name in names:
        assert split[f'{name}_nohash_0.jpg'] == split[f'{name}_nohash_1.jpg']
    assert Counter(s for p, s in split.items() if p.startswith('daisy/')) == {
        'train': 2, 'validation': 2, 'test': 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ('files', 'settings', 'says'),
    [
        (numbered('daisy', 2), {}, ["class 'daisy' has 2 images", '3 are the least']),
        (numbered('daisy', 1), {'testing_percentage': 0}, ["'daisy' has 1 image", '2 are']),
        (
            [f'daisy/one_nohash_{i}.jpg' for i in range(9)],
            {},
            ["class 'daisy' has no image for test", '_nohash_'],
        ),
        (
            [n for n in numbered('daisy', 60) if split_percentage('x/' + n) >= 10],
            {'split_prefix': 'x'},
            ['split_prefix=x: the', "'daisy' has no image in validation", 'relative_path'],
        ),
    ],
)
def test_a_class_too_small_for_its_splits_is_an_error(
    tmp_path: Path, files: list[str], settings: dict[str, object], says: list[str]
) -> None:
    touch(tmp_path, files + numbered('roses', 300))
    with pytest.raises(InputError) as error:
        listed(tmp_path, **settings)
    assert all(part in str(error.value) for part in says), str(error.value)


def long_tail(image_dir: Path) -> Path:
    two_classes(image_dir)
    return touch(image_dir, [n for i in range(8) for n in numbered(f'k{i}', 4 - i % 4)])


def test_all_classes_that_are_too_small_are_told_at_once(tmp_path: Path) -> None:
    touch(long_tail(tmp_path), [f'one/a_nohash_{i}.jpg' for i in range(9)])
    with pytest.raises(InputError) as error:
        listed(tmp_path)
    assert str(error.value) == (
        "image_dir: 4 classes are too small: 'k2' has 2 images, 'k3' has 1 image, 'k6' has 2 "
        "images, 'k7' has 1 image, and 3 are the least for validation, test, train: add "
        'images, or leave such classes out (min_class_size=3). image_dir: the class '
        "'one' has no image for validation: files that agree up to _nohash_ stay together, and "
        'too few groups are left. Add images.'
    )


def test_min_class_size_leaves_small_classes_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (long_tail(tmp_path) / 'k1/3.jpg').symlink_to('nothing')  # it has three that can be opened
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(tmp_path, min_class_size=4)
    assert [c.folder for c in listing.classes] == ['daisy', 'k0', 'k4', 'roses']
    assert (len(listing.pictures), listing.ignored) == (68, 13)
    assert (
        '--min_class_size=4: classes with fewer images, left out: 6 (k1, k2, k3, k5, k6, k7).'
    ) in caplog.messages
    with pytest.raises(InputError, match="the only one is 'daisy'"):
        listed(tmp_path, min_class_size=30, classes=('daisy', 'k0'))


def test_two_pictures_do_without_a_test_split(tmp_path: Path) -> None:
    touch(tmp_path, numbered('daisy', 2) + numbered('roses', 2))
    counts = listed(tmp_path, testing_percentage=0).counts()
    assert counts == {'train': [1, 1], 'validation': [1, 1], 'test': [0, 0]}


# Labels


@pytest.mark.parametrize(
    ('folder', 'label'),
    [
        ('daisy', 'daisy'),
        ('Red_Roses', 'red roses'),
        ('a--b  c', 'a b c'),
        ('_x_', ' x '),  # as the original leaves it
        ('Café 2', 'café 2'),  # beyond ASCII, which the original's rule takes for spaces
        ('Gänseblümchen', 'gänseblümchen'),
        (unicodedata.normalize('NFD', 'Gänseblümchen'), 'gänseblümchen'),  # as a Mac names it
        ('हिन्दी_फूल', 'हिन्दी फूल'),
        ('می\u200cخواهم', 'می\u200cخواهم'),
        ('cúc', 'cúc'),
        ('红A–1', '红a 1'),
        ('玫瑰', '玫瑰'),
        ('٣ ورود', '٣ ورود'),
        ('🌷', '🌷'),  # nothing would be left
        ('玫\n瑰', '玫 瑰'),  # the labels file has one line for each
        ('\udcff', '\udcff'),  # a byte that is not UTF-8
    ],
)
def test_label_of(folder: str, label: str) -> None:
    assert label_of(folder) == label


def test_label_style_folder_keeps_names(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize('NFD', 'Gänse_Blümchen')
    touch(
        tmp_path, [n for folder in (decomposed, 'red', 'Red', 'a\nb') for n in numbered(folder, 20)]
    )
    with pytest.raises(InputError, match='label_style=folder'):
        listed(tmp_path)
    labels = [label for _, label in listed(tmp_path, label_style='folder').classes]
    assert labels == [unicodedata.normalize('NFC', decomposed), 'Red', 'a b', 'red']


def test_folders_that_differ_beyond_ascii_have_labels_of_their_own(tmp_path: Path) -> None:
    folders = 'cúc', 'cọc', '红A', '蓝A', 'Röschen', 'Rüschen'
    touch(tmp_path, [name for folder in folders for name in numbered(folder, 20)])
    assert len({label for _, label in listed(tmp_path).classes}) == 6


def test_possible_labels_hold_those_of_0_1() -> None:
    assert possible_labels('Gänse_Blümchen') == [
        'Gänse_Blümchen', 'gänse blümchen', 'g nse bl mchen'
    ]  # fmt: skip
    assert possible_labels('Rote_玫瑰')[2] == 'rote '
    assert possible_labels('玫_瑰')[2] == '玫_瑰'


def test_folders_with_the_same_label_are_an_error_that_names_both(tmp_path: Path) -> None:
    touch(tmp_path, numbered('red_roses', 30) + numbered('Red Roses', 30))
    with pytest.raises(InputError, match=r"'Red Roses' and 'red_roses'.*'red roses'"):
        listed(tmp_path)


def test_classes_are_sorted_by_folder_and_keep_its_name(tmp_path: Path) -> None:
    touch(tmp_path, numbered('b', 30) + numbered('A b', 30) + numbered('a', 30))
    assert listed(tmp_path).classes == (('A b', 'a b'), ('a', 'a'), ('b', 'b'))


# --classes


def test_classes_chooses_folders(tmp_path: Path) -> None:
    touch(tmp_path, [n for c in ('daisy', 'roses', 'tulips') for n in numbered(c, 30)])
    listing = listed(tmp_path, classes=('tulips', 'daisy', 'tulips'))
    assert [c.folder for c in listing.classes] == ['daisy', 'tulips']
    assert {p.label: p.path[0] for p in listing.pictures} == {0: 'd', 1: 't'}
    all_three = splits_of(listed(tmp_path))
    assert all(all_three[p.path] == p.split for p in listing.pictures)


def test_classes_that_are_not_there(tmp_path: Path) -> None:
    two_classes(tmp_path)
    with pytest.raises(InputError, match=r"no folder 'dasy'; it has daisy, roses"):
        listed(tmp_path, classes=('dasy', 'roses'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match=r"classes: the folder 'empty' .* holds no images"):
        listed(tmp_path, classes=('daisy', 'empty', 'roses'))


# Wrong folders


def test_missing_folder_is_named_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        listed('flowers')
    assert "'flowers' not found" in str(error.value)
    assert str(tmp_path / 'flowers') in str(error.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / 'x.jpg').touch()
    with pytest.raises(InputError, match=r'x\.jpg is a file: name the folder'):
        listed(tmp_path / 'x.jpg')


def test_pictures_one_level_too_deep_are_named(tmp_path: Path) -> None:
    touch(tmp_path, [f'{folder}/inner/{n}.jpg' for folder in ('a', 'b') for n in range(3)])
    with pytest.raises(InputError, match='a holds no images itself, but a/inner does'):
        listed(tmp_path)


def test_one_level_too_high_names_the_folder_below(tmp_path: Path) -> None:
    two_classes(tmp_path / 'sets/flowers')
    touch(tmp_path, ['sets/aaa/notes.txt'])
    with pytest.raises(InputError) as error:
        listed(tmp_path / 'sets')
    below = tmp_path / 'sets/flowers'
    assert f'{below} looks right: try image_dir={below}' in str(error.value)
    assert 'No valid folders of images found' in str(error.value), "the original's words"


def test_one_level_too_low_names_the_folder_above(tmp_path: Path) -> None:
    two_classes(tmp_path)
    with pytest.raises(InputError) as error:
        listed(tmp_path / 'daisy')
    assert 'holds 30 images itself' in str(error.value)
    assert f'try image_dir={tmp_path}' in str(error.value)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    touch(tmp_path, [*numbered('daisy', 30), 'notes/readme.txt'])
    with pytest.raises(InputError) as error:
        listed(tmp_path)
    assert 'Only one valid folder of images found' in str(error.value)
    assert "'daisy'" in str(error.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='It must hold one folder of images for each class'):
        listed(tmp_path)


# Files


def test_extensions_in_any_case_and_each_file_once(tmp_path: Path) -> None:
    names = 'a.jpg a.JPG b.JPEG c.Png d.gif e.BMP f.webp g.TIF h.tiff i.avif j.jpe k.jfif'.split()
    names += 'l.HEIC m.heif n.hif o.jp2 p.j2k q.jpc r.jpf s.jpx t.jxl u.MPO'.split()
    touch(tmp_path, [f'daisy/{name}' for name in names] + numbered('roses', 30))
    found = [p.path for p in listed(tmp_path).pictures if p.path.startswith('daisy/')]
    assert sorted(found) == sorted(f'daisy/{name}' for name in names)


def test_every_file_is_a_picture_or_ignored(tmp_path: Path) -> None:
    two_classes(tmp_path)
    touch(tmp_path, ['daisy/.hidden.jpg', 'daisy/Thumbs.db', 'daisy/notes.txt', 'daisy/jpg'])
    touch(tmp_path, numbered('.hidden', 30) + ['daisy/folder.jpg/x.jpg', 'LICENSE.txt'])
    (tmp_path / 'daisy/dangling.jpg').symlink_to('nothing')
    os.mkfifo(tmp_path / 'daisy/pipe.jpg')
    listing = listed(tmp_path)
    assert [c.folder for c in listing.classes] == ['daisy', 'roses']
    usable = [picture for picture in listing.pictures if not picture.fault]
    assert len(usable) == 60
    assert {p.path: p.fault for p in listing.pictures if p.fault} == {
        'daisy/dangling.jpg': 'a link to nothing',
        'daisy/pipe.jpg': 'a named pipe, not a file',
    }
    assert sum(map(sum, listing.counts().values())) == 60
    # Four files in daisy, one in its folder, 30 in the hidden folder, and the license.
    assert listing.ignored == 36
    every = [path for path in tmp_path.rglob('*') if path.is_symlink() or not path.is_dir()]
    assert len(listing.pictures) + listing.ignored == len(every)


def test_links_are_followed(tmp_path: Path) -> None:
    real = two_classes(tmp_path / 'real')
    (tmp_path / 'image_dir').mkdir()
    (tmp_path / 'image_dir/daisy').symlink_to(real / 'daisy')
    touch(tmp_path / 'image_dir', numbered('roses', 29))
    (tmp_path / 'image_dir/roses/last.jpg').symlink_to(real / 'roses/000.jpg')
    assert len(listed(tmp_path / 'image_dir').pictures) == 60


def test_unusual_names(tmp_path: Path) -> None:
    odd = [
        '-x.jpg',
        'a b.jpg',
        'quote\'".jpg',
        'line\nbreak.jpg',
        'tab\t.jpg',
        '花.jpg',
        '\udcff.jpg',
    ]
    touch(tmp_path, [f'日 本/{name}' for name in odd] + numbered('roses', 30))
    listing = listed(tmp_path)
    found = {os.path.basename(p.path) for p in listing.pictures if p.label == 1}
    assert found == set(odd)
    assert listing.classes[1] == ('日 本', '日 本')


def test_the_original_s_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, numbered('daisy', 19) + numbered('roses', 20) + ['notes/readme.txt'])
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listed(tmp_path)
    first, other_files, no_files = (record.getMessage() for record in caplog.records)
    assert first.startswith('WARNING: Folder has less than 20 images, which may cause issues.')
    assert 'daisy: 19' in first
    assert other_files.startswith('notes: 1 files with .txt are ignored')
    assert no_files == 'No files found in notes: it is not used as a class.'


@pytest.mark.parametrize('small', [5, 6])
def test_many_warnings_of_a_kind_are_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, small: int
) -> None:
    two_classes(tmp_path)
    for i in range(small):
        touch(tmp_path, [*numbered(f'k{i}', 3 + i), f'k{i}/a.txt', f'k{i}/in/a.jpg', f'e{i}/.x'])
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listed(tmp_path)
    if small == 5:
        assert len(caplog.messages) == 4 * 5
        few = [m for m in caplog.messages if 'less than 20' in m]
        assert few == [
            f'WARNING: Folder has less than 20 images, which may cause issues. (k{i}: {3 + i})'
            for i in range(5)
        ]
    else:
        assert caplog.messages == [
            'WARNING: 6 folders hold no images, and are not used as classes (e0, e1, e2, ...).',
            'WARNING: 6 folders hold files that are not images and are ignored (k0, k1, k2, ...).',
            'WARNING: 6 folders have folders in them whose images are ignored: --recursive '
            'includes them (k0, k1, k2, ...).',
            'WARNING: 6 folders have less than 20 images, which may cause issues (k0, k1, k2, '
            '...).',
        ]


def test_pictures_beside_the_class_folders_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, numbered('daisy', 20) + numbered('roses', 20))
    touch(tmp_path, ['a.jpg', 'b.PNG', '.hidden.jpg', 'LICENSE.txt'])
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(tmp_path)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == f'{tmp_path}: images outside any class folder: 2, ignored.'
    assert listing.ignored == 4


def test_counts_are_in_label_order(tmp_path: Path) -> None:
    touch(tmp_path, numbered('roses', 50) + numbered('daisy', 30))
    listing = listed(tmp_path)
    counts = listing.counts()
    assert [sum(counts[split][label] for split in counts) for label in (0, 1)] == [30, 50]
    assert conversion.config(tmp_path).name == tmp_path.name.replace('-', '_').lower()


# Nested folders


def nested(image_dir: Path) -> Path:
    touch(image_dir, numbered('daisy', 20) + numbered('roses', 20))
    touch(image_dir, ['daisy/2019/june/a.jpg', 'daisy/2019/b.png', 'daisy/2019/notes.txt'])
    touch(image_dir, ['daisy/.cache/c.jpg', 'roses/2020/d.jpg'])
    return image_dir


def test_recursive_takes_nested_folders(tmp_path: Path) -> None:
    listing = listed(nested(tmp_path), recursive=True)
    deeper = {p.path: p.label for p in listing.pictures if p.path.count('/') > 1}
    assert deeper == {'daisy/2019/june/a.jpg': 0, 'daisy/2019/b.png': 0, 'roses/2020/d.jpg': 1}
    assert [p.path for p in listing.pictures] == sorted(p.path for p in listing.pictures)
    assert (len(listing.pictures), listing.ignored) == (43, 2)
    before = splits_of(listed(tmp_path))
    after = splits_of(listing)
    assert {path: after[path] for path in before} == before, 'none moves between splits'


def test_without_recursive_nested_pictures_are_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(nested(tmp_path))
    assert (len(listing.pictures), listing.ignored) == (40, 5)
    assert 'daisy: 2 folders (2019, 2019/june) hold images that are ignored' in caplog.text
    assert 'roses: 1 folders (2020) hold images' in caplog.text
    assert '.cache' not in caplog.text


def test_recursive_takes_pictures_one_level_too_deep(tmp_path: Path) -> None:
    touch(tmp_path, [f'{folder}/inner/{n}.jpg' for folder in ('a', 'b') for n in range(20)])
    assert len(listed(tmp_path, recursive=True).pictures) == 40
    with pytest.raises(InputError, match='take nested folders with recursive'):
        listed(tmp_path)


# Files whose names do not say that they are pictures


def downloads(image_dir: Path) -> Path:
    two_classes(image_dir)
    jpeg, png = (colours.encoded(np.zeros((8, 8, 3), np.uint8), kind) for kind in ('JPEG', 'PNG'))
    avif = colours.encoded(np.zeros((8, 8, 3), np.uint8), 'AVIF')
    bmp = colours.encoded(np.zeros((8, 8, 3), np.uint8), 'BMP')
    for name, content in {
        'photo.jpg?w=640': jpeg, 'photo.jpg?w=320': png, '5f3a': jpeg, 'IMG_1.PHOTO': avif,
        'a.dib': bmp,
        'page.jpg?w=1': b'<!DOCTYPE html>', 'IMG_2.PHOTO': b'\0\0\0\x14ftypqt  \0\0\0\0qt  ',
        'README': b'BMW, the car, and more text', 'empty': b'',
        'a.txt': jpeg, 'a.jpg_original': jpeg, 'a.jpg~': jpeg, 'a.THM': jpeg,
        'a.cr2': b'II*\0\x10\0\0\0CR', 'nothing.part': jpeg,
    }.items():  # fmt: skip
        (image_dir / 'daisy' / name).write_bytes(content)
    os.mkfifo(image_dir / 'daisy/pipe')
    touch(image_dir, ['roses/a.txt', 'roses/b.csv'])
    return image_dir


BY_CONTENT = ['5f3a', 'IMG_1.PHOTO', 'a.dib', 'photo.jpg?w=320', 'photo.jpg?w=640']


def test_files_of_other_names_are_taken_by_their_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(downloads(tmp_path))
    found = [p.path for p in listing.pictures if not p.path.endswith('.jpg')]
    assert found == [f'daisy/{name}' for name in BY_CONTENT]
    assert listing.ignored == 11 + 2
    daisy, txt, csv, by_content = caplog.messages
    assert daisy.startswith('daisy: 11 files with no extension, .photo, .thm, ... are ignored')
    assert txt.startswith('roses: 1 files with .csv are')
    assert csv.startswith('roses: 1 files with .txt are')
    assert by_content == (
        'Taken by their content, for their names are not those of images: 5 (daisy/5f3a, '
        'daisy/IMG_1.PHOTO, daisy/a.dib, ...).'
    )


def test_labelling_and_evaluation_take_the_same_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image_dir = downloads(tmp_path)
    wanted = [str(image_dir / p.path) for p in listed(image_dir).pictures]
    caplog.clear()
    assert inputs.find_pictures([str(image_dir)]) == wanted
    assert 'Taken by their content, for their names are not those of images: 5' in caplog.text
    found = evaluate.find(EvaluationConfig(image_dir=str(image_dir)))
    assert isinstance(found, list)
    assert [str(image_dir / file.path) for file in found] == wanted


def test_nested_downloads_are_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (downloads(tmp_path) / 'daisy/deep').mkdir()
    (tmp_path / 'daisy/photo.jpg?w=640').rename(tmp_path / 'daisy/deep/photo.jpg?w=640')
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listed(tmp_path)
    assert 'daisy: 1 folders (deep) hold images that are ignored' in caplog.text


# Folders of systems and programs

SYSTEM_FOLDERS = (
    '@eaDir', '#recycle', '#snapshot', '$RECYCLE.BIN', '$Recycle.Bin', 'System Volume Information',
    'lost+found', '__MACOSX', '.ipynb_checkpoints', '.Trash-1000', 'Thumbs',
)  # fmt: skip


@pytest.mark.parametrize('recursive', [False, True])
def test_system_folders_are_no_classes_nor_taken_nor_recommended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recursive: bool
) -> None:
    two_classes(tmp_path)
    touch(tmp_path, [f'{folder}/roses/{n}.jpg' for folder in SYSTEM_FOLDERS for n in range(9)])
    touch(tmp_path, [f'{folder}/{n}.jpg' for folder in SYSTEM_FOLDERS for n in range(9)])
    touch(tmp_path, ['daisy/@eaDir/000.jpg/THUMB_M.jpg', 'daisy/.ipynb_checkpoints/000.jpg'])
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(tmp_path, recursive=recursive)
    assert [c.folder for c in listing.classes] == ['daisy', 'roses']
    assert len(listing.pictures) == 60
    assert listing.ignored == 10 + 2 * 18 + 1, 'a system folder each, and what hidden ones hold'
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == (
        'Folders of the system or of other programs: 10, not looked into (#recycle, #snapshot, '
        '$RECYCLE.BIN, ...). Rename one that holds images of yours.'
    )


@pytest.mark.parametrize('folder', SYSTEM_FOLDERS)
def test_a_system_folder_is_not_pointed_at(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, [f'{folder}/{name}/{n}.jpg' for name in 'ab' for n in range(3)])
    touch(tmp_path, [f'daisy/{folder}/0.jpg'])
    with pytest.raises(InputError, match='It must hold one folder of images for each class'):
        listed(tmp_path)


# Folders that may not be read


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that others may enter, as they may not enter tmp_path."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


CLASSES = '[c.folder for c in list_images(config).classes]'


def as_nobody(
    image_dir: Path, wanted: str = CLASSES, **settings: object
) -> tuple[list[str], list[str]]:
    """(What was warned of, `wanted` or the error), in a process that is not root's."""
    program = f"""
import json, logging, os
from poets_tfr import evaluation as evaluate
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.label.settings import EvaluationConfig
from poets_tfr.errors import InputError
from poets_tfr.label import inputs
from poets_tfr.sources.listing import list_images
told = []
handler = logging.Handler()
handler.emit = lambda record: told.append(record.getMessage())
logging.getLogger('poets_tfr').addHandler(handler)
config = ConversionConfig(image_dir={str(image_dir)!r}, **{settings!r})
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    outcome = {wanted}
except InputError as error:
    outcome = [str(error)]
print(json.dumps([told, outcome]))
"""
    ended = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told, outcome = json.loads(ended.stdout)
    return told, outcome


def test_a_folder_that_may_not_be_read_and_is_not_taken_is_a_warning(open_dir: Path) -> None:
    image_dir = touch(two_classes(open_dir / 'in'), ['daisy/raw/a.jpg', '.Trash-0/b.jpg'])
    touch(image_dir, numbered('tulips', 30))
    (image_dir / 'link').symlink_to(open_dir / 'secret/inside')
    (open_dir / 'secret/inside').mkdir(parents=True)
    for folder in image_dir / 'daisy/raw', image_dir / '.Trash-0', open_dir / 'secret':
        folder.chmod(0)
    (image_dir / 'tulips').chmod(0)
    told, outcome = as_nobody(image_dir, classes=('daisy', 'roses'))
    assert told == ['Cannot be read, but is not needed either: 2 (link, daisy/raw).']
    assert outcome == ['daisy', 'roses']
    (image_dir / 'tulips').chmod(0o755)
    told, outcome = as_nobody(image_dir)
    assert told == ['Cannot be read, but is not needed either: 3 (link, .Trash-0, daisy/raw).']
    assert outcome == ['daisy', 'roses', 'tulips']


@pytest.mark.parametrize('mode', [0, 0o744])  # the names can be read, and nothing else
def test_all_classes_that_may_not_be_read_are_told_at_once(open_dir: Path, mode: int) -> None:
    image_dir = touch(two_classes(open_dir / 'in'), numbered('ferns', 3) + numbered('tulips', 3))
    touch(image_dir, numbered('daisy/deep', 3))
    (image_dir / 'daisy/deep').chmod(mode)
    for folder in 'ferns', 'tulips':
        (image_dir / folder).chmod(mode)
    for wanted, what in (
        (CLASSES, 'image_dir'),
        (
            'evaluate.find(EvaluationConfig(image_dir=config.image_dir, recursive=True))',
            'image_dir',
        ),
        ('inputs.find_pictures([config.image_dir])', str(image_dir)),
    ):
        _, (error,) = as_nobody(image_dir, wanted, recursive=True)
        message, _, which = error.partition(': cannot be read, so that images would be missing: ')
        assert message == what
        closed = which.split('. ')[0].split(', ')
        assert sorted(closed) == [
            f'{name} (Permission denied)' for name in ('daisy/deep', 'ferns', 'tulips')
        ]


@pytest.mark.parametrize('mode', [0, 0o744])
def test_an_image_dir_that_may_not_be_read(open_dir: Path, mode: int) -> None:
    image_dir = two_classes(open_dir / 'in')
    image_dir.chmod(mode)
    _, (error,) = as_nobody(image_dir)
    assert error == f'image_dir: {image_dir} cannot be read (Permission denied).'


# Links


def linked(tmp_path: Path) -> Path:
    """Links out of image_dir, to a picture and to a folder; one inside it; one in a circle."""
    outside = two_classes(tmp_path / 'outside')
    image_dir = two_classes(tmp_path / 'image_dir')
    (image_dir / 'tulips').symlink_to(outside / 'roses')
    (image_dir / 'daisy/out.jpg').symlink_to(outside / 'daisy/000.jpg')
    (image_dir / 'daisy/in.jpg').symlink_to('000.jpg')
    (image_dir / 'daisy/more').symlink_to(outside / 'daisy')
    (image_dir / 'daisy/round').symlink_to('..')
    (image_dir / 'roses/round').symlink_to('../daisy')
    return image_dir


def test_links_are_followed_but_not_in_circles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(linked(tmp_path), recursive=True)
    found = Counter(path.rpartition('/')[0] for path in splits_of(listing))
    assert found == {
        'daisy': 32, 'daisy/more': 30, 'roses': 30, 'roses/round': 32, 'roses/round/more': 30,
        'tulips': 30,
    }  # fmt: skip
    assert listing.ignored == 2, 'the links in a circle'
    assert 'daisy: 1 folders (round) are links out of image_dir, or in a circle' in caplog.text
    assert not [picture for picture in listing.pictures if picture.fault]


def test_links_out_of_image_dir_may_be_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image_dir = linked(tmp_path)
    with caplog.at_level(logging.WARNING, 'poets_tfr'):
        listing = listed(image_dir, recursive=True, follow_links=False)
    found = Counter(path.rpartition('/')[0] for path in splits_of(listing))
    assert found == {'daisy': 32, 'roses': 30, 'roses/round': 32}
    faults = {picture.path: picture.fault for picture in listing.pictures if picture.fault}
    reason = 'a link out of image_dir; --follow_links takes it'
    assert faults == {'daisy/out.jpg': reason, 'roses/round/out.jpg': reason}
    assert f'tulips is a link out of {image_dir}: not followed.' in caplog.text
    (tmp_path / 'elsewhere').symlink_to(image_dir)
    through_a_link = listed(tmp_path / 'elsewhere', recursive=True, follow_links=False)
    assert through_a_link.pictures == listing.pictures, 'image_dir itself may be a link'


def test_a_class_of_faulty_files_only(tmp_path: Path) -> None:
    two_classes(tmp_path)
    (tmp_path / 'ferns').mkdir()
    (tmp_path / 'ferns/a.jpg').symlink_to('nothing')
    with pytest.raises(InputError, match="class 'ferns' has 0 images"):
        listed(tmp_path)


# Accents


def test_folders_that_look_alike_are_an_error(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, 'José') for form in ('NFC', 'NFD'))
    touch(tmp_path, numbered(composed, 20) + numbered(decomposed, 20))
    with pytest.raises(InputError, match=r'two folders are named .* \(Unicode NFC and NFD\)'):
        listed(tmp_path)


def test_classes_are_found_however_their_accents_are_encoded(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, 'José') for form in ('NFC', 'NFD'))
    touch(tmp_path, numbered(decomposed, 20) + numbered('roses', 20))
    assert [c.folder for c in listed(tmp_path, classes=(composed, 'roses')).classes] == [
        decomposed, 'roses'
    ]  # fmt: skip
