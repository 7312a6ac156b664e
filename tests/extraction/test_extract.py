"""The cache: nothing is computed twice, nothing damaged is believed, nobody's files are touched."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import re
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import colours
import graphs
import numpy as np
import pytest

from poets_tfr.backbones import forward, frozen
from poets_tfr.backbones.forward import compile_forward
from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.settings import BackboneConfig
from poets_tfr.errors import InputError
from poets_tfr.extraction import extract as extraction
from poets_tfr.extraction.extract import Extraction, SplitFeatures
from poets_tfr.extraction.settings import ExtractionConfig
from poets_tfr.pictures import preprocess
from poets_tfr.records import conversion
from poets_tfr.records.manifest import Manifest
from poets_tfr.records.reading import Records
from poets_tfr.records.settings import ConversionConfig
from poets_tfr.sources.listing import list_images

WIDTH = 1001
BATCH = 4


@pytest.fixture(scope='module')
def pictures_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours.write(tmp_path_factory.mktemp('few') / 'few', per_class=10, seed=3)


@pytest.fixture(scope='module')
def records(tmp_path_factory: pytest.TempPathFactory, pictures_dir: Path) -> Path:
    """30 pictures in two shards for each split."""
    return convert(pictures_dir, tmp_path_factory.mktemp('records'))


@pytest.fixture(scope='module')
def config(model_dir: Path) -> BackboneConfig:
    return BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(model_dir))


@pytest.fixture(scope='module')
def backbone(config: BackboneConfig) -> Backbone:
    return frozen.load(config)


Extract = Callable[[Path, Path], dict[str, SplitFeatures]]


@pytest.fixture
def extract(backbone: Backbone, caplog: pytest.LogCaptureFixture) -> Extract:
    def run(records: Path, cache: Path) -> dict[str, SplitFeatures]:
        caplog.clear()
        return extracted(records, backbone, cache)

    caplog.set_level('INFO')
    return run


def extracted(records: Path, backbone: Backbone, cache: Path) -> dict[str, SplitFeatures]:
    config = ExtractionConfig(bottleneck_dir=str(cache), feature_batch_size=BATCH)
    return Extraction(Records.open(str(records)), backbone, config).features()


def convert(image_dir: Path, records_dir: Path) -> Path:
    settings = ConversionConfig(
        image_dir=str(image_dir),
        records_dir=str(records_dir),
        num_shards=2,
        testing_percentage=20,
        validation_percentage=20,
    )
    conversion.convert(settings, list_images(settings))
    return records_dir


def computed(caplog: pytest.LogCaptureFixture) -> int:
    match = re.search(r'Features: (\d+) of \d+ images to compute', caplog.text)
    if match:
        return int(match[1])
    assert 'Features: all ' in caplog.text
    return 0


def cache_files(cache: Path) -> list[Path]:
    (folder,) = cache.iterdir()
    return sorted(folder.glob('*.npy'))


def assert_same(some: dict[str, SplitFeatures], other: dict[str, SplitFeatures]) -> None:
    assert some.keys() == other.keys()
    for split in some:
        np.testing.assert_array_equal(some[split].features, other[split].features)
        np.testing.assert_array_equal(some[split].labels, other[split].labels)
        assert some[split].paths == other[split].paths


def test_every_picture_gets_its_own_features(
    extract: Extract, backbone: Backbone, pictures_dir: Path, records: Path, tmp_path: Path
) -> None:
    splits = extract(records, tmp_path)
    assert list(splits) == ['train', 'validation', 'test']
    paths = [path for split in splits.values() for path in split.paths]
    on_disk = [f'{path.parent.name}/{path.name}' for path in pictures_dir.glob('*/*')]
    assert sorted(paths) == sorted(on_disk)
    one_by_one = compile_forward(backbone, 1, 'off')
    folders = sorted(colours.COLOURS)
    for split in splits.values():
        assert split.features.shape == (len(split), WIDTH)
        assert (split.features.dtype, split.labels.dtype) == (np.float32, np.int32)
        for path, label, row in zip(split.paths, split.labels, split.features, strict=True):
            assert folders[label] == path.split('/')[0]
            content = (pictures_dir / path).read_bytes()
            picture = preprocess.from_encoded(content, backbone.preprocessing)
            np.testing.assert_allclose(row, one_by_one(picture[None]).numpy()[0], atol=1e-4)


def test_a_full_cache_reads_no_picture(
    extract: Extract, records: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = extract(records, tmp_path / 'cache')
    assert computed(caplog) == 30
    blank = shutil.copytree(records, tmp_path / 'records')
    for shard in blank.glob('*.tfrecord-?????-of-?????'):
        shard.write_bytes(bytes(shard.stat().st_size))
    before = {path: path.stat().st_mtime_ns for path in cache_files(tmp_path / 'cache')}
    assert_same(extract(blank, tmp_path / 'cache'), first)
    assert computed(caplog) == 0
    assert {path: path.stat().st_mtime_ns for path in cache_files(tmp_path / 'cache')} == before


def test_only_new_pictures_are_computed(
    extract: Extract, pictures_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = shutil.copytree(pictures_dir, tmp_path / 'pictures')
    first = extract(convert(pictures, tmp_path / 'records'), tmp_path / 'cache')
    rng = np.random.default_rng(77)
    for number in range(3):
        content = colours.encoded(colours.draw('bluebells', rng))
        (pictures / f'bluebells/new_{number}.jpg').write_bytes(content)
    # Renamed, and put into another class: by its content it is known.
    (pictures / 'Red_Roses/001.jpg').rename(pictures / 'bluebells/other.jpg')
    second = extract(convert(pictures, tmp_path / 'records'), tmp_path / 'cache')
    assert computed(caplog) == 3

    def row_of(splits: dict[str, SplitFeatures], path: str) -> np.ndarray:
        (split,) = (split for split in splits.values() if path in split.paths)
        return split.features[split.paths.index(path)]

    old, renamed = row_of(first, 'Red_Roses/001.jpg'), row_of(second, 'bluebells/other.jpg')
    np.testing.assert_array_equal(old, renamed)


def test_equal_pictures_are_computed_once(
    extract: Extract, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = colours.write(tmp_path / 'pictures', per_class=5)
    content = (pictures / 'Red_Roses/001.jpg').read_bytes()
    for copy in 'Red_Roses/copy.jpg', 'bluebells/copy.jpg':
        (pictures / copy).write_bytes(content)
    splits = extract(convert(pictures, tmp_path / 'records'), tmp_path / 'cache')
    assert computed(caplog) == 15
    assert sum(map(len, splits.values())) == 17
    rows = [
        row
        for split in splits.values()
        for path, row in zip(split.paths, split.features, strict=True)
        if path.endswith(('copy.jpg', 'Red_Roses/001.jpg'))
    ]
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def named_by_content(content: bytes) -> str:
    return f'{hashlib.sha256(content).hexdigest()}.npy'


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b'')


def replaced(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], Path]:
    """The file replaced by one that is whole, with the digest in its name, but holds other data."""

    def damage(path: Path) -> Path:
        content = saved(change(np.load(path)))
        path.unlink()
        (path.parent / named_by_content(content)).write_bytes(content)
        return path.parent / named_by_content(content)

    return damage


def with_nan(array: np.ndarray) -> np.ndarray:
    array['features'][1, 5] = np.nan
    return array


def narrower(array: np.ndarray) -> np.ndarray:
    kind = np.dtype([('digest', 'S32'), ('features', '<f4', (WIDTH - 1,))])
    result = np.zeros(len(array), kind)
    result['digest'] = array['digest']
    return result


def two_dimensional(array: np.ndarray) -> np.ndarray:
    return array[None]


def pickled(array: np.ndarray) -> np.ndarray:
    return np.array([{'a': 1}], dtype=object)


@pytest.mark.parametrize(
    'damage',
    [
        truncated,
        flipped,
        emptied,
        replaced(with_nan),
        replaced(narrower),
        replaced(two_dimensional),
        replaced(pickled),
    ],
    ids=['truncated', 'flipped', 'emptied', 'nan', 'narrower', 'two-dimensional', 'pickled'],
)
def test_a_damaged_file_is_named_and_made_anew(
    extract: Extract,
    records: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], Path | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extraction, '_BATCHES_PER_FILE', 2)
    first = extract(records, tmp_path)
    whole = cache_files(tmp_path)
    assert len(whole) == 4  # 30 pictures, 8 in each
    rows = len(np.load(whole[0]))
    damaged = damage(whole[0]) or whole[0]
    again = extract(records, tmp_path)
    (warning,) = (record for record in caplog.records if record.levelname == 'WARNING')
    assert str(damaged) in warning.getMessage()
    assert computed(caplog) == rows
    for split in first:
        np.testing.assert_allclose(again[split].features, first[split].features, atol=1e-5)
    extract(records, tmp_path)
    assert computed(caplog) == 0
    assert not [record for record in caplog.records if record.levelname == 'WARNING']


def test_other_peoples_files_stay(extract: Extract, records: Path, tmp_path: Path) -> None:
    first = extract(records, tmp_path)
    (folder,) = tmp_path.iterdir()
    foreign = {'notes.txt': b'mine', 'x.npy': b'not numpy', f'{"A" * 64}.npy': b'', 'a.part': b'x'}
    for name, content in foreign.items():
        (folder / name).write_bytes(content)
    (folder / 'folder').mkdir()
    assert_same(extract(records, tmp_path), first)
    assert {name: (folder / name).read_bytes() for name in foreign} == foreign


def test_backbones_do_not_share_files(
    extract: Extract,
    records: Path,
    config: BackboneConfig,
    model_dir: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    extract(records, tmp_path)
    quantized = BackboneConfig(
        architecture=f'{graphs.MOBILENET}_quantized', model_dir=str(model_dir)
    )
    caplog.clear()
    extracted(records, frozen.load(quantized), tmp_path)
    assert computed(caplog) == 30
    assert len(list(tmp_path.iterdir())) == 2


class Interrupting:
    """The real forward function, which is interrupted at one of its calls."""

    def __init__(self, at_call: int, error: type[BaseException] = KeyboardInterrupt):
        self.left, self.error = at_call, error
        self.functions: list[Any] = []
        self._compile = compile_forward

    def __call__(self, *arguments: Any) -> Callable[[Any], Any]:
        function = self._compile(*arguments)
        self.functions.append(function)

        def interrupted(pictures: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise self.error
            return function(pictures)

        return interrupted


@pytest.mark.parametrize(
    ('error', 'at_call', 'finished'),
    [
        # As a kill: what a file lacks of being full is lost.
        *((RuntimeError, *case) for case in [(1, 0), (2, 0), (3, 8), (6, 16), (8, 24)]),
        # ^C and SIGTERM: every whole batch is kept.
        *((KeyboardInterrupt, *case) for case in [(1, 0), (2, 4), (6, 20)]),
        (SystemExit, 8, 28),
    ],
)
def test_an_interrupted_extraction_goes_on_to_the_same_bits(
    extract: Extract,
    records: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    at_call: int,
    finished: int,
) -> None:
    monkeypatch.setattr(extraction, '_BATCHES_PER_FILE', 2)
    monkeypatch.setattr(forward, '_BATCHES_AT_ONCE', 1)  # so that the calls come in order
    undisturbed = extract(records, tmp_path / 'undisturbed')
    with monkeypatch.context() as patched:
        patched.setattr(extraction, 'compile_forward', Interrupting(at_call, error))
        with pytest.raises(error):
            extract(records, tmp_path / 'cache')
    resumed = extract(records, tmp_path / 'cache')
    assert computed(caplog) == 30 - finished
    assert_same(resumed, undisturbed)
    if error is RuntimeError:
        names = [path.name for path in cache_files(tmp_path / 'cache')]
        assert names == [path.name for path in cache_files(tmp_path / 'undisturbed')]


def test_a_slow_network_keeps_its_features_every_few_seconds(
    extract: Extract, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = extract(records, tmp_path / 'whole')
    monkeypatch.setattr(extraction, '_SECONDS_PER_FILE', 0)
    assert_same(extract(records, tmp_path / 'cache'), whole)
    assert len(cache_files(tmp_path / 'cache')) == 8  # 30 pictures in batches of 4


def test_the_network_is_traced_once(
    extract: Extract, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch is padded: another shape would cost another compilation."""
    counting = Interrupting(at_call=-1)
    monkeypatch.setattr(extraction, 'compile_forward', counting)
    extract(records, tmp_path)
    (function,) = counting.functions
    assert function.experimental_get_tracing_count() == 1


