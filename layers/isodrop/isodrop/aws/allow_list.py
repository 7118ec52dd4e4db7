"""Where the allow-list is kept: an object in S3, or for a few hashes a parameter of SSM's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from isodrop.aws.errors import translate_errors
from isodrop.aws.s3 import parse_uri
from isodrop.domain.allow_list import AllowList, parse_allow_list
from isodrop.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_ssm.client import SSMClient

MAX_BYTES: Final = 4 * 1024**2
"""Some 40,000 lines."""
SSM: Final = "ssm:"


@dataclass(frozen=True, slots=True)
class AllowListSource:
    """The list, read anew each time: it is changed without a deployment.

    Attributes
    ----------
    s3, ssm : callable
        Make the client that the address asks for.
    uri : str or None
        ``s3://bucket/key`` or ``ssm:/name``; ``None`` for none at all, which allows nothing.
    """

    s3: "Callable[[], S3Client]"
    ssm: "Callable[[], SSMClient]"
    uri: str | None

    def read(self) -> AllowList:
        """Read it.

        Raises
        ------
        TransientError, PermanentError
            It cannot be read.
        """
        if self.uri is None:
            return AllowList()
        if self.uri.startswith(SSM):
            name = self.uri.removeprefix(SSM)
            with translate_errors():
                found = self.ssm().get_parameter(Name=name, WithDecryption=True)
                return parse_allow_list(found["Parameter"]["Value"].encode())
        bucket, key = parse_uri(self.uri)
        with translate_errors():
            body = self.s3().get_object(Bucket=bucket, Key=key)["Body"]
            data = body.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise PermanentError(f"{self.uri} is larger than {MAX_BYTES:,} bytes")
        return parse_allow_list(data)
