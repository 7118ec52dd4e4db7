"""The services that Image Builder uses: S3, EC2, EventBridge; and its caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4


class AwsEnvironment(Protocol):
    """The services that Image Builder uses for an import."""

    def owns_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists and belongs to the calling account."""
        ...

    def object_etag(self, bucket: str, key: str) -> str | None:
        """The current object's ETag; ``None`` if there is none."""
        ...

    def register_image(self, name: str, description: str) -> str:
        """Register an AMI with EC2 and return its id."""
        ...

    def publish(self, event: Mapping[str, Any]) -> None:
        """Put an event of ``aws.imagebuilder`` on the default event bus."""
        ...

    def kill_caller(self) -> None:
        """Kill the caller, as a crash would."""
        ...


@dataclass(slots=True)
class InMemoryEnvironment:
    """An environment for tests in one process.

    Attributes
    ----------
    objects : dict or None
        ETags by bucket and key; ``None`` if every object exists.
    amis, events : list
        What was registered and published.
    """

    objects: dict[tuple[str, str], str] | None = None
    amis: list[str] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def owns_bucket(self, bucket: str) -> bool:
        """Every bucket with an object is owned by the account."""
        return self.objects is None or any(bucket == known for known, _ in self.objects)

    def object_etag(self, bucket: str, key: str) -> str | None:
        """Return the object's ETag."""
        return "etag" if self.objects is None else self.objects.get((bucket, key))

    def register_image(self, name: str, description: str) -> str:  # noqa: ARG002  # the protocol's
        """Return a new id."""
        self.amis.append(f"ami-{uuid4().hex[:17]}")
        return self.amis[-1]

    def publish(self, event: Mapping[str, Any]) -> None:
        """Record it."""
        self.events.append(event)

    def kill_caller(self) -> None:
        """Do nothing: there is no process to kill, so the caller gets the fault's error."""
