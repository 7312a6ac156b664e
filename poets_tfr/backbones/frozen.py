"""Every backbone as one thing: a frozen GraphDef, cut to pictures in, features out.

Keras models and SavedModels are frozen too, so that forward pass and export have one form to deal
with, and batch normalisation can be folded into the convolutions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Callable
from typing import Any

from poets_tfr import downloads, files, progress, writable
from poets_tfr.backbones import folding, keras_models, random_weights
from poets_tfr.backbones.catalog import (
    BackboneSpec,
    FrozenGraphSource,
    KerasSource,
    backbone_spec,
)
from poets_tfr.backbones.graph_defs import node_of
from poets_tfr.backbones.settings import BackboneConfig, Precision
from poets_tfr.errors import InputError
from poets_tfr.pictures import preprocess
from poets_tfr.pictures.preprocess import Preprocessing

log = logging.getLogger('poets_tfr')

_FROZEN_INPUT, _FROZEN_FEATURES = 'pictures:0', 'Identity:0'  # as TensorFlow names them


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """pictures float32 [n, size, size, 3], normalised -> features float32 [n, feature_width].

    graph_def: all constants; `input_tensor` names a tensor that it uses but does not hold.
    feature_tensor: [n, feature_width], or [n, 1, 1, feature_width].
    digest: hex, of the weights.
    precision: what features are computed in. The graph itself is float32, and so are the exports.
    """

    name: str
    preprocessing: Preprocessing
    feature_width: int
    graph_def: Any
    input_tensor: str
    feature_tensor: str
    digest: str
    precision: Precision = 'float32'

    @property
    def cache_key(self) -> str:
        """Names the cache of this backbone's features: by all that decides their bits."""
        versions = f'{preprocess.VERSION} {folding.VERSION}'
        made_with = f'{self.digest} {self.preprocessing} {versions} {self.precision}'
        return f'{self.name}-{hashlib.sha256(made_with.encode()).hexdigest()[:16]}'


def check_available(config: BackboneConfig) -> None:
    """Fetches what the backbone needs; before any long work, and without TensorFlow."""
    if config.tfhub_module:
        _module_dir(config)
        return
    source = backbone_spec(config.architecture, config.image_size).source
    if isinstance(source, FrozenGraphSource):
        downloads.fetch(source.download, config.model_dir)
    elif config.weights == 'imagenet':
        downloads.fetch(source.imagenet_weights, config.model_dir)
    elif config.weights != 'random' and not files.exists(config.weights):
        raise InputError(
            f'--weights={config.weights}: no such file; it is imagenet, random, a weights file or '
            'a .keras file.'
        )


def place_fault(config: BackboneConfig) -> str:
    """Why model_dir cannot take what `check_available` would fetch; '' where all is well."""
    if os.path.isfile(config.model_dir):
        return f'--model_dir: {config.model_dir}: a file is in the way; name a folder.'
    if config.tfhub_module:
        return ''
    source = backbone_spec(config.architecture, config.image_size).source
    if isinstance(source, FrozenGraphSource):
        file = source.download.file
    elif config.weights == 'imagenet':
        file = source.imagenet_weights.file
    else:
        return ''
    is_there = files.exists(files.join(config.model_dir, file))
    return '' if is_there else writable.folder_fault(config.model_dir, 'model_dir')


def load(config: BackboneConfig) -> Backbone:
    """Raises InputError when the weights cannot be had, or are of another network."""
    return dataclasses.replace(_load(config), precision=config.precision)


def _load(config: BackboneConfig) -> Backbone:
    if config.tfhub_module:
        return _load_saved_model(config)
    spec = backbone_spec(config.architecture, config.image_size)
    if isinstance(spec.source, FrozenGraphSource):
        return _load_frozen_graph(spec, spec.source, config)
    return _load_keras(spec, spec.source, config)


def _load_frozen_graph(
    spec: BackboneSpec, source: FrozenGraphSource, config: BackboneConfig
) -> Backbone:
    import tensorflow as tf

    archive = downloads.fetch(source.download, config.model_dir)
    content = downloads.read_member(archive, source.member)
    try:
        graph_def = tf.compat.v1.GraphDef.FromString(content)
        cut = _cut(graph_def, source.input_tensor, source.feature_tensor)
    except Exception as error:  # protobuf's DecodeError has no public name
        raise InputError(f'{archive}: {source.member} is not the graph wanted: {error}') from None
    return Backbone(
        name=spec.name,
        preprocessing=spec.preprocessing,
        feature_width=spec.feature_width,
        graph_def=cut,
        input_tensor=source.input_tensor,
        feature_tensor=source.feature_tensor,
        digest=_digest(content),
    )


