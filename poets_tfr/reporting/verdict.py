"""A run's own figures -> what now? Each finding says what is wrong and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from poets_tfr.progress import printable
from poets_tfr.records.manifest import UNWANTED, told_left_out
from poets_tfr.reporting.metrics import Metrics, wilson_interval
from poets_tfr.sources.settings import PLACES

if TYPE_CHECKING:
    from poets_tfr.reporting.report import Report

SMALL_CLASS = 50  # images
FEW_TEST_IMAGES = 30
_WIDE = 0.2  # a range of 20 points says only roughly how good a classifier is
_WANTED_WIDTH = 0.1
_IMBALANCE = 5  # times as many images
_GAP = 0.1  # between accuracies
_LAST_EVALUATIONS = 10
_MOST_NAMED = 5
_REGULARISED = '--optimizer=lbfgs --standardize_features --weight_decay=0.1 --label_smoothing=0.1'
NO_FAULT = "Nothing in the run's own figures speaks against this result."


class Finding(NamedTuple):
    """kind: for programs, one of FINDINGS. headline: a few words. said: what is the matter, and
    what to do. command: what can be typed for it; '' where there is none."""

    kind: str
    headline: str
    said: str
    command: str = ''


def findings(report: Report) -> list[Finding]:
    """Those that apply, in the order of FINDINGS."""
    found = []
    for kind, (headline, of) in FINDINGS.items():
        found += [Finding(kind, headline, *said) for said in of(report)]
    return found


def verdict(found: Sequence[Finding]) -> str:
    """The findings in one sentence."""
    if not found:
        return NO_FAULT
    first, *others = [finding.headline for finding in found]
    return '; '.join([first, *(other[0].lower() + other[1:] for other in others)]) + '.'


_Said = Iterator[tuple[str, str]]  # what is said, and the command


def _self_test(report: Report) -> _Said:
    if report.self_test and not report.self_test['passed']:
        yield 'Do not use the files that the table below calls FAILED: export them again.', ''


def _untrained(report: Report) -> _Said:
    """A network that was fine-tuned has learned something, wherever it began."""
    if report.settings.get('weights') == 'random' and not report.settings.get('fine_tune_from'):
        yield (
            'Its weights are random (--weights=random), which shows that everything works, not how '
            'good a classifier of these images can be. Train again with weights that have seen '
            'images.',
            _again(report, '--weights=imagenet'),
        )


def _untested(report: Report) -> _Said:
    if not _tested(report):
        yield (
            'No images were set aside for a test, so nothing says how good the classifier is on '
            'images that it has not seen: set some aside for it, and train again.',
            _split_anew(report, 10),
        )


def _guessing(report: Report) -> _Said:
    figures = _tested(report)
    if not figures or figures.pictures < FEW_TEST_IMAGES or not figures.interval:
        return
    if figures.interval[0] <= figures.baseline:
        yield (
            f'Always guessing the commonest class would be right for {_percent(figures.baseline)}, '
            'which this is not surely above. Check that the folders hold what their names say, and '
            'train longer or with another --architecture.',
            report.examine,
        )


def _few_test_images(report: Report) -> _Said:
    figures = _tested(report)
    if not figures or not figures.interval:
        return
    low, high = figures.interval
    if figures.pictures < FEW_TEST_IMAGES or high - low > _WIDE:
        yield (
            f'{figures.pictures:,} test images tell only that the accuracy is likely between '
            f'{_percent(low)} and {_percent(high)}. About {_wanted(figures):,} would tell it '
            f'to within {_WANTED_WIDTH * 50:.0f} points: '
            f'{more_test_images(report.splits_are_drawn)}.',
            _split_anew(report, 20),
        )


def more_test_images(splits_are_drawn: bool) -> str:
    """What helps where there are too few."""
    return 'add images, or raise --testing_percentage' if splits_are_drawn else 'add test images'


def _wanted(figures: Metrics) -> int:
    """Test images for a range of _WANTED_WIDTH, at the accuracy that is known; rounded up."""
    pictures = FEW_TEST_IMAGES
    while True:
        low, high = wilson_interval(round(figures.accuracy * pictures), pictures)
        if high - low <= _WANTED_WIDTH:
            return pictures
        pictures = math.ceil(pictures * 1.1 / 10) * 10


def _overfits(report: Report) -> _Said:
    held_out = report.metrics.get('validation') or _tested(report)
    last = report.evaluations[-_LAST_EVALUATIONS:]
    if not last or not held_out or not held_out.interval:
        return
    trained = sum(evaluation.train_accuracy for evaluation in last) / len(last)
    if trained - held_out.accuracy >= _GAP and trained > held_out.interval[1]:
        yield (
            f'{_percent(trained)} of the training images are classified correctly, and '
            f'{_percent(held_out.accuracy)} of images that it was not trained on: it remembers '
            'images more than it has learned classes. Add images, or regularise the head.',
            _again(report, _REGULARISED),
        )


def _left_out(report: Report) -> _Said:
    found = report.left_out
    if not found:
        return
    counts = found['found'], found['ignored'], found['skip_reasons']
    if said := told_left_out(*counts):
        what = 'skipped.tsv names each'
        if {*found['skip_reasons']} != {UNWANTED}:
            what += ': mend or remove them, and run the command again'
        yield f'{said}. {what}.', ''


def _duplicates(report: Report) -> _Said:
    found = report.duplicates
    if not found.get('copies'):
        return
    parts = [
        f'Byte for byte the same as another: {_images(found["copies"])}, which count twice.',
        *_crossing(found),
        'duplicates.tsv names each. Train again without the copies.',
    ]
    yield ' '.join(parts), _again(report, '--on_duplicate=drop', converts=True)


def _crossing(found: Mapping[str, int]) -> Iterator[str]:
    if found['across_splits']:
        yield (
            f'In more than one split: {found["across_splits"]:,}; there the test asks what '
            'training has taught.'
        )
    if found['across_classes']:
        yield (
            f'In more than one class: {found["across_classes"]:,}; one of the labels is wrong, '
            'and only you can tell which.'
        )


def _small_classes(report: Report) -> _Said:
    counts = _per_class(report)
    small = [i for i in np.argsort(counts, kind='stable') if counts[i] < SMALL_CLASS]
    if small:
        names = [f'{printable(report.labels[i])} ({counts[i]:,})' for i in small[:_MOST_NAMED]]
        more = ' ...' if len(small) > _MOST_NAMED else ''
        yield (
            f'{len(small):,} of {len(report.labels):,} classes have fewer than {SMALL_CLASS} '
            f'images: {", ".join(names)}{more}. Add images of these first; the learning curve says '
            'what more images may bring.',
            report.examine,
        )


def _imbalance(report: Report) -> _Said:
    counts = _per_class(report)
    if len(counts) < 2 or counts.max() < _IMBALANCE * max(counts.min(), 1):
        return
    low, high = int(counts.argmin()), int(counts.argmax())
    said = (
        f'{printable(report.labels[high])} has {_images(int(counts[high]))}, '
        f'{counts[high] / max(counts[low], 1):.1f} times as many as '
        f'{printable(report.labels[low])} ({counts[low]:,}): look at the mean of the classes, not '
        'at the accuracy alone.'
    )
    weighed = report.settings.get('class_weights') == 'auto'
    if report.settings.get('sampling') == 'natural' and not weighed:
        yield (
            f'{said} Weigh the classes alike, and add images of the small ones.',
            _again(report, '--class_weights=auto'),
        )
    else:
        yield f'{said} Training weighs the classes alike; images of the small ones help most.', ''


# kind -> (headline, what is said where it applies); what matters most comes first.
FINDINGS: dict[str, tuple[str, Callable[[Report], _Said]]] = {
    'self_test_failed': ('An exported file gives other answers than the model', _self_test),
    'untrained': ('The network is untrained', _untrained),
    'untested': ('Nothing is known of how good it is', _untested),
    'no_better_than_guessing': ('It is hardly better than guessing', _guessing),
    'few_test_images': ('Too few test images to trust the accuracy', _few_test_images),
    'overfits': ('It overfits', _overfits),
    'left_out': ('Images were left out', _left_out),
    'duplicates': ('Some images are there twice', _duplicates),
    'small_classes': ('Some classes are small', _small_classes),
    'imbalance': ('The classes are unbalanced', _imbalance),
}


def _tested(report: Report) -> Metrics | None:
    """Of the test; of what was evaluated, in a report of that."""
    others = [figures for split, figures in report.metrics.items() if split != 'validation']
    return others[0] if others else None


def _per_class(report: Report) -> np.ndarray:
    """int64 [classes]: images of each class in all splits; empty of an evaluation."""
    return np.array([sum(counts) for counts in zip(*report.pictures.values(), strict=True)], int)


def _again(report: Report, flags: str, converts: bool = False) -> str:
    """The run once more with these flags; converts: only where it was made of images."""
    if not report.again or (converts and not any(map(report.settings.get, PLACES))):
        return ''
    return f'{report.again} {flags}'


def _split_anew(report: Report, percentage: int) -> str:
    """The run with more test images, where splits are drawn."""
    if not report.splits_are_drawn or report.settings['testing_percentage'] >= percentage:
        return ''
    return _again(report, f'--testing_percentage={percentage}', converts=True)


def _images(count: int) -> str:
    return f'{count:,} image{"s" if count != 1 else ""}'


def _percent(share: float) -> str:
    return f'{share * 100:.0f} %'
