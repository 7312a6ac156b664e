"""Pillow, told which format a file has; what it decodes only with a library that may be missing.

Untold, Pillow tries every format that it knows, and for one (EPS) it starts another program.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_FORMATS = {
    'JPEG': 'JPEG', 'PNG': 'PNG', 'GIF': 'GIF', 'BMP': 'BMP', 'WebP': 'WEBP', 'TIFF': 'TIFF',
    'AVIF': 'AVIF', 'JPEG 2000': 'JPEG2000',
}  # fmt: skip
_FEATURES = {'WebP': 'webp', 'AVIF': 'avif', 'JPEG 2000': 'jpg_2000'}  # builds may leave them out
_PHONE = 'or have the phone write JPEG (iPhone: Settings > Camera > Formats > Most Compatible)'
_REASONS = {
    'HEIC': f'HEIC needs pi-heif: pip install pi-heif, {_PHONE}',
    'JPEG XL': 'JPEG XL needs pillow-jxl-plugin: pip install pillow-jxl-plugin',
    **{
        kind: f'{kind} needs a Pillow that has it: pip install "pillow>=11.3"' for kind in _FEATURES
    },
}


def opened(content: bytes, kind: str) -> ImageFile:
    """An image that is not decoded yet.

    Raises what Pillow and its plugins raise: of many types, for the content may hold any bytes.
    """
    if kind == 'HEIC':
        import pi_heif

        return pi_heif.HeifImageFile(io.BytesIO(content))  # registered, it would be the process's
    from PIL import Image

    return Image.open(io.BytesIO(content), formats=[_FORMATS[kind]])


@functools.cache
def lack(kind: str) -> str:
    """The reason why pictures of this kind are skipped here; '' where they are decoded."""
    return '' if _is_decoded(kind) else _REASONS[kind]


def is_filled(reason: str) -> bool:
    """Whether it is the reason of a `lack` that is none any more."""
    return any(reason == given and not lack(kind) for kind, given in _REASONS.items())


def _is_decoded(kind: str) -> bool:
    try:
        if kind == 'HEIC':
            import pi_heif

            return bool(pi_heif.libheif_info())
        if kind == 'JPEG XL':
            import pillow_jxl

            return bool(pillow_jxl.Decoder)
    except ImportError:
        return False
    from PIL import features

    return kind not in _FEATURES or bool(features.check(_FEATURES[kind]))
