"""Allows requests from programs on this machine, and refuses those from web pages.

Any web page can make a browser send requests to the loopback address, and whoever reaches
the emulator can make it run code. A browser names the page in ``Origin``, or says in
``Sec-Fetch-Site`` that a page sent the request; and if a page's own name resolves to the loopback
address (DNS rebinding), the request has that name as its ``Host``.

See Also
--------
https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

_BY_HAND: Final = "none"
"""``Sec-Fetch-Site`` of an address that a person entered."""


def reason_to_refuse(scope: Mapping[str, Any], extra_addresses: Collection[str] = ()) -> str | None:
    """Return why a request is refused; ``None`` if it is allowed.

    Parameters
    ----------
    scope : mapping
        The ASGI connection's, with its headers.
    extra_addresses : collection of str
        Other addresses of this machine, which its containers use.
    """
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in scope.get("headers", ())
    }
    if "origin" in headers or headers.get("sec-fetch-site", _BY_HAND) != _BY_HAND:
        return "a web page may not use the stack on this machine"
    host = headers.get("host", "")
    if not _is_local(host) and _name(host) not in extra_addresses:
        return f"{host!r} is not this machine: use 127.0.0.1 or localhost"
    return None


def _name(host: str) -> str:
    return host.rpartition(":")[0] if ":" in host else host


def _is_local(host: str) -> bool:
    name = _name(host)
    # S3's clients prefix the machine's name with a bucket's; both resolve to the loopback address
    # whatever a name server returns: https://datatracker.ietf.org/doc/html/rfc6761#section-6.3
    return name == "127.0.0.1" or name.lower() == "localhost" or name.lower().endswith(".localhost")


def require_allowed_path(path: Path, files: Iterable[Path]) -> Path:
    """Resolve a path, if it is one of the allowed files, or in an allowed folder.

    Raises
    ------
    PermissionError
        It is not.
    """
    resolved = path.resolve()
    if not any(resolved.is_relative_to(each.resolve()) for each in files):
        raise PermissionError(f"{path} was not named when the stack was started")
    return resolved
