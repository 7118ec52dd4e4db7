r"""A generator of Windows-like test ISOs, small or huge (sparse). Standard library only.

``python -m isodrop_local.iso_maker PATH`` writes one.

Examples
--------
>>> image = make_image(editions=business_editions())
>>> image.read(256 * 2048, 2)
b'\x02\x00'
"""

from isodrop_local.iso_maker.editions import (
    MICROSOFT_ENTERPRISE_INDEX,
    EditionSpec,
    business_editions,
    consumer_editions,
    evaluation_editions,
    ltsc_editions,
    server_editions,
)
from isodrop_local.iso_maker.image import Content, Image
from isodrop_local.iso_maker.iso import (
    LAYOUTS,
    MEASURED_WIM_SIZE,
    Layout,
    make_image,
    make_iso,
    measured_files,
)
from isodrop_local.iso_maker.wim import make_wim, make_xml

__all__ = [
    "LAYOUTS",
    "MEASURED_WIM_SIZE",
    "MICROSOFT_ENTERPRISE_INDEX",
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
    "measured_files",
    "server_editions",
]
