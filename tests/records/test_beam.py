"""The conversion as a Beam pipeline: the same bytes, whatever happens to a worker."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import shutil
import threading
from pathlib import Path

import colours
import command_line
import conversion
import pytest

from poets_tfr import files
from poets_tfr.errors import InputError
from poets_tfr.records.shards import ShardJob, plan_shards
from poets_tfr.sources.listing import list_images

beam = pytest.importorskip('poets_tfr.records.beam', reason='apache_beam is not installed')

SHARD = 'flowers-train.tfrecord-00001-of-00003'

# The one local runner that runs a failed bundle again, up to four times.
RETRYING = '--runner=apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner'
# The one that is used wherever nothing else is said; it starts workers, and retries nothing.
WORKERS = '--runner=FnApiRunner', '--direct_num_workers=3'
SETTINGS = '--dataset_name=flowers', '--num_shards=3', '--validation_percentage=20'


@pytest.fixture(scope='module')
def image_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = colours.write(tmp_path_factory.mktemp('beam') / 'pictures', per_class=12)
    (directory / 'bluebells' / 'half.jpg').write_bytes(
        (directory / 'bluebells' / '001.jpg').read_bytes()[:300]
    )
    (directory / 'bluebells' / 'notes.txt').write_text('no image')
    return directory


@pytest.fixture(scope='module')
def wanted(tmp_path_factory: pytest.TempPathFactory, image_dir: Path) -> dict[str, bytes]:
    """What convert_images.py makes of it."""
    records_dir = tmp_path_factory.mktemp('wanted')
    ended = command_line.call('convert_images', *flags(image_dir, records_dir))
    assert ended.status == 0, ended.err
    contents = conversion.contents(records_dir)
    assert len(contents) == 2 * 9 + 6, 'three shards and indexes for each split, and six more'
    assert b'bluebells/half.jpg' in contents['skipped.tsv']
    return contents


def flags(image_dir: Path, records_dir: Path) -> list[str]:
    return [f'--image_dir={image_dir}', f'--records_dir={records_dir}', *SETTINGS]


def converted(image_dir: Path, records_dir: Path, *beam_flags: str) -> command_line.Ended:
    return command_line.call(
        'convert_images_beam', *flags(image_dir, records_dir), '--workers=2', *beam_flags
    )


class Fault:
    """In place of files.move: the disk fails once, when the fourth shard is to get its name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self._move, self._lock, self.shards = files.move, threading.Lock(), 0
        monkeypatch.setattr(files, 'move', self)

    def __call__(self, source: str, target: str) -> None:
        with self._lock:
            self.shards += '.unfinished/' in target and target.endswith('-of-00003')
            fails = self.shards == 4 and target.endswith('-of-00003')
            self.shards += fails
        if fails:
            raise OSError(errno.EIO, 'the disk failed once', target)
        self._move(source, target)


def test_workers_in_threads_write_the_same_bytes(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes]
) -> None:
    ended = converted(image_dir, tmp_path, *WORKERS, '--direct_running_mode=multi_threading')
    assert ended.status == 0, ended.err
    assert conversion.contents(tmp_path) == wanted
    assert 'Images skipped: 1;' in ended.err
    assert not (tmp_path / '.unfinished').exists()

    stood = conversion.identities(tmp_path)
    again = converted(image_dir, tmp_path, '--runner=no.such.Runner')
    assert again.status == 0, 'where every shard stands, no pipeline is started'
    assert conversion.identities(tmp_path) == stood


def test_a_job_service_gives_the_same_bytes(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes]
) -> None:
    """The way to Flink and Spark: the pipeline as a message, workers that call back."""
    portable = '--runner=PortableRunner', '--job_endpoint=embed', '--environment_type=LOOPBACK'
    ended = converted(image_dir, tmp_path, *portable)
    assert ended.status == 0, ended.err
    assert conversion.contents(tmp_path) == wanted


@pytest.mark.slow
def test_worker_processes_write_the_same_bytes(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes]
) -> None:
    # A relative path, and Beam's flags with a space: neither is lost on the way.
    ended = command_line.start(
        command_line.ROOT / 'tools/convert_images_beam.py',
        *flags(Path(image_dir.name), tmp_path / 'records'),
        *('--runner', 'FnApiRunner'),
        *('--direct_num_workers', '3', '--direct_running_mode', 'multi_processing'),
        cwd=image_dir.parent,
    )
    assert ended.status == 0, ended.err
    assert conversion.contents(tmp_path / 'records') == wanted


