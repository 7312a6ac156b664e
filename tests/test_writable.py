"""Every place that a run will write to is tried before it begins, and all faults are told."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import graphs
import pytest
from command_line import Places, call

from poets_tfr import writable
from poets_tfr.errors import InputError

ROOT = Path(writable.__file__).parents[1]
NOBODY = 65534


def test_what_is_in_the_way(tmp_path: Path) -> None:
    assert writable.file_fault(str(tmp_path / 'a/b/graph.pb'), 'output_graph') == ''
    assert writable.folder_fault(str(tmp_path / 'a/b'), 'records_dir') == ''
    assert not list(tmp_path.iterdir()), 'to ask makes nothing'
    assert writable.file_fault('gs://bucket/graph.pb', 'output_graph') == ''
    assert writable.folder_fault('gs://bucket', 'records_dir') == ''
    fault = writable.file_fault(str(tmp_path), 'output_graph')
    assert fault == f'--output_graph: {tmp_path} is a folder; a file name is wanted.'
    (tmp_path / 'file').touch()
    (tmp_path / 'dangling').symlink_to('nothing')
    for path in ('file/x', 'file/x/y', 'dangling/x'):
        fault = writable.file_fault(str(tmp_path / path), 'output_graph')
        assert fault.startswith(f'--output_graph: {tmp_path}/{path.partition("/")[0]}: a file is')
    os.mkfifo(tmp_path / 'pipe')
    fault = writable.file_fault(str(tmp_path / 'pipe'), 'output_graph')
    assert fault == f'--output_graph: {tmp_path}/pipe is a named pipe, not a file; name a file.'


def test_all_faults_are_told() -> None:
    writable.refuse(['', ''])
    with pytest.raises(InputError, match='^one\ntwo$'):
        writable.refuse(['one', '', 'two'])


def status(mode: int, owner: int) -> os.stat_result:
    return os.stat_result([mode, 0, 0, 1, owner, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ('mode', 'folder_of', 'file_of', 'may'),
    [
        (0o1777, 0, 1000, True),  # one's own file in /tmp
        (0o1777, 0, 1001, False),  # another's
        (0o1777, 1000, 1001, True),  # in a sticky folder of one's own
        (0o777, 0, 1001, True),  # without the bit, who may write may replace
    ],
)
def test_whose_files_may_be_replaced(mode: int, folder_of: int, file_of: int, may: bool) -> None:
    file, folder = status(stat.S_IFREG | 0o644, file_of), status(stat.S_IFDIR | mode, folder_of)
    assert writable.is_replaceable(file, folder, 1000) is may
    assert writable.is_replaceable(file, folder, 0), 'root may'


def retrain_as_another(*flags: str) -> subprocess.CompletedProcess[str]:
    """As another user, where this one is root; else as this one."""
    script = (
        'import os, sys\n'
        'sys.path.insert(0, sys.argv.pop(1))\n'
        'from poets_tfr import api\n'  # now, for the other user may not read our Python
        'from poets_tfr.cli import retrain\n'
        f'if os.getuid() == 0: os.setuid({NOBODY})\n'
        'sys.exit(retrain.main(["retrain.py", *sys.argv[1:]]))'
    )
    command = [sys.executable, '-c', script, str(ROOT), *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd='/')


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that other users may enter, as they may not enter pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_all_places_of_a_run_are_tried_at_its_start(open_dir: Path, colours_dir: Path) -> None:
    """A second user of the machine, who has moved some of the places."""
    closed, sticky, mine = open_dir / 'closed', open_dir / 'sticky', open_dir / 'mine'
    for folder, mode in (closed, 0o555), (sticky, 0o1777), (mine, 0o777):
        folder.mkdir()
        folder.chmod(mode)
    (sticky / 'output_graph.pb').touch()
    flags = [
        f'--image_dir={colours_dir}',
        f'--architecture={graphs.MOBILENET}',
        f'--output_graph={sticky}/output_graph.pb',
        f'--output_labels={mine}/labels.txt',
        f'--saved_model_dir={closed}/saved',
        f'--summaries_dir={closed}',
        f'--checkpoint_path={closed}/checkpoint',
        f'--bottleneck_dir={mine}/bottlenecks',
        f'--records_dir={closed}/records',
        f'--model_dir={closed}/models',
    ]
    ended = retrain_as_another(*flags)
    owner = closed.owner()
    why = f'(Permission denied; the folder belongs to {owner}): name another place with --'

    def cannot_make(flag: str, name: str) -> str:
        return f'--{flag}: cannot make {closed}/{name} in {closed} {why}{flag}.'

    wanted = [
        cannot_make('saved_model_dir', 'saved'),
        f'--summaries_dir: cannot write into {closed} {why}summaries_dir.',
        cannot_make('checkpoint_path', 'checkpoint/head'),
        cannot_make('records_dir', 'records'),
        cannot_make('model_dir', 'models'),
    ]
    if os.getuid() == 0:  # else the file is one's own, and may be replaced
        wanted.insert(
            0,
            f'--output_graph: {sticky}/output_graph.pb belongs to {owner}, and in {sticky} only '
            'the owner may replace a file: name another one with --output_graph.',
        )
    assert ended.stderr.splitlines() == [f'retrain.py: error: {wanted[0]}', *wanted[1:]]
    assert ended.returncode == 1
    assert not list(mine.iterdir())


def test_a_run_that_fails_leaves_no_empty_folder(
    colours_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    """`make tensorboard` would show an empty page."""
    to = Places(tmp_path / 'run')
    fixed = f'--architecture={graphs.MOBILENET}', f'--model_dir={model_dir}', *to.flags()
    pictures = f'--image_dir={colours_dir}'
    ended = call('retrain', *fixed, pictures, '--warm_start=/no/such')
    assert (ended.status, ended.err.count('\n')) == (1, 1)
    assert not to.root.exists()
    ended = call('retrain', *fixed, pictures, '--validation_percentage=0', '--head_search=auto')
    assert ended.status == 1
    assert '--head_search chooses by validation images' in ended.err
    assert not to.summaries.exists()