def _cut(graph_def: Any, input_tensor: str, feature_tensor: str) -> Any:
    """The nodes between the two tensors; without the input's own node, which fixes the batch."""
    import tensorflow as tf

    input_node = node_of(input_tensor)
    detached = tf.compat.v1.GraphDef(versions=graph_def.versions)
    for node in folding.folded(graph_def, feature_tensor).node:
        copy = detached.node.add()
        copy.CopyFrom(node)
        # What stands before the input (decoding, resizing) falls away; and edges that only order
        # nodes: variables were read in an order, constants need none.
        del copy.input[:]
        if node.name != input_node:
            copy.input.extend(tensor for tensor in node.input if not tensor.startswith('^'))
    sub_graph = tf.compat.v1.graph_util.extract_sub_graph(detached, [node_of(feature_tensor)])
    cut = tf.compat.v1.GraphDef(versions=graph_def.versions)
    cut.node.extend(node for node in sub_graph.node if node.name != input_node)
    return cut


def _load_keras(spec: BackboneSpec, source: KerasSource, config: BackboneConfig) -> Backbone:
    """Building and freezing the model takes as long as a whole later run: the result is kept."""
    import tensorflow as tf

    if config.weights == 'random':
        log.info(
            'Weights: random. This network is untrained: it shows that everything works, not how '
            'good a classifier can be.'
        )
    path = _weights_path(source, config)
    digest = (
        files.sha256_of(path)
        if path
        else _digest(f'random weights {random_weights.VERSION}'.encode())
    )
    versions = f'{tf.__version__} {tf.keras.__version__} {folding.VERSION}'
    made_with = f'{digest} {spec.preprocessing.size} {versions}'
    name = f'{spec.name}-{_digest(made_with.encode())[:16]}'
    kept = files.join(config.model_dir, 'frozen')
    content = _kept_graph(kept, name)
    if content is not None:
        return _of_frozen_model(tf.compat.v1.GraphDef.FromString(content), spec, digest)
    with progress.stage(f'Building {spec.name}'):
        model = keras_models.build(spec, source, path, config.weights == 'imagenet')
        backbone = freeze_model(model, spec, digest)
    content = backbone.graph_def.SerializeToString(deterministic=True)
    try:
        files.write_bytes(files.join(kept, f'{name}-{_digest(content)[:16]}.pb'), content)
    except OSError as error:  # another's model_dir, say
        log.warning('%s is built anew by every run: %s.', spec.name, error)
    return backbone


def build_keras(
    config: BackboneConfig, policy: str = 'float32', strategy: Any = None
) -> tuple[Any, BackboneSpec]:
    """The Keras model of which `load` gives the frozen form, for training it further."""
    spec = backbone_spec(config.architecture, config.image_size)
    assert isinstance(spec.source, KerasSource), 'BackboneConfig.is_keras says so'
    path = _weights_path(spec.source, config)
    model = keras_models.build(
        spec, spec.source, path, config.weights == 'imagenet', policy, strategy
    )
    return model, spec


def check_keras_layer(config: BackboneConfig, name: str) -> None:
    """Raises InputError where the network that Keras builds has no such layer."""
    spec = backbone_spec(config.architecture, config.image_size)
    assert isinstance(spec.source, KerasSource), 'RunConfig says so'
    keras_models.check_layer(spec, spec.source, name)


def freeze_model(model: Any, spec: BackboneSpec, digest: str) -> Backbone:
    """A Keras model, as it is now, as a backbone; digest: hex, of its weights."""
    concrete = _trace(lambda pictures: model(pictures, training=False), spec.preprocessing.size)
    return _of_frozen_model(_freeze(concrete), spec, digest)


def _of_frozen_model(graph_def: Any, spec: BackboneSpec, digest: str) -> Backbone:
    return Backbone(
        name=spec.name,
        preprocessing=spec.preprocessing,
        feature_width=spec.feature_width,
        graph_def=graph_def,
        input_tensor=_FROZEN_INPUT,
        feature_tensor=_FROZEN_FEATURES,
        digest=digest,
    )


def _weights_path(source: KerasSource, config: BackboneConfig) -> str:
    """'' for random weights."""
    if config.weights == 'imagenet':
        return downloads.fetch(source.imagenet_weights, config.model_dir)
    return '' if config.weights == 'random' else config.weights


