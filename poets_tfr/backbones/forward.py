"""The compiled forward pass: batches of pixels -> features."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from poets_tfr.backbones.frozen import Backbone
from poets_tfr.backbones.precision import mixed_precision
from poets_tfr.backbones.settings import Xla
from poets_tfr.parallel import left_on_interrupt, ordered

Forward = Callable[[Any], Any]
T = TypeVar('T')

_BATCHES_AT_ONCE = 2
_LONG_SECONDS = 0.25


class _ConcurrencyLimit:
    """One batch is computed at a time; or two, once it shows that a batch takes long.

    Cores that wait for each other at the end of an operation of one batch compute the other: a
    tenth is won with Inception v3. Beside a small network they decode, and two would cost more
    than they bring. A GPU is handed its work and does it after that, so it has the next batch
    at hand in any case.
    """

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)
        self._is_first, self._are_two = True, False

    @contextlib.contextmanager
    def held(self, clock: Callable[[], float]) -> Iterator[None]:
        with self._free:
            start = clock()
            yield
            takes_long = clock() - start > _LONG_SECONDS
            if takes_long and not (self._is_first or self._are_two):  # the first one is compiled
                self._are_two = True
                self._free.release()
            self._is_first = False


_compiled: WeakKeyDictionary[Backbone, dict[tuple[int, Xla], Forward]] = WeakKeyDictionary()
_limits: WeakKeyDictionary[Forward, _ConcurrencyLimit] = WeakKeyDictionary()
atexit.register(_compiled.clear)  # while TensorFlow's modules, which they end with, still stand


def compile_forward(backbone: Backbone, batch_size: int, xla: Xla) -> Forward:
    """A function of float32 [batch_size, size, size, 3] that gives float32 [batch_size, width].

    One static shape, so one trace and one compilation, which lasts as long as the backbone: the
    features of pictures and those of their distorted copies come from one. It computes in
    `backbone.precision`. `xla='auto'` compiles for a GPU; on a CPU the frozen graph with oneDNN is
    about twice as fast as XLA.
    """
    of_backbone = _compiled.setdefault(backbone, {})
    if (batch_size, xla) not in of_backbone:
        of_backbone[batch_size, xla] = _compile(backbone, batch_size, xla)
    return of_backbone[batch_size, xla]


@dataclasses.dataclass(frozen=True)
class Computed(Generic[T]):
    """what: came with the pictures. features: float32 [n, width].

    waited: seconds in which nothing was computed, for the pictures were not there.
    """

    what: T
    features: Any
    waited: float


def features_of(
    forward: Forward,
    batches: Iterable[tuple[T, Any]],
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[Computed[T], None, None]:
    """The features of each batch (anything, pictures), in order; see `_ConcurrencyLimit`."""
    limit = _limits.setdefault(forward, _ConcurrencyLimit())
    lock, computing, idle_since = threading.Lock(), 0, clock()

    def fetched() -> Iterator[tuple[T, Any, float]]:
        start = clock()
        for what, pictures in batches:
            with lock:
                waited = 0.0 if computing else clock() - max(start, idle_since)
            yield what, pictures, waited
            start = clock()

    def compute(batch: tuple[T, Any, float]) -> Computed[T]:
        nonlocal computing, idle_since
        what, pictures, waited = batch
        with lock:
            computing += 1
        try:
            with limit.held(clock):
                features = forward(pictures)
            return Computed(what, features.numpy(), waited)
        finally:
            with lock:
                computing -= 1
                idle_since = clock()

    with (
        left_on_interrupt(_BATCHES_AT_ONCE) as pool,
        contextlib.closing(ordered(pool, compute, fetched(), _BATCHES_AT_ONCE + 1)) as computed,
    ):
        yield from computed


def _compile(backbone: Backbone, batch_size: int, xla: Xla) -> Forward:
    import tensorflow as tf

    use_xla = xla == 'on' or (xla == 'auto' and bool(tf.config.list_physical_devices('GPU')))
    size = backbone.preprocessing.size
    pictures = tf.TensorSpec([batch_size, size, size, 3], tf.float32)

    graph_def = mixed_precision(backbone.graph_def, backbone.input_tensor, backbone.precision)
    in_precision = dataclasses.replace(backbone, graph_def=graph_def)

    def forward(pictures: Any) -> Any:
        return tf.cast(apply(in_precision, pictures), tf.float32)

    return tf.function(forward, [pictures], autograph=False, jit_compile=use_xla)


def apply(backbone: Backbone, pictures: Any, name: str | None = None) -> Any:
    """Adds the backbone to the graph being built: [n, size, size, 3] -> [n, feature_width].

    In float32, whatever `backbone.precision` is: this is what the exports are made of.
    """
    import tensorflow as tf

    (features,) = tf.graph_util.import_graph_def(
        backbone.graph_def,
        input_map={backbone.input_tensor: pictures},
        return_elements=[backbone.feature_tensor],
        name=name,
    )
    return tf.reshape(features, [-1, backbone.feature_width])
