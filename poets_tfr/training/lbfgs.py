"""L-BFGS: Nocedal and Wright, Numerical Optimization, 2006, section 7.2, with the backtracking of
algorithm 3.1.

Our own few lines, not SciPy's: what it remembers between two steps is plain tensors, so that it
runs inside the compiled loop, on any device, and a stopped run goes on to the same bits. SciPy
keeps that to itself from the first step to the last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from poets_tfr.training.head import Head, Scores
from poets_tfr.training.objective import Objective, ValueAndGradient

_PAIRS = 10  # 3 to 20 are usual; more costs memory and gains little
_SUFFICIENT_DECREASE = 1e-4  # the book's c1
_MOST_HALVINGS = 30
_FLAT = 1e-5  # largest part of the gradient at which the valley is reached, as in SciPy
_NO_DECREASE = 1e-7  # relative; float32 tells no smaller one from rounding


class Memory(NamedTuple):
    """The last pairs, the newest last; n numbers make a head.

    moves, changes: float32 [_PAIRS, n], of the head and of the gradient. curvatures: float32
    [_PAIRS], 1 / (move . change); 0 where there is no pair yet.
    """

    moves: Any
    changes: Any
    curvatures: Any


def start(head: Head) -> Memory:
    import tensorflow as tf

    size = sum(tf.size(part) for part in head)
    return Memory(tf.zeros([_PAIRS, size]), tf.zeros([_PAIRS, size]), tf.zeros([_PAIRS]))


def step(head: Head, memory: Memory, objective: Objective) -> tuple[Head, Memory, Scores, Any]:
    """(head, memory, the scores before the step, whether it has converged)."""
    import tensorflow as tf

    here = objective(head)
    gradient = _flat(here.gradient)
    direction = -_inverse_hessian_times(gradient, memory)
    length, there = _backtrack(head, here, direction, objective)
    move, change = length * direction, _flat(there.gradient) - gradient
    decrease = here.value - there.value
    scale = tf.maximum(1.0, tf.maximum(tf.abs(here.value), tf.abs(there.value)))
    converged = tf.logical_or(
        tf.reduce_max(tf.abs(_flat(there.gradient))) <= _FLAT, decrease <= _NO_DECREASE * scale
    )
    # A length of 0 leaves everything as it is: nothing shorter than that was any lower.
    return _moved(head, move), _remember(memory, move, change), here.scores, converged


def _inverse_hessian_times(vector: Any, memory: Memory) -> Any:
    """What the two-loop recursion gives, as products of small matrices: Byrd, Nocedal and Schnabel
    1994, theorem 2.2. Without pairs, a step of length 1 down the gradient.

    The same sums as in the two loops, but a tenth of the operations to trace and to run.
    """
    import tensorflow as tf

    moves, changes, curvatures = memory
    products = tf.matmul(moves, changes, transpose_b=True)
    upper = tf.linalg.band_part(products, 0, -1)
    upper += tf.linalg.diag(tf.cast(curvatures == 0, tf.float32))  # no pair: a row of zeros
    newest = curvatures[-1] * _dot(changes[-1], changes[-1])
    first = 1 / tf.maximum(tf.norm(vector), 1e-30)
    scale = tf.where(curvatures[-1] > 0, tf.math.divide_no_nan(1.0, newest), first)

    def solved(right: Any, adjoint: bool) -> Any:
        return tf.linalg.triangular_solve(upper, right[:, None], False, adjoint)[:, 0]

    by_moves = solved(tf.linalg.matvec(moves, vector), False)
    along = tf.linalg.matvec(changes, scale * (tf.linalg.matvec(changes, by_moves, True) - vector))
    along += tf.linalg.diag_part(products) * by_moves
    return (
        scale * vector
        + tf.linalg.matvec(moves, solved(along, True), True)
        - scale * tf.linalg.matvec(changes, by_moves, True)
    )


def _backtrack(
    head: Head, here: ValueAndGradient, direction: Any, objective: Objective
) -> tuple[Any, ValueAndGradient]:
    """(length, what the objective is there): the first of 1, 1/2, 1/4 ... that goes down enough."""
    import tensorflow as tf

    steepness = _dot(_flat(here.gradient), direction)

    def enough(length: Any, there: ValueAndGradient) -> Any:
        return there.value <= here.value + _SUFFICIENT_DECREASE * length * steepness

    def too_long(length: Any, there: ValueAndGradient) -> Any:
        too_high = tf.logical_or(length > 1.0, ~enough(length, there))
        return tf.logical_and(length > 0.5**_MOST_HALVINGS, too_high)

    def halve(length: Any, there: ValueAndGradient) -> tuple[Any, ValueAndGradient]:
        length *= 0.5
        return length, objective(_moved(head, length * direction))

    # Begun before the first length, the objective is traced once.
    length, there = tf.while_loop(too_long, halve, (2.0, here), parallel_iterations=1)
    found = enough(length, there)
    there = tf.nest.map_structure(lambda new, old: tf.where(found, new, old), there, here)
    return tf.where(found, length, 0.0), there


def _remember(memory: Memory, move: Any, change: Any) -> Memory:
    """With the new pair in place of the oldest; a pair without curvature would mislead."""
    import tensorflow as tf

    product = _dot(move, change)
    useful = product > 1e-10 * _dot(change, change)

    def with_newest(rows: Any, newest: Any) -> Any:
        return tf.where(useful, tf.concat([rows[1:], newest[None]], axis=0), rows)

    return Memory(*map(with_newest, memory, (move, change, 1 / product)))


def _dot(one: Any, other: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(one * other)


def _flat(head: Head) -> Any:
    import tensorflow as tf

    return tf.concat([tf.reshape(part, [-1]) for part in head], axis=0)


def _moved(head: Head, by: Any) -> Head:
    import tensorflow as tf

    weights = tf.size(head.weights)
    return Head(
        head.weights + tf.reshape(by[:weights], tf.shape(head.weights)),
        head.biases + by[weights:],
    )
