"""What Image Builder needs of its surroundings: S3, EC2, EventBridge, and who is calling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4


class AwsEnvironment(Protocol):
    """The services around Image Builder, as far as an import touches them."""

    def owns_bucket(self, bucket: str) -> bool:
        """Whether the bucket exists and belongs to the calling account."""
        ...

    def object_etag(self, bucket: str, key: str) -> str | None:
        """The ETag of what is under the key right now; ``None`` if nothing is."""
        ...

    def register_image(self, name: str, description: str) -> str:
        """Register an AMI with EC2 and return its id."""
        ...

    def publish(self, event: Mapping[str, Any]) -> None:
        """Put an event of ``aws.imagebuilder`` on the default event bus."""
        ...

    def kill_caller(self) -> None:
        """Kill whatever is calling, as a crash or a lost connection would."""
        ...


@dataclass(slots=True)
class InMemoryEnvironment:
    """A world for tests in one process.

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
        """Every bucket that an object lies in is ours."""
        return self.objects is None or any(bucket == known for known, _ in self.objects)

    def object_etag(self, bucket: str, key: str) -> str | None:
        """Return the object's ETag."""
        return "etag" if self.objects is None else self.objects.get((bucket, key))

    def register_image(self, name: str, description: str) -> str:  # noqa: ARG002  # the protocol's
        """Make up an id."""
        self.amis.append(f"ami-{uuid4().hex[:17]}")
        return self.amis[-1]

    def publish(self, event: Mapping[str, Any]) -> None:
        """Keep it."""
        self.events.append(event)

    def kill_caller(self) -> None:
        """Nobody can be killed here: the caller sees a lost answer."""
