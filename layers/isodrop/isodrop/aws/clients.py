"""AWS's clients, each made when it is first used: making one takes longer than most of its calls.

A function starts with what every event needs. What only some events need (EC2 for the AMI of an
earlier build, Systems Manager for a list) is made by the first of them.
"""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from boto3 import Session


class _DeferredClient:
    """Stands for a client until one of its attributes is read, and passes all of them on."""

    def __init__(self, make: Callable[[], Any], lock: Lock) -> None:
        self._make = make
        self._lock = lock
        self._client: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._client is None:
            with self._lock:
                self._client = self._client or self._make()
        return getattr(self._client, name)


class _DeferringSession:
    """The part of a boto3 session that the adapters use."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        # A session makes one client at a time; its clients may be used by several threads.
        # https://docs.aws.amazon.com/boto3/latest/guide/clients.html#multithreading-or-multiprocessing-with-clients
        self._lock = Lock()

    def client(self, service: Any, **settings: Any) -> _DeferredClient:
        return _DeferredClient(lambda: self._session.client(service, **settings), self._lock)

    def resource(self, service: Any, **settings: Any) -> Any:
        return self._session.resource(service, **settings)


def deferring(session: "Session") -> "Session":
    """Let a session make its clients when they are first used, safely in several threads.

    Resources are made at once. What a client's making raises (no Region, no credentials'
    provider) is raised where it is first used.
    """
    return cast("Session", _DeferringSession(session))
