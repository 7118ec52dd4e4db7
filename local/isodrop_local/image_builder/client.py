"""A real boto3 client whose requests the fake handles in the same process, without sockets."""

from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from isodrop_local.image_builder.models import FakeImageBuilder
from isodrop_local.image_builder.responses import respond
from isodrop_local.image_builder.values import LostResponseError

if TYPE_CHECKING:
    from mypy_boto3_imagebuilder.client import ImagebuilderClient


@lru_cache(maxsize=1)
def _session() -> boto3.session.Session:
    """Return the session of all clients, which reads the service model only once."""
    return boto3.session.Session(
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106  # signs requests that nobody verifies
    )


class Raw(BytesIO):
    """The part of urllib3's response that botocore reads."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def client(builder: FakeImageBuilder, **config: Any) -> "ImagebuilderClient":
    """Make a boto3 client of a fake.

    Parameters
    ----------
    builder : FakeImageBuilder
        The fake that handles the requests.
    **config
        For :class:`botocore.config.Config`. By default boto3 does not retry, so that
        a test gets each response.

    Examples
    --------
    >>> imagebuilder = client(builder)
    >>> imagebuilder.get_image(imageBuildVersionArn=arn)["image"]["state"]
    {'status': 'PENDING'}
    """
    boto_client = _session().client(
        "imagebuilder",
        region_name=builder.region,
        config=Config(**({"retries": {"total_max_attempts": 1}} | config)),
    )

    def handle(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        url = urlsplit(request.url)
        body = bytes(request.body) if isinstance(request.body, bytes | bytearray) else b""
        try:
            status, headers, content = respond(
                builder, request.method, url.path, parse_qs(url.query), body
            )
        except LostResponseError as error:
            raise ReadTimeoutError(endpoint_url=request.url) from error
        pairs = HTTPHeaders.from_pairs(headers.items())
        return AWSResponse(request.url, status, pairs, Raw(content))

    boto_client.meta.events.register(
        "before-send.imagebuilder.*",
        handle,  # type: ignore[arg-type]  # the stubs do not allow a handler that returns a response; botocore does
    )
    return boto_client
