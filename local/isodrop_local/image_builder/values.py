"""Frozen values that the fake Image Builder and its tests share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isodrop_local.faults import LOST_RESPONSE

Json = dict[str, Any]
"""A JSON object: an operation's parameters, or its response."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached the service, and its result.

    Attributes
    ----------
    at : float
        When, by the fake's clock.
    operation : str
        As Image Builder names it.
    parameters : mapping
        As they were received, before they were checked.
    error : str or None
        The name of the returned error; ``None`` if it succeeded.
    took_effect : bool
        Whether the operation ran; it may have taken effect and still returned an error.
    build : str or None
        The returned ARN.
    """

    at: float
    operation: str
    parameters: Mapping[str, Any]
    error: str | None
    took_effect: bool
    build: str | None


class LostResponseError(Exception):
    """The connection breaks before the caller gets a response."""

    code = LOST_RESPONSE


class ServiceError(Exception):
    """An error that Image Builder returns.

    Attributes
    ----------
    code, message : str
        Its name in the service model, and its message.
    status : int or None
        Its HTTP status; ``None`` for the service model's.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def not_found(arn: str) -> ServiceError:
    """Make the error for an ARN that does not exist, or no longer exists.

    GetImage and others return it, although they do not list it among their errors.
    """
    return ServiceError(
        "ResourceNotFoundException", f"The resource with ARN '{arn}' does not exist."
    )


def invalid(message: str) -> ServiceError:
    """Make the error for a request that is well-formed but cannot be fulfilled."""
    return ServiceError("InvalidRequestException", message)


def timestamp(moment: float) -> str:
    """Format a time as Image Builder does: ISO 8601 with milliseconds, UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def normalize_name(name: str) -> str:
    """Normalize a name as in an ARN.

    "Image Builder generates the image ARN from a normalized form of the name, so names that differ
    only in case, spaces, or underscores count as the same name."
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
    """
    return name.lower().replace(" ", "-").replace("_", "-")
