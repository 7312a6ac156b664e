"""The models of keras.applications, alive: built by Keras and given their weights."""

from __future__ import annotations

import contextlib
from typing import Any

from poets_tfr.backbones import random_weights
from poets_tfr.backbones.catalog import BackboneSpec, KerasSource
from poets_tfr.errors import InputError
from poets_tfr.settings import did_you_mean

# The standard deviations that EfficientNet's pictures are divided by, in Keras's source as here.
_IMAGENET_STD = 0.229, 0.224, 0.225


def build(
    spec: BackboneSpec,
    source: KerasSource,
    weights_path: str,
    published: bool,
    policy: str = 'float32',
    strategy: Any = None,
) -> Any:
    """A Keras model: float32 [n, size, size, 3], red, green, blue -> [n, feature_width], pooled.

    Args:
      spec: of the backbone that the model is to be.
      source: the spec's.
      weights_path: a weights file of Keras's (.h5 or .weights.h5), or a .keras file of a run, whose
        network is taken without its head; '': seeded random weights.
      published: whether it is Keras's own ImageNet file.
      policy: a name of Keras's dtype policies; weights are float32 in each of them.
      strategy: the tf.distribute.Strategy whose devices share the weights. Not that of a scope
        around the call: this begins a new Keras session, which would lose it.

    Raises:
      InputError: the weights are of another network, or the size does not suit it.
    """
    import tensorflow as tf

    tf.keras.backend.clear_session()  # so that layer names, and the graph's bytes, repeat
    with strategy.scope() if strategy else contextlib.nullcontext():
        return _build(spec, source, weights_path, published, policy)


def check_layer(spec: BackboneSpec, source: KerasSource, name: str) -> None:
    """Raises InputError where the network has no such layer; it is built without its weights."""
    import tensorflow as tf

    tf.keras.backend.clear_session()
    layers_from(_untrained(spec, source, 'float32')[0], name)


def layers_from(model: Any, name: str) -> list[Any]:
    """The layers of a Keras model from one on, in its order; all of them for 'all'.

    Raises:
      InputError: there is no such layer; the message names those that are.
    """
    if name == 'all':
        return list(model.layers)
    names = [layer.name for layer in model.layers]
    if name not in names:
        with_weights = [layer.name for layer in model.layers if layer.trainable_variables]
        raise InputError(
            f'--fine_tune_from={name}: {model.name} has no such layer'
            f'{did_you_mean(name, names)}. The layers that can be trained, from the images up: '
            f'{", ".join(with_weights)}; or all.'
        )
    layers = model.layers[names.index(name) :]
    if not any(layer.trainable_variables for layer in layers):
        raise InputError(
            f'--fine_tune_from={name}: from there on {model.name} has nothing to train. Name a '
            'layer below.'
        )
    return layers


def _build(
    spec: BackboneSpec, source: KerasSource, weights_path: str, published: bool, policy: str
) -> Any:
    import tensorflow as tf

    if not weights_path:
        tf.keras.utils.set_random_seed(0)
    model, network = _untrained(spec, source, policy)
    if weights_path:
        _load_weights(model, weights_path)
        if published and source.application.startswith('EfficientNetB'):
            _divide_by_root_std(model)
    elif source.application == 'InceptionV3':
        random_weights.seed_inception_weights(model)
    else:
        random_weights.calibrate_norms(network, spec.preprocessing)
    return model


def _untrained(spec: BackboneSpec, source: KerasSource, policy: str) -> tuple[Any, Any]:
    """The model, and the part of it that sees the channels in the order that it was trained on."""
    import tensorflow as tf

    if not source.reads_bgr:
        model = _application(spec, source, policy, None)
        return model, model
    size = spec.preprocessing.size
    given = tf.keras.Input((size, size, 3))  # red before green before blue
    as_read = tf.keras.ops.flip(given, axis=-1)
    model = _application(spec, source, policy, as_read)
    # Keras gives a model of a list of inputs.
    network = tf.keras.Model(as_read, model.output)
    return tf.keras.Model(given, model.output, name=model.name), network


def _application(spec: BackboneSpec, source: KerasSource, policy: str, pictures: Any) -> Any:
    """pictures: a Keras tensor; None: the model gets an input of its own."""
    import tensorflow as tf

    size = spec.preprocessing.size
    width = {} if source.alpha is None else {'alpha': source.alpha}
    tf.keras.config.set_dtype_policy(policy)
    try:
        return getattr(tf.keras.applications, source.application)(
            include_top=False,
            weights=None,
            pooling='avg',
            input_tensor=pictures,
            input_shape=(size, size, 3),
            **width,
        )
    except ValueError as error:
        raise InputError(
            f'--image_size={size} does not suit {spec.name}: {str(error).splitlines()[0]}'
        ) from None
    finally:
        tf.keras.config.set_dtype_policy('float32')


def _load_weights(model: Any, path: str) -> None:
    import tensorflow as tf

    try:
        if path.endswith('.keras'):
            whole = tf.keras.models.load_model(path, compile=False)
            (network,) = (layer for layer in whole.layers if isinstance(layer, tf.keras.Model))
            model.set_weights(network.get_weights())
        else:
            model.load_weights(path)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        reason = str(error).split('\n')[0]
        raise InputError(
            f'--weights={path}: not weights of {model.name} without its top layer ({reason}).'
        ) from None


def _divide_by_root_std(model: Any) -> None:
    """What Keras adds to an EfficientNet for its own ImageNet weights, as part of a layer it has.

    Those were trained on pictures divided by the variance; Keras's layer divides by its root, and
    with weights='imagenet' a further layer by the other root.
    """
    import tensorflow as tf

    (layer,) = (x for x in model.layers if isinstance(x, tf.keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean, variance * _IMAGENET_STD, count])
    layer.finalize_state()