def test_a_bundle_that_fails_is_run_again(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(monkeypatch)
    ended = converted(image_dir, tmp_path, RETRYING)
    assert fault.shards > 4, 'the fault was never met'
    assert ended.status == 0, ended.err
    assert conversion.contents(tmp_path) == wanted


def test_a_bundle_that_runs_twice_does_no_harm(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes]
) -> None:
    ended = converted(image_dir, tmp_path, *WORKERS[:1], '--direct_runner_bundle_repeat=1')
    assert ended.status == 0, ended.err
    assert conversion.contents(tmp_path) == wanted


def test_a_pipeline_that_fails_replaces_nothing_and_keeps_its_shards(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(monkeypatch)
    with contextlib.suppress(Exception):
        assert converted(image_dir, tmp_path, *WORKERS[:1]).status != 0
    assert fault.shards > 4, 'the fault was never met'
    assert conversion.contents(tmp_path) == {}
    kept = conversion.identities(tmp_path / '.unfinished')
    assert kept, 'the shards before the fault'

    ended = converted(image_dir, tmp_path, *WORKERS[:1])
    assert ended.status == 0, ended.err
    assert conversion.contents(tmp_path) == wanted
    assert kept.items() <= conversion.identities(tmp_path).items()


def test_a_picture_that_changes_after_a_failed_pipeline(
    tmp_path: Path, image_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_dir = shutil.copytree(image_dir, tmp_path / 'pictures')
    Fault(monkeypatch)
    with contextlib.suppress(Exception):
        converted(image_dir, tmp_path / 'records', *WORKERS[:1])
    for folder in colours.COLOURS:
        shutil.copy(image_dir / folder / '001.jpg', image_dir / folder / '002.jpg')
    assert converted(image_dir, tmp_path / 'records', *WORKERS[:1]).status == 0
    assert command_line.call('convert_images', *flags(image_dir, tmp_path / 'fresh')).status == 0
    assert conversion.contents(tmp_path / 'records') == conversion.contents(tmp_path / 'fresh')


def test_attempts_at_one_shard_at_the_same_time(
    tmp_path: Path, image_dir: Path, wanted: dict[str, bytes]
) -> None:
    """A runner may start a slow bundle a second time while the first still runs."""
    config = conversion.config(
        image_dir, tmp_path, dataset_name='flowers', num_shards=3, validation_percentage=20
    )
    listing = list_images(config)
    job, plans = ShardJob(config, listing.classes), plan_shards(config, listing)
    (place,) = beam.save_plans(job, [plan for plan in plans if plan.name == SHARD])
    together = threading.Barrier(6)

    def attempt() -> None:
        together.wait()
        beam.make_shard(job, place)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for attempted in [pool.submit(attempt) for _ in range(6)]:
            attempted.result()
    left = {path.name: path.read_bytes() for path in (tmp_path / '.unfinished').iterdir()}
    assert left.pop('plans.jsonl')
    assert left == {name: wanted[name] for name in (SHARD, f'{SHARD}.index.jsonl')}


def test_bad_pictures_are_counted_when_the_pipeline_has_ended(
    tmp_path: Path, image_dir: Path
) -> None:
    ended = converted(image_dir, tmp_path, *WORKERS[:1], '--on_bad_image=fail')
    assert ended.status == 1
    assert '--on_bad_image=fail: bluebells/half.jpg' in ended.err
    assert conversion.contents(tmp_path) == {}


def test_workers_of_another_version_are_found_out(
    tmp_path: Path, image_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardJob, 'contract', property(lambda job: str(threading.get_ident())))
    config = conversion.config(image_dir, tmp_path)
    with pytest.raises(InputError, match='another version'):
        beam.convert(config, list_images(config), WORKERS[:1])


def test_without_beam_it_says_what_to_install() -> None:
    ended = command_line.start(
        '-c',
        "import sys; sys.modules['apache_beam'] = None\n"
        'from poets_tfr.cli import convert_images_beam\n'
        "sys.exit(convert_images_beam.main(['x.py']))",
    )
    assert ended.status == 1
    assert 'install the extra beam' in ended.err
    assert len(ended.err.splitlines()) == 1


def test_without_flags_it_says_what_is_missing() -> None:
    ended = command_line.call('convert_images_beam', '--runner=FlinkRunner')
    assert (ended.status, ended.err) == (
        1,
        'convert_images_beam.py: error: Must set flag --image_dir.\n',
    )
