"""What is on the ISO: bounded, ranged reading of UDF and WIM. Knows no AWS."""

from isodrop.media.model import Edition, Media, ReadRange
from isodrop.media.ranges import FIRST_READ, Observer
from isodrop.media.reader import read_media

__all__ = ["FIRST_READ", "Edition", "Media", "Observer", "ReadRange", "read_media"]
