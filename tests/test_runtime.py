"""TensorFlow comes as the tools want it, and sooner: the garbage collector works less often."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from poets_tfr import runtime

PROGRAM = """
import atexit, gc, json, os
collected = 0
def count(phase, info):
    global collected
    collected += phase == 'start'
# What is registered first is called last: after all that prepare_tensorflow registers.
atexit.register(lambda: print(json.dumps({**result, 'frozen': gc.get_freeze_count()})))
from poets_tfr import runtime
runtime.prepare_tensorflow()
gc.callbacks.append(count)
import tensorflow as tf
result = {
    'collected': collected,
    'enabled': gc.isenabled(),
    'onednn': os.environ['TF_ENABLE_ONEDNN_OPTS'],
    'allocator': os.environ['TF_CPU_ALLOCATOR_USE_BFC'],
    'limit_gb': int(os.environ['TF_CPU_BFC_MEM_LIMIT_IN_MB']) / 1024,
    'adds': int(tf.constant(1) + 1),
}
"""


def test_while_tensorflow_is_imported_the_collector_runs_seldom_and_at_the_end_not_at_all() -> None:
    process = subprocess.run(
        [sys.executable, '-c', PROGRAM], check=True, capture_output=True, text=True
    )
    result = json.loads(process.stdout)
    assert result.pop('collected') < 30, 'as it is by default, it runs 600 times'
    assert result.pop('frozen') > 100_000
    with open('/proc/meminfo', encoding='ascii') as file:
        memory_gb = int(file.readline().split()[1]) / (1 << 20)
    assert result.pop('limit_gb') == pytest.approx(memory_gb, rel=0.01)
    assert result == {'enabled': True, 'onednn': '1', 'adds': 2, 'allocator': 'true'}


def test_a_command_is_named_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / 'an environment/bin/poets-examine'
    own.parent.mkdir(parents=True)
    own.touch(0o755)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'an environment'))
    monkeypatch.setenv('PATH', '/usr/bin')
    assert runtime.command('poets-examine') == f"'{own}'"
    assert runtime.command('poets-other') == 'poets-other'
    monkeypatch.setenv('PATH', f'/usr/bin:{own.parent}')
    assert runtime.command('poets-examine') == 'poets-examine'
