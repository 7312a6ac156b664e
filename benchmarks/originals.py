"""How the original retrain.py worked, as a measure: one picture, one file, one step at a time."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from poets_tfr.backbones.frozen import Backbone
from poets_tfr.export.frozen_graph import (
    CONTENTS_TENSOR,
    INPUT_TENSOR,
    FrozenGraph,
)


class OneByOne:
    """A session that takes one file's bytes, writes a text file of features, and reads it back."""

    def __init__(self, backbone: Backbone, directory: str):
        import tensorflow as tf

        graph_def = FrozenGraph(backbone, ['a', 'b'], 'final_result').with_head(
            np.zeros([backbone.feature_width, 2], np.float32), np.zeros([2], np.float32)
        )
        graph = tf.Graph()
        with graph.as_default():
            tf.graph_util.import_graph_def(graph_def, name='')
        (features, _) = graph.get_operation_by_name('final_training_ops/Wx_plus_b/MatMul').inputs
        self._input = graph.get_tensor_by_name(INPUT_TENSOR)
        self._picture = self._input.op.inputs[0]
        self._features, self._directory = features, directory
        self._session = tf.compat.v1.Session(graph=graph)
        os.makedirs(directory, exist_ok=True)

    def bottleneck(self, path: str) -> str:
        with open(path, 'rb') as file:
            picture = self._session.run(self._picture, {CONTENTS_TENSOR: file.read()})
        values = self._session.run(self._features, {self._input: picture})
        name = os.path.join(self._directory, f'{os.path.basename(path)}.txt')
        with open(name, 'w', encoding='ascii') as text:
            text.write(','.join(str(value) for value in np.squeeze(values)))
        _read_features(name)
        return name


class FileReadingHead:
    """Steps driven from Python; every feature of every batch is parsed from its text file.

    Every tenth step is evaluated, on its own batch and on another one.
    """

    def __init__(self, files: Sequence[str], labels: Sequence[int], classes: int, width: int):
        import tensorflow as tf

        self._members = [[f for f, own in zip(files, labels, strict=True) if own == label]
                         for label in range(classes)]  # fmt: skip
        self._session, self._train, self._evaluate, self._feeds = _v1_head(tf, width, classes)
        self._step = 0

    def step(self) -> None:
        batch = self._batch()
        self._session.run(self._train, batch)
        if self._step % 10 == 0:
            self._session.run(self._evaluate, batch)
            self._session.run(self._evaluate, self._batch())
        self._step += 1

    def _batch(self, size: int = 100) -> dict[Any, Any]:
        labels = [random.randrange(len(self._members)) for _ in range(size)]
        features = []
        for label in labels:
            features.append(_read_features(random.choice(self._members[label])))
        return dict(zip(self._feeds, (features, labels), strict=True))


def _read_features(path: str) -> list[float]:
    with open(path, encoding='ascii') as text:
        return [float(value) for value in text.read().split(',')]


def _v1_head(tf: Any, width: int, classes: int) -> tuple[Any, Any, Any, Any]:
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        features = v1.placeholder(tf.float32, [None, width])
        labels = v1.placeholder(tf.int64, [None])
        weights = v1.get_variable('w', [width, classes], use_resource=False)
        biases = v1.get_variable('b', [classes], use_resource=False)
        logits = tf.matmul(features, weights) + biases
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
        train = v1.train.GradientDescentOptimizer(0.01).minimize(loss)
        right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
        session = v1.Session()
        session.run(v1.global_variables_initializer())
        return session, train, [right, loss], (features, labels)
