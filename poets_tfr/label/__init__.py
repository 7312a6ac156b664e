"""Pictures -> labels and scores, with any export: `Labeller`."""

from poets_tfr.label.labeller import Labelled, Labeller

__all__ = ['Labelled', 'Labeller']
