"""A folder of images -> a classifier.

python examples/train.py ~/pets                          (a folder with one folder per class)
python examples/train.py ~/pets EfficientNetV2B0         (another network)
"""

import sys

import poets_tfr

images, *network = sys.argv[1:]
run = poets_tfr.train(images, architecture=network[0] if network else 'mobilenet_0.25_128')

print(run)
for mistake in run.mistakes[:5]:
    print(
        f'{mistake.path}: {mistake.label}, classified as {mistake.predicted} ({mistake.score:.0%})'
    )
print('Its exports:', run.exports)
