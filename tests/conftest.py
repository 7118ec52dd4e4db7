"""The order of the tests' files."""

from typing import Final

import pytest

LONGEST: Final = (
    "integration/test_random_schedules.py",
    "integration/test_resilience.py",
    "stack/test_resilience.py",
    "stack/test_import.py",
    "stack/test_demo.py",
    "integration/test_layer.py",
    "integration/test_build_limits_resilience.py",
    "integration/test_state_machine_paths.py",
    "stack/test_local_stack.py",
    "stack/test_roles.py",
    "integration/test_broken_environments.py",
    "stack/test_real_size_iso.py",
    "stack/test_monitoring.py",
    "stack/test_doctor.py",
    "stack/test_examples.py",
    "integration/test_bench.py",
)
"""The files that take longest, which start first: so no worker has one left at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get("/".join(item.path.parts[-2:]), len(rank)))
