"""What a network makes of each image, as the input of a scikit-learn model.

python examples/features_to_sklearn.py ~/pets            (needs: pip install scikit-learn)
"""

import sys

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import poets_tfr

images, *network = sys.argv[1:]
records = poets_tfr.convert(images)
splits = poets_tfr.features(records, architecture=network[0] if network else 'mobilenet_0.25_128')

train, test = splits['train'], splits['test']
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
model.fit(train.features, train.labels)
print(f'Test accuracy: {model.score(test.features, test.labels):.1%} of {len(test)} images')