def test_a_network_is_compiled_once_for_all_that_is_computed_with_it(
    config: BackboneConfig,
) -> None:
    """Compiling Inception takes seconds, and pictures' and copies' features come one by one."""
    backbone = frozen.load(config)
    compiled = compile_forward(backbone, 4, 'off')
    assert compile_forward(backbone, 4, 'off') is compiled
    assert compile_forward(backbone, 3, 'off') is not compiled
    assert compile_forward(backbone, 4, 'on') is not compiled
    halved = dataclasses.replace(backbone, precision='bfloat16')
    assert compile_forward(halved, 4, 'off') is not compiled

    freed = weakref.ref(backbone)
    del backbone
    gc.collect()
    assert freed() is None


def test_features_that_are_no_numbers_name_the_picture(
    records: Path, config: BackboneConfig, tmp_path: Path
) -> None:
    """Weights that were damaged, or XLA gone wrong: nothing of it gets into the cache."""
    graphs.write_mobilenet(tmp_path, damaged=True)
    broken = BackboneConfig(architecture=graphs.MOBILENET, model_dir=str(tmp_path))
    with pytest.raises(InputError, match=r'/\d\d\d\.(jpg|png): its features are not finite'):
        extracted(records, frozen.load(broken), tmp_path / 'cache')
    assert not list((tmp_path / 'cache').glob('*/*.npy'))


