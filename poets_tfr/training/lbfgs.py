"""L-BFGS: Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5, with the
backtracking of algorithm 3.1.

Our own few lines, not SciPy's: what it remembers between two steps is plain tensors, so that it
runs inside the compiled loop, on any device, and a stopped run goes on to the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from poets_tfr.training.head import Head, Scores
from poets_tfr.training.objective import Objective, Slope

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
    slope = _flat(here.gradient)
    direction = -_inverse_hessian_times(slope, memory)
    length, there = _backtrack(head, here, direction, objective)
    move, change = length * direction, _flat(there.gradient) - slope
    decrease = here.value - there.value
    scale = tf.maximum(1.0, tf.maximum(tf.abs(here.value), tf.abs(there.value)))
    converged = tf.logical_or(
        tf.reduce_max(tf.abs(_flat(there.gradient))) <= _FLAT, decrease <= _NO_DECREASE * scale
    )
    # A length of 0 leaves everything as it is: nothing shorter than that was any lower.
    return _moved(head, move), _remember(memory, move, change), here.scores, converged


def _inverse_hessian_times(vector: Any, memory: Memory) -> Any:
    """The two-loop recursion; without pairs, a step of length 1 down the gradient."""
    import tensorflow as tf

    shares = []
    for pair in reversed(range(_PAIRS)):
        share = memory.curvatures[pair] * _dot(memory.moves[pair], vector)
        vector = vector - share * memory.changes[pair]
        shares.append(share)
    newest = memory.changes[-1]
    first_scale = 1 / tf.maximum(tf.norm(vector), 1e-30)
    scale = tf.math.divide_no_nan(1.0, memory.curvatures[-1] * _dot(newest, newest))
    vector *= tf.where(memory.curvatures[-1] > 0, scale, first_scale)
    for pair in range(_PAIRS):
        share = memory.curvatures[pair] * _dot(memory.changes[pair], vector)
        vector = vector + (shares.pop() - share) * memory.moves[pair]
    return vector


def _backtrack(head: Head, here: Slope, direction: Any, objective: Objective) -> tuple[Any, Slope]:
    """(length, what the objective is there): the first of 1, 1/2, 1/4 ... that goes down enough."""
    import tensorflow as tf

    steepness = _dot(_flat(here.gradient), direction)

    def enough(length: Any, there: Slope) -> Any:
        return there.value <= here.value + _SUFFICIENT_DECREASE * length * steepness

    def too_long(length: Any, there: Slope) -> Any:
        return tf.logical_and(length > 0.5**_MOST_HALVINGS, ~enough(length, there))

    def halve(length: Any, there: Slope) -> tuple[Any, Slope]:
        length *= 0.5
        return length, objective(_moved(head, length * direction))

    length = tf.constant(1.0)
    length, there = tf.while_loop(
        too_long, halve, (length, objective(_moved(head, direction))), parallel_iterations=1
    )
    found = enough(length, there)
    there = tf.nest.map_structure(lambda new, old: tf.where(found, new, old), there, here)
    return tf.where(found, length, 0.0), there


def _remember(memory: Memory, move: Any, change: Any) -> Memory:
    """With the new pair in place of the oldest; a pair without curvature would mislead."""
    import tensorflow as tf

    product = _dot(move, change)
    useful = product > 1e-10 * _dot(change, change)

    def with_the_pair() -> Memory:
        return Memory(
            tf.concat([memory.moves[1:], move[None]], axis=0),
            tf.concat([memory.changes[1:], change[None]], axis=0),
            tf.concat([memory.curvatures[1:], (1 / product)[None]], axis=0),
        )

    return Memory(*tf.cond(useful, with_the_pair, lambda: memory))


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
