"""URIs of objects in S3. Pure."""

import re
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "s3://"
_URI: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class S3Uri:
    """The bucket and key of an object.

    Attributes
    ----------
    bucket, key : str
        As they are: nothing in the URI is URL-encoded.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> "S3Uri":
        """Parse ``s3://bucket/key``.

        Raises
        ------
        ValueError
            The URI does not have that form, or the bucket's name is not a valid one.

        Examples
        --------
        >>> S3Uri.parse("s3://my-isos/2026/Win 11.iso")
        S3Uri(bucket='my-isos', key='2026/Win 11.iso')
        """
        match = _URI.fullmatch(text)
        if match is None:
            raise ValueError(f"not of the form s3://bucket/key: {text!r}")
        return cls(*match.groups())

    def __str__(self) -> str:
        """Return the URI."""
        return f"{SCHEME}{self.bucket}/{self.key}"
