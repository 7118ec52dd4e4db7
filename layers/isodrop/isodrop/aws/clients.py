"""boto3 clients that are created on first use, because creating one takes longer than most calls.

A cold start creates only the clients that every event needs. A client that only some events need
(EC2 for the AMI of an earlier build, SSM for an allow-list) is created by the first one.
"""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from boto3 import Session


class _DeferredClient:
    """A proxy that creates its client when an attribute is first read."""

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
        # Sessions are not thread-safe, but clients are.
        # https://docs.aws.amazon.com/boto3/latest/guide/clients.html#multithreading-or-multiprocessing-with-clients
        self._lock = Lock()

    def client(self, service: Any, **settings: Any) -> _DeferredClient:
        return _DeferredClient(lambda: self._session.client(service, **settings), self._lock)

    def resource(self, service: Any, **settings: Any) -> Any:
        return self._session.resource(service, **settings)


def defer_clients(session: "Session") -> "Session":
    """Wrap a session so that its clients are created on first use, in a thread-safe way.

    Resources are created immediately. Errors in creating a client, such as a missing Region,
    are raised when it is first used.
    """
    return cast("Session", _DeferringSession(session))
