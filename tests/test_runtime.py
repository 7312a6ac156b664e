"""TensorFlow comes as the tools want it, and sooner; the garbage collector works on afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import gc, json, os, sys
collected = 0
def count(phase, info):
    global collected
    collected += phase == 'start'
gc.callbacks.append(count)
from poets_tfr import runtime
runtime.prepare_tensorflow()
collected = 0
import tensorflow as tf
result = {
    'collected': collected,
    'enabled': gc.isenabled(),
    'frozen': gc.get_freeze_count(),
    'waits': any(isinstance(f, runtime._WithoutCollector) for f in sys.meta_path),
    'onednn': os.environ['TF_ENABLE_ONEDNN_OPTS'],
    'allocator': os.environ['TF_CPU_ALLOCATOR_USE_BFC'],
    'limit_gb': int(os.environ['TF_CPU_BFC_MEM_LIMIT_IN_MB']) / 1024,
    'adds': int(tf.constant(1) + 1),
    'loader': type(tf.__loader__).__name__,
}
print(json.dumps(result))
"""


def test_tensorflow_is_imported_without_the_collector_which_then_works_on() -> None:
    process = subprocess.run(
        [sys.executable, '-c', PROGRAM], check=True, capture_output=True, text=True
    )
    result = json.loads(process.stdout)
    assert result.pop('frozen') > 100_000
    with open('/proc/meminfo', encoding='ascii') as file:
        memory_gb = int(file.readline().split()[1]) / (1 << 20)
    assert result.pop('limit_gb') == pytest.approx(memory_gb, rel=0.01)
    assert result == {
        'collected': 0, 'enabled': True, 'waits': False, 'onednn': '1', 'adds': 2,
        'allocator': 'true', 'loader': 'SourceFileLoader',
    }  # fmt: skip
