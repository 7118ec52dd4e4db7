"""EventBridge: publishes the events on the stack's event bus."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from isodrop.aws.errors import translate_errors
from isodrop.errors import TransientError
from isodrop.events import SOURCE, DetailType

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient


@dataclass(frozen=True, slots=True)
class EventPublisher:
    """Publishes events, and checks that EventBridge accepted each one."""

    client: "EventBridgeClient"
    bus: str

    def publish(
        self, detail_type: DetailType, detail: str, time: datetime, resources: Sequence[str]
    ) -> None:
        """Publish one event.

        Parameters
        ----------
        detail_type, detail
            As in the contract; ``detail`` is JSON.
        time : datetime
            When the event was created, with a time zone.
        resources : sequence of str
            The ARNs of the event's ``resources``.

        Raises
        ------
        TransientError, PermanentError
            The call failed, or EventBridge did not accept the event. In the latter case the
            response has status 200, and the entry contains the error:
            https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
        """
        with translate_errors():
            response = self.client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": detail_type,
                        "Detail": detail,
                        "EventBusName": self.bus,
                        "Time": time,
                        "Resources": list(resources),
                    }
                ]
            )
        if response["FailedEntryCount"]:
            entry = response["Entries"][0]
            raise TransientError(
                f"PutEvents: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
            )
