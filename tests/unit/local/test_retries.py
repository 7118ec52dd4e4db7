from collections.abc import Mapping
from random import Random

from isodrop_local.retries import retry_delay

NO_JITTER = {"IntervalSeconds": 3, "BackoffRate": 2, "MaxDelaySeconds": 400}


def delays(retrier: Mapping[str, object], retries: int) -> list[float]:
    random = Random(0)  # noqa: S311 # repeatable, not secret
    return [retry_delay(retrier, retried, random) for retried in range(retries)]


def test_the_delay_grows_up_to_its_limit() -> None:
    assert delays(NO_JITTER, 9) == [3, 6, 12, 24, 48, 96, 192, 384, 400]


def test_the_defaults_are_those_of_step_functions() -> None:
    assert delays({}, 4) == [1, 2, 4, 8]


def test_full_jitter_is_between_nothing_and_the_delay() -> None:
    jittered = delays(NO_JITTER | {"JitterStrategy": "FULL"}, 2000)[8:]
    assert min(jittered) < 10
    assert 390 < max(jittered) <= 400
    assert 190 < sum(jittered) / len(jittered) < 210