@pytest.mark.parametrize('damage', ['missing', 'damaged', 'of another shard'])
def test_an_index_that_cannot_be_used_is_named(
    extract: Extract, records: Path, tmp_path: Path, damage: str
) -> None:
    copy = shutil.copytree(records, tmp_path / 'records')
    index, other = sorted(copy.glob('*train*.index.jsonl'))
    if damage == 'missing':
        index.unlink()
    elif damage == 'damaged':
        index.write_bytes(index.read_bytes()[:-20])
    else:
        shutil.copy(other, index)
    with pytest.raises(InputError, match=re.escape(str(index))):
        extract(copy, tmp_path / 'cache')


def test_an_empty_split_has_no_rows(extract: Extract, pictures_dir: Path, tmp_path: Path) -> None:
    settings = ConversionConfig(
        image_dir=str(pictures_dir), records_dir=str(tmp_path / 'records'), testing_percentage=0
    )
    manifest: Manifest = conversion.convert(settings, list_images(settings))
    assert manifest.splits['test'].pictures == 0
    splits = extract(tmp_path / 'records', tmp_path / 'cache')
    assert splits['test'].features.shape == (0, WIDTH)
    assert splits['test'].paths == ()


def test_records_that_are_replaced_meanwhile_leave_nothing_in_the_cache(
    backbone: Backbone, pictures_dir: Path, tmp_path: Path
) -> None:
    """Their images would be kept as the features of those that were there before."""
    pictures = shutil.copytree(pictures_dir, tmp_path / 'pictures')
    records = Records.open(str(convert(pictures, tmp_path / 'records')))
    for split in records.splits:
        records[split]
    sorted(pictures.glob('*/*'))[0].rename(pictures / 'bluebells/renamed.png')
    convert(pictures, tmp_path / 'records')
    config = ExtractionConfig(bottleneck_dir=str(tmp_path / 'cache'), feature_batch_size=BATCH)
    with pytest.raises(InputError, match='another conversion has replaced the records'):
        Extraction(records, backbone, config).features()
    assert not list((tmp_path / 'cache').rglob('*.npy'))