def _kept_graph(directory: str, name: str) -> bytes | None:
    """A frozen graph that an earlier run kept; the end of its file name is its own digest."""
    for file in files.list_names(directory):
        if re.fullmatch(rf'{re.escape(name)}-[0-9a-f]{{16}}\.pb', file):
            content = files.read_bytes(files.join(directory, file))
            if file == f'{name}-{_digest(content)[:16]}.pb':
                return content
            log.warning('%s is damaged: it is made anew.', files.join(directory, file))
            files.remove(files.join(directory, file))
    return None


def _load_saved_model(config: BackboneConfig) -> Backbone:
    import tensorflow as tf

    directory = _module_dir(config)
    try:
        with files.without_patterns(directory) as readable:
            module = tf.saved_model.load(readable)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f'--tfhub_module={directory} does not load: {error}') from None
    size = config.image_size or _stated_size(module)
    if not size:
        raise InputError(
            f'--tfhub_module={config.tfhub_module} does not state its image size: give '
            '--image_size.'
        )
    try:
        concrete = _trace(lambda pictures: _features_of(module, pictures), size)
    except (ValueError, TypeError) as error:
        raise InputError(
            f'--tfhub_module={config.tfhub_module} gives no features for images of '
            f'{size} x {size}: {str(error).splitlines()[0]}'
        ) from None
    shape = concrete.outputs[0].shape
    if shape.rank != 2 or not shape[1]:
        raise InputError(
            f'--tfhub_module={config.tfhub_module} gives {shape} for a batch of images, not one '
            'vector for each: a feature vector module is wanted.'
        )
    content = ''.join(
        files.sha256_of(os.path.join(folder, name))
        for folder, _, names in sorted(os.walk(directory))
        for name in sorted(names)
        if name != 'fingerprint.pb'
    )
    name = os.path.basename(os.path.normpath(directory))
    return Backbone(
        name=name,
        preprocessing=Preprocessing(size, mean=0, std=255),  # a hub module's range is 0 to 1
        feature_width=shape[1],
        graph_def=_freeze(concrete),
        input_tensor=_FROZEN_INPUT,
        feature_tensor=_FROZEN_FEATURES,
        digest=_digest(content.encode()),
    )


def _module_dir(config: BackboneConfig) -> str:
    """The local folder of a module; one given by URL is fetched and unpacked into model_dir."""
    module = config.tfhub_module
    if not module.startswith(('http://', 'https://')):
        if not files.exists(files.join(module, 'saved_model.pb')):
            raise InputError(
                f'--tfhub_module={module}: no TF2 SavedModel folder (saved_model.pb is missing).'
            )
        return module
    return downloads.fetch_module(module, config.model_dir)


def _stated_size(module: Any) -> int:
    """The picture height that the module's signature fixes, or 0."""
    with contextlib.suppress(KeyError, AttributeError, TypeError, ValueError):
        (_, inputs) = module.signatures['serving_default'].structured_input_signature
        (pictures,) = inputs.values()
        return pictures.shape[1] or 0
    return 0


def _features_of(module: Any, pictures: Any) -> Any:
    """A TF2 hub module is called; a plain SavedModel has one signature with one output."""
    if callable(module):
        with contextlib.suppress(TypeError):
            return module(pictures, training=False)
        return module(pictures)
    signature = module.signatures['serving_default']
    (name,) = signature.structured_input_signature[1]
    (features,) = signature(**{name: pictures}).values()
    return features


def _trace(function: Callable[[Any], Any], size: int) -> Any:
    """A concrete function of float32 [n, size, size, 3]."""
    import tensorflow as tf

    name = _FROZEN_INPUT.removesuffix(':0')
    pictures = tf.TensorSpec([None, size, size, 3], tf.float32, name=name)
    return tf.function(function, autograph=False).get_concrete_function(pictures)


def _freeze(concrete: Any) -> Any:
    """The GraphDef of a traced function of pictures, its variables made constants."""
    # The one name used here that is not public: there is no public way to freeze a TF2 function.
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(concrete)
    names = [tensor.name for tensor in (*frozen.inputs, *frozen.outputs)]
    if names != [_FROZEN_INPUT, _FROZEN_FEATURES]:
        raise InputError(f'One tensor in, one out is wanted of a network; it has {names}.')
    return _cut(frozen.graph.as_graph_def(), *names)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
