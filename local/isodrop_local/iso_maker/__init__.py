r"""A maker of test media: small or huge (sparse), Windows-like ISOs, with nothing but the stdlib.

``python -m isodrop_local.iso_maker PATH`` writes one.

Examples
--------
>>> image = make_image(editions=business_editions())
>>> image.read(256 * 2048, 2)
b'\x02\x00'
"""

from isodrop_local.iso_maker.editions import (
    EditionSpec,
    business_editions,
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    server_editions,
)
from isodrop_local.iso_maker.image import Content, Image
from isodrop_local.iso_maker.iso import LAYOUTS, Layout, make_image, make_iso
from isodrop_local.iso_maker.wim import make_wim, make_xml

__all__ = [
    "LAYOUTS",
    "Content",
    "EditionSpec",
    "Image",
    "Layout",
    "business_editions",
    "consumer_editions",
    "evaluation_editions",
    "ltsc_editions",
    "make_image",
    "make_iso",
    "make_wim",
    "make_xml",
    "server_editions",
]
