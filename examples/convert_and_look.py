"""A folder of images -> TFRecords -> batches of pixels, for a training loop of your own.

python examples/convert_and_look.py ~/pets
"""

import sys

import poets_tfr

records = poets_tfr.convert(sys.argv[1])
print(records)

train = records['train']  # columns: numpy arrays, a row for each image
for row in range(min(3, len(train))):
    print(train.paths[row], '->', records.labels[train.labels[row]], f'{train.size[row]:,} bytes')

for images, labels in records.dataset('train', size=128, batch_size=32).shuffle(10).take(2):
    print(
        images.shape,
        'of',
        images.dtype.name,
        'mean',
        images.numpy().mean().round(1),
        labels.numpy(),
    )
