"""The images in the ledger: those that answers have named, and which of them still exist."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Final

from boto3.dynamodb.conditions import Attr, Key

from isodrop.aws.ledger_items import (
    IMAGE_NAMES,
    image_key,
    image_sort_prefix,
    images_partition,
    parse_image,
    parse_image_name,
)
from isodrop.aws.ledger_table import LedgerTable
from isodrop.domain.run import ImageRecord

_PAGE: Final = 20  # images per page; usually the first image is the one that is needed


@dataclass(frozen=True, slots=True)
class LedgerImages(LedgerTable):
    """Reads images, and marks those that no longer exist. Answers write them."""

    def list_images(self, name: str, windows_build: int | None = None) -> Iterator[ImageRecord]:
        """Yield the images of a name that are not retired, the highest version first.

        Reads are strongly consistent. Pages are read on demand, so a caller that needs only the
        first image usually reads one page for each Windows build.

        Parameters
        ----------
        name : str
        windows_build : int, optional
            The Windows build; all Windows builds if not given.
        """
        windows_builds = (
            self._list_windows_builds(name) if windows_build is None else [windows_build]
        )
        highest_first = (self._list_images_of_windows_build(name, each) for each in windows_builds)
        yield from merge(*highest_first, key=lambda image: image.sort_key, reverse=True)

    def _list_images_of_windows_build(self, name: str, windows_build: int) -> Iterator[ImageRecord]:
        key = Key("pk").eq(images_partition(name)) & Key("sk").begins_with(
            image_sort_prefix(windows_build)
        )
        items = self._paginate(
            {
                "KeyConditionExpression": key,
                "ConsistentRead": True,
                "ScanIndexForward": False,
                "Limit": _PAGE,
            }
        )
        yield from (parse_image(item) for item in items if "retired" not in item)

    def _list_windows_builds(self, name: str) -> list[int]:
        key = Key("pk").eq(IMAGE_NAMES) & Key("sk").begins_with(f"{name}/")
        items = self._paginate({"KeyConditionExpression": key, "ConsistentRead": True})
        return [
            windows_build
            for listed, windows_build in map(parse_image_name, items)
            if listed == name
        ]

    def retire(self, image: ImageRecord) -> None:
        """Record that an image no longer exists, unless it was recorded again in the meantime."""
        self._update_if(
            image_key(image), {"retired": True}, Attr("recordedAt").eq(image.recorded_at)
        )

    def list_image_names(self) -> list[tuple[str, int]]:
        """List all pairs of an image name and a Windows build."""
        return [parse_image_name(item) for item in self._query_partition(IMAGE_NAMES)]
