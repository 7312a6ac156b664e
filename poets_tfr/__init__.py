"""poets_tfr: a folder of pictures goes in; a classifier, its labels and its evidence come out.

The flow, and the module that owns each step:

    image_dir/<class>/*   what you have
      -> records.image_dir    scan (folders), label names, train | validation | test (splits)
      -> records.codecs       any picture file -> upright JPEG or PNG (headers: told undecoded)
      -> records.writing      sharded TFRecords (records.shards), manifest.json (records_dir)
      -> pictures.pipeline    parallel read, decode, pictures.preprocess (pictures.distort for
                              training), static batches
      -> backbones.forward    Inception v3, any Keras application, a MobileNet or a SavedModel:
                              pixels -> features
      -> features             only what feature_cache lacks is computed        (bottleneck_dir)
                              (live_features: in every step, for --augment_copies=0)
      -> training.loop        one softmax layer, a compiled loop over resident features
                              (training.fine_tune: the network too, for --fine_tune_from)
      -> reporting.summaries  TensorBoard, report.json, report.html            (summaries_dir)
      -> export.writing       output_graph, output_labels; SavedModel, TFLite, .keras
      -> label                an export + pictures -> labels and scores
                              (self_test: every new export against the trained model;
                              evaluate: an export against labelled pictures)

`retrain` runs them in this order and skips what already stands; `config` holds every default,
`files` every write, `downloads` every fetch, `progress` every wait, `parallel` the threads,
`distribution` the GPUs and the other machines; the tools/ are the command lines.
Importing this package imports no TensorFlow.
"""

__version__ = '0.1.0'
