"""The answers that a harness has received."""

from typing import Any

from tests.support.harness import ImportHarness


def the_answer(harness: ImportHarness) -> dict[str, Any]:
    (answer,) = harness.answers()
    return answer
