"""Puts what is told on the stack's event bus."""

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
    """Puts events on the stack's bus, and believes only what the bus confirms."""

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
            When the event was made, with a time zone.
        resources : sequence of str
            ARNs that the event is about.

        Raises
        ------
        TransientError, PermanentError
            When the bus did not take it. ``PutEvents`` answers 200 even then:
            https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
        """
        with translate_errors():
            answer = self.client.put_events(
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
        if answer["FailedEntryCount"]:
            refused = answer["Entries"][0]
            raise TransientError(
                f"PutEvents: {refused.get('ErrorCode')}: {refused.get('ErrorMessage')}"
            )
