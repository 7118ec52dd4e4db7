"""Reads the allow-list from an object in S3, or from a Parameter Store parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from isodrop.aws.errors import translate_errors
from isodrop.domain.allow_list import AllowList, parse_allow_list
from isodrop.domain.s3_uri import S3Uri
from isodrop.errors import PermanentError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_ssm.client import SSMClient

MAX_BYTES: Final = 4 * 1024**2
"""About 40,000 lines."""
SSM: Final = "ssm:"


@dataclass(frozen=True, slots=True)
class AllowListSource:
    """The location of the list, which is read for each check: it can change without a deployment.

    Attributes
    ----------
    s3, ssm : callable
        Return the client for the URI.
    uri : str or None
        ``s3://bucket/key`` or ``ssm:/name``; ``None`` for no list, which allows nothing.
    """

    s3: "Callable[[], S3Client]"
    ssm: "Callable[[], SSMClient]"
    uri: str | None

    def read(self) -> AllowList:
        """Read the list.

        Raises
        ------
        TransientError, PermanentError
            The list cannot be read.
        """
        if self.uri is None:
            return AllowList()
        if self.uri.startswith(SSM):
            name = self.uri.removeprefix(SSM)
            with translate_errors():
                response = self.ssm().get_parameter(Name=name, WithDecryption=True)
                return parse_allow_list(response["Parameter"]["Value"].encode())
        location = S3Uri.parse(self.uri)
        with translate_errors():
            body = self.s3().get_object(Bucket=location.bucket, Key=location.key)["Body"]
            data = body.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise PermanentError(f"{self.uri} is larger than {MAX_BYTES:,} bytes")
        return parse_allow_list(data)
