"""The complexity of an event pattern by EventBridge's measure, which it limits.

It counts, for each field, how many prefixes of wildcards the same value can match at
once: each is a state of its matcher. A prefix that ends before the wildcard's
first ``*`` costs nothing. The limit is not published.

See Also
--------
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html#eb-filtering-wildcard-matching-complexity
https://github.com/aws/event-ruler#machinecomplexityevaluator
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_COMPLEXITY: Final = 8
"""A safe limit: EventBridge was observed to accept 9 and to refuse 12."""

_Place = tuple[str, int]
"""A wildcard, and how many of its characters a value has matched."""


def complexity(pattern: Mapping[str, Any]) -> int:
    """Return the complexity of an event pattern: that of its most complex field."""
    return max(map(_field_complexity, _fields(pattern)), default=0)


def _fields(pattern: Mapping[str, Any]) -> Iterator[list[str]]:
    """Find the wildcards of each field."""
    for name, condition in pattern.items():
        if isinstance(condition, Mapping):
            yield from _fields(condition)
        elif name == "$or":
            for each in condition:
                yield from _fields(each)
        else:
            yield [
                each["wildcard"]
                for each in condition
                if isinstance(each, dict) and "wildcard" in each
            ]


def _field_complexity(wildcards: list[str]) -> int:
    others = "\0"  # any character that is in none of them
    alphabet = {others, *"".join(wildcards)} - {"*"}
    begin = _past_stars({(each, 0) for each in wildcards})
    most, seen, pending = 0, {begin}, [begin]
    while pending:
        places = pending.pop()
        most = max(most, sum("*" in wildcard[:past] for wildcard, past in places))
        for character in alphabet:
            after = _past_stars(_after(places, character))
            if after not in seen:
                seen.add(after)
                pending.append(after)
    return most


def _after(places: frozenset[_Place], character: str) -> set[_Place]:
    """Return the states after one more character."""
    stay = {(wildcard, past) for wildcard, past in places if wildcard[:past].endswith("*")}
    step = {
        (wildcard, past + 1) for wildcard, past in places if wildcard[past : past + 1] == character
    }
    return stay | step


def _past_stars(places: set[_Place]) -> frozenset[_Place]:
    """Add the states after a ``*`` that matches nothing."""
    return frozenset(places) | {
        (wildcard, past + 1) for wildcard, past in places if wildcard[past : past + 1] == "*"
    }
