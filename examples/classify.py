"""Labels images with the latest run below runs/, or with any model.

python examples/classify.py tom.jpg
python examples/classify.py FOLDER runs/pets/3
"""

import sys

import poets_tfr

images, *model = sys.argv[1:]
classifier = poets_tfr.load(model[0] if model else 'runs')

found = classifier.predict(images)  # a file gives one prediction, a folder a list
for prediction in found if isinstance(found, list) else [found]:
    if prediction.label is None:
        print(f'{prediction.path}: {prediction.reason}')
    else:
        print(f'{prediction.path}: {prediction.label} ({prediction.score:.1%})')
