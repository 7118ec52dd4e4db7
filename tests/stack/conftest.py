"""One emulator with the deployed template.yaml, for all tests of this folder.

After the tests all published events are validated against the contract.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.iso_maker import EditionSpec, business_editions, make_iso
from isodrop_local.stack import EmulatedStack
from tools.contract.samples import find_errors as outside
from tools.contract.schemas import all_schemas

MakeIso = Callable[..., Path]

PARAMETERS = {
    "MaxConsecutiveFailures": "2",
    "CreateDashboard": "true",
    "MaxBuildsAtOnce": "100",
    "MaxBuildsPerDay": "1000",
    "AllowedOverrides": "image-name,semantic-version,edition,image-index,description,rebuild",
}

_revisions = itertools.count(2001)
_labels = itertools.count(1)


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedStack]:
    """The stack as it is; most tests use :func:`stack`."""
    with EmulatedStack(wait_scale=0.001, files=[tmp_path_factory.getbasetemp()]) as started:
        started.deploy(PARAMETERS)
        yield started
        schemas = all_schemas()
        events = started.events()
        wrong = [each for event in events for each in outside(event, schemas[event["detail-type"]])]
    assert not wrong


@pytest.fixture
def stack(deployed: EmulatedStack) -> Iterator[EmulatedStack]:
    """The stack without remaining faults, checked for violations of Image Builder's rules.

    Earlier uploads and events stay, so each test uses its own keys and ISOs.
    """
    deployed.settle(60)  # a late build of another test would get this test's faults
    deployed.image_builder.reset()
    yield deployed
    deployed.image_builder.release()
    violations = deployed.image_builder.violations()
    deployed.image_builder.reset()
    assert not violations


@pytest.fixture
def shell(stack: EmulatedStack, monkeypatch: pytest.MonkeyPatch) -> EmulatedStack:
    """The stack, with its environment variables set in this process."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return stack


def upload_failing_iso(stack: EmulatedStack, path: Path, **how: Any) -> str:
    """Upload an ISO with its own image name, whose build fails as given."""
    name = path.stem
    stack.image_builder.fail_next_build(name=name, **how)
    return stack.upload(path, metadata={"image-name": name})


@pytest.fixture
def make_unique_iso(tmp_path: Path) -> Callable[..., Path]:
    """Make a Windows-like ISO with a new revision, which no other test uploads."""

    def make(name: str, **changes: Any) -> Path:
        editions = business_editions(**{"revision": next(_revisions)} | changes)
        return make_iso(tmp_path / name, editions=editions)

    return make


@pytest.fixture
def iso(tmp_path: Path) -> MakeIso:
    """Make an ISO with a new name and label, which no other test uploads."""

    def make(editions: tuple[EditionSpec, ...] | None = None, **how: Any) -> Path:
        number = next(_labels)
        path = tmp_path / f"disc-{number}.iso"
        return make_iso(
            path, editions=editions or business_editions(), label=f"DISC_{number}", **how
        )

    return make
