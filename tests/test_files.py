"""Whole files or none, on local paths and remote ones."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from poets_tfr import files
from poets_tfr.errors import InputError

# TensorFlow's file system in memory: what only tf.io.gfile reaches is remote in all that matters.
REMOTE = 'ram://test_files'


@pytest.fixture(params=['local', 'remote'])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == 'local':
        yield str(tmp_path)
        return
    tf.io.gfile.makedirs(REMOTE)
    yield REMOTE
    tf.io.gfile.rmtree(REMOTE)


def test_join() -> None:
    assert files.join('a', 'b', 'c') == os.path.join('a', 'b', 'c')
    assert files.join('s3://bucket/', 'b', 'c') == 's3://bucket/b/c'


def test_written_files_are_read_back(folder: str) -> None:
    path = files.join(folder, 'deep', 'er', 'file')
    assert not files.exists(path)
    assert files.size(path) is None
    for content in (b'first', b'', b'\x00\xff second'):
        files.write_bytes(path, content)
        assert files.read_bytes(path) == content
        assert (files.exists(path), files.size(path)) == (True, len(content))
    assert files.list_names(files.join(folder, 'deep')) == ['er']
    assert files.list_names(files.join(folder, 'deep', 'er')) == ['file'], 'no temporary file'


def test_json_is_the_same_for_the_same_value(folder: str) -> None:
    path = files.join(folder, 'x.json')
    files.write_json(path, {'b': [1, 'é\udcff'], 'a': None})
    first = files.read_bytes(path)
    assert first.startswith(b'{\n  "a": null,\n')
    assert first.endswith(b'}\n')
    assert files.read_json(path) == {'a': None, 'b': [1, 'é\udcff']}
    files.write_json(path, {'a': None, 'b': [1, 'é\udcff']})
    assert files.read_bytes(path) == first


@pytest.mark.parametrize('content', [b'{', b'', b'\xff'])
def test_what_is_no_json_is_named(folder: str, content: bytes) -> None:
    path = files.join(folder, 'x.json')
    files.write_bytes(path, content)
    with pytest.raises(InputError, match=re.escape(f'{path} is damaged')):
        files.read_json(path)


def test_missing_files_and_folders(folder: str) -> None:
    missing = files.join(folder, 'no', 'such')
    for read in (files.read_bytes, files.sha256_of, files.scan):
        with pytest.raises(FileNotFoundError) as error:
            read(missing)
        assert 'no' in str(error.value)
    assert files.list_names(missing) == []
    files.remove(missing)
    files.remove_empty_dir(missing)


def test_scan_says_what_lies_there(folder: str) -> None:
    files.write_bytes(files.join(folder, 'b'), b'12345')
    files.make_dirs(files.join(folder, 'a'))
    found = files.scan(folder)
    assert [(e.name, e.is_dir, e.is_file) for e in found] == [
        ('a', True, False), ('b', False, True)
    ]  # fmt: skip
    assert found[1].size == 5
    assert found[1].mtime_ns > 1e18 or files.is_remote(folder)
    with pytest.raises(NotADirectoryError):
        files.scan(files.join(folder, 'b'))


def test_scan_follows_links_and_survives_dangling_ones(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'123')
    (tmp_path / 'link').symlink_to('file')
    (tmp_path / 'dangling').symlink_to('nothing')
    (tmp_path / 'loop').symlink_to('loop')
    os.mkfifo(tmp_path / 'pipe')
    assert {e.name: (e.is_file, e.size) for e in files.scan(str(tmp_path))} == {
        'file': (True, 3), 'link': (True, 3), 'dangling': (False, 0), 'loop': (False, 0),
        'pipe': (False, 0),
    }  # fmt: skip


def test_replacing_gives_the_name_at_the_end(folder: str) -> None:
    path = files.join(folder, 'x')
    files.write_bytes(path, b'old')
    with files.replacing(path) as part:
        assert part != path
        with tf.io.gfile.GFile(part, 'wb') as file:
            file.write(b'new')
        assert files.read_bytes(path) == b'old'
        assert files.list_names(folder) == sorted([part.rsplit('/', 1)[1], 'x'])
    assert files.read_bytes(path) == b'new'
    assert files.list_names(folder) == ['x']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
def test_replacing_leaves_nothing_on_an_error(folder: str, error: type[BaseException]) -> None:
    path = files.join(folder, 'x')
    files.write_bytes(path, b'old')

    def fail() -> None:
        with files.replacing(path) as part:
            tf.io.write_file(part, b'new')
            raise error

    with pytest.raises(error):
        fail()
    assert files.list_names(folder) == ['x']
    assert files.read_bytes(path) == b'old'


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / 'x').mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        files.write_bytes(str(tmp_path / 'x'), b'new')
    assert raised.value.filename == str(tmp_path / 'x'), 'and not the part, which nobody knows'
    assert [path.name for path in tmp_path.iterdir()] == ['x']


def test_move_replaces(folder: str) -> None:
    source, target = files.join(folder, 'a'), files.join(folder, 'b')
    for content in (b'1', b'2'):
        files.write_bytes(source, content)
        files.move(source, target)
        assert files.read_bytes(target) == content
    assert files.list_names(folder) == ['b']


def test_remove_empty_dir_removes_no_other(folder: str) -> None:
    directory = files.join(folder, 'x')
    files.write_bytes(files.join(directory, 'file'), b'')
    files.remove_empty_dir(directory)
    assert files.list_names(folder) == ['x']
    files.remove(files.join(directory, 'file'))
    files.remove_empty_dir(directory)
    assert not files.exists(directory)


def test_sha256_reads_in_pieces(folder: str) -> None:
    path = files.join(folder, 'x')
    files.write_bytes(path, b'a' * 3_000_001)
    wanted = hashlib.sha256(b'a' * 3_000_001).hexdigest()
    assert files.sha256_of(path) == wanted


@pytest.mark.parametrize(
    ('error', 'number'),
    [
        (tf.errors.NotFoundError, errno.ENOENT),
        (tf.errors.PermissionDeniedError, errno.EACCES),
        (tf.errors.ResourceExhaustedError, errno.ENOSPC),
        (tf.errors.UnknownError, errno.EIO),
    ],
)
def test_tensorflow_s_errors_become_os_errors(error: type[Exception], number: int) -> None:
    with pytest.raises(OSError, match='no room') as found, files.os_errors('s3://b/x'):
        raise error(None, None, 'no room\nat all')
    assert (found.value.errno, found.value.filename) == (number, 's3://b/x')
    assert found.value.strerror == 'no room'


def test_of_tensorflow_s_errors_the_reason_is_told() -> None:
    says = '{{function_node __wrapped__SaveV2}} /c/x_temp/part-0; No space left on device [Op:Save]'
    with pytest.raises(OSError, match='No space') as found, files.os_errors('/c'):
        raise tf.errors.ResourceExhaustedError(None, None, says)
    assert str(found.value) == "[Errno 28] No space left on device: '/c'"


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), files.os_errors('x'):
        1 / 0  # noqa: B018


def test_an_unknown_file_system_is_the_users_to_mend() -> None:
    functions = files.exists, files.read_bytes, files.size, files.make_dirs, files.scan
    for function in (*functions, files.list_names):
        with pytest.raises(InputError, match='nosuch://bucket/x: nosuch:// paths are not served'):
            function('nosuch://bucket/x')


# Stale parts


def part(home: str, pid: int) -> str:
    return f'.shard.{home}.{pid}.0123abcd.part'


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


def test_parts_of_dead_processes_go_and_others_stay(tmp_path: Path) -> None:
    """Another container may have the host name, and other processes of the same numbers."""
    with files.replacing(str(tmp_path / 'shard')) as own:
        home = os.path.basename(own).split('.')[2]
        living = {
            os.path.basename(own), part(home, os.getppid()), part('elsewhere', 1),
            part('elsewhere', dead_pid()), part(socket.gethostname(), dead_pid()),
        }  # fmt: skip
        others = {'.hidden', '.x.part', 'shard.0123abcd.part', part(home, 10**30)}
        for name in {*living, *others, part(home, dead_pid())}:
            (tmp_path / name).touch()
        unfinished = tmp_path / part(home, dead_pid()) / 'variables'
        unfinished.mkdir(parents=True)
        (unfinished / 'a').touch()
        files.remove_stale_parts(str(tmp_path))
        assert {path.name for path in tmp_path.iterdir()} == living | others
        files.remove_stale_parts(str(tmp_path), sole_writer=True)
        assert {path.name for path in tmp_path.iterdir()} == others
        (tmp_path / os.path.basename(own)).touch()
    files.remove_stale_parts(str(tmp_path / 'no such folder'))


@pytest.mark.parametrize(('hours', 'goes'), [(23, False), (25, True)])
def test_parts_from_elsewhere_go_by_age(tmp_path: Path, hours: int, goes: bool) -> None:
    for name in (part('elsewhere', 1), part('elsewhere', 2)):
        path = tmp_path / name
        path.mkdir() if '.2.' in name else path.touch()
        long_ago = path.stat().st_mtime - hours * 3600
        os.utime(path, (long_ago, long_ago))
    files.remove_stale_parts(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == (0 if goes else 2)


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ('ü' * 127)
    files.write_bytes(str(path), b'content')
    assert path.read_bytes() == b'content'
    assert list(tmp_path.iterdir()) == [path]


# Drives that cannot do everything


def fsync_failing(monkeypatch: pytest.MonkeyPatch, number: int, of: Callable[[str], bool]) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        if of(os.readlink(f'/proc/self/fd/{handle}')):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, 'fsync', fsync)


@pytest.mark.parametrize('number', [errno.EINVAL, errno.EIO, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_takes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync_failing(monkeypatch, number, of=os.path.isdir)
    files.write_bytes(str(tmp_path / 'x'), b'content')
    assert (tmp_path / 'x').read_bytes() == b'content'


def test_a_file_that_cannot_be_synced_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_bytes(str(tmp_path / 'x'), b'old')
    fsync_failing(monkeypatch, errno.EIO, of=os.path.isfile)
    with pytest.raises(OSError, match='Input/output error') as raised:
        files.write_bytes(str(tmp_path / 'x'), b'new')
    assert raised.value.filename == str(tmp_path / 'x')
    assert (tmp_path / 'x').read_bytes() == b'old'
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize('last', ['a', 'b'])
def test_files_that_belong_together_are_replaced_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    both = [str(tmp_path / 'a'), str(tmp_path / 'b')]
    files.write_together(dict.fromkeys(both, b'old'))
    with monkeypatch.context() as patched:
        fsync_failing(patched, errno.ENOSPC, of=lambda path: f'/.{last}.' in path)
        with pytest.raises(OSError, match='No space left') as raised:
            files.write_together(dict.fromkeys(both, b'new'))
    assert raised.value.filename == str(tmp_path / last)
    assert [files.read_bytes(path) for path in both] == [b'old', b'old']
    files.write_together(dict.fromkeys(both, b'new'))
    assert [files.read_bytes(path) for path in both] == [b'new', b'new']
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def fill() -> None:
        with files.replacing(str(tmp_path / 'f')), open('/dev/full', 'wb') as full:
            full.write(bytes(1 << 20))

    with pytest.raises(OSError, match='No space left') as raised:
        fill()
    assert raised.value.filename == str(tmp_path / 'f')
    assert not list(tmp_path.iterdir())


def test_local_paths_need_no_tensorflow(tmp_path: Path) -> None:
    script = (
        'import sys\n'
        'sys.path.insert(0, sys.argv[2])\n'
        'from poets_tfr import files, locks\n'
        'path = files.join(sys.argv[1], "x")\n'
        'files.write_json(path, {}); files.read_json(path); files.scan(sys.argv[1])\n'
        'files.move(path, path + "y"); files.size(path); files.sha256_of(path + "y")\n'
        'files.remove(path); files.remove_empty_dir(sys.argv[1])\n'
        'with locks.only_writer(sys.argv[1]): files.remove_stale_parts(sys.argv[1])\n'
        'print("tensorflow" in sys.modules)\n'
    )
    root = str(Path(files.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, '-c', script, str(tmp_path), root], capture_output=True, text=True
    )
    assert ended.stdout == 'False\n', ended.stderr


@pytest.mark.parametrize(
    ('make', 'fault'),
    [
        (os.mkfifo, 'a named pipe, not a file'),
        (lambda path: path.symlink_to('/dev/null'), 'a device, not a file'),
        (lambda path: path.symlink_to('nothing'), 'a link to nothing'),
        (lambda path: path.symlink_to(path), 'a link to nothing'),
        (lambda path: path.touch(), ''),
        (lambda path: path.mkdir(), ''),
    ],
)
def test_scan_says_why_something_must_not_be_opened(
    tmp_path: Path, make: Callable[[Path], None], fault: str
) -> None:
    make(tmp_path / 'x')
    (entry,) = files.scan(str(tmp_path))
    assert entry.fault == fault
    assert (entry.is_file or entry.is_dir) == (not fault)
    assert entry.is_link == (tmp_path / 'x').is_symlink()
