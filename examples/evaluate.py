"""How good a model is on images that it was not trained on.

python examples/evaluate.py ~/other_pets                 (a folder with one folder per class)
python examples/evaluate.py ~/other_pets runs/pets/3     (another model than the latest run)
"""

import sys

import poets_tfr

images, *model = sys.argv[1:]
found = poets_tfr.evaluate(model[0] if model else 'runs', images)

low, high = found.accuracy_interval
print(f'{found.accuracy:.1%} of {found.figures.pictures} images are classified correctly')
print(f'(on endless images: {low:.1%} to {high:.1%}, with 95 % confidence)')
print('Recall, class by class:', found.figures.recall.round(3))
