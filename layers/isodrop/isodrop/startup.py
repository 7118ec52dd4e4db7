"""Pauses garbage collection while a function starts; a function imports this module first.

Importing modules and creating services allocates more than 100,000 objects that live as long as
the process. Collections during that time traverse them and free nothing. The pause ends when the
function has created its services with :func:`once`.

https://docs.python.org/3/library/gc.html
"""

import gc
from collections.abc import Callable
from functools import cache, wraps
from typing import TypeVar

T = TypeVar("T")

gc.disable()


def once(create: Callable[[], T]) -> Callable[[], T]:
    """Wrap a function so that it creates its services once and then resumes garbage collection.

    The objects that exist by then are frozen: later collections do not traverse them.

    Parameters
    ----------
    create : callable
        Creates the services. Every call of the wrapper returns what its first call returned; if
        that raised an error, the next call tries again.
    """

    @cache
    @wraps(create)
    def create_once() -> T:
        try:
            return create()
        finally:
            if not gc.isenabled():
                gc.freeze()
                gc.enable()

    return create_once
