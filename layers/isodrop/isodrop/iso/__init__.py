"""What is on the ISO: bounded, ranged reading of UDF and WIM. Knows no AWS."""

from isodrop.iso.model import Edition, IsoContents, ReadRange
from isodrop.iso.reader import read_iso
from isodrop.iso.window import FIRST_READ, Observer

__all__ = ["FIRST_READ", "Edition", "IsoContents", "Observer", "ReadRange", "read_iso"]
