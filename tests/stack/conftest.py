"""One emulator with template.yaml deployed to it, for all tests of this folder.

Whatever the tests made it say is held to the contract when they are through.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.iso_maker import EditionSpec, business_editions, make_iso
from isodrop_local.stack import LocalStack
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
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The stack as it is; most tests want :func:`stack`."""
    with LocalStack(wait_scale=0.001, files=[tmp_path_factory.getbasetemp()]) as started:
        started.deploy(PARAMETERS)
        yield started
        schemas = all_schemas()
        events = started.events()
        wrong = [each for event in events for each in outside(event, schemas[event["detail-type"]])]
    assert not wrong


@pytest.fixture
def stack(deployed: LocalStack) -> Iterator[LocalStack]:
    """The stack with no faults left over, and no violation of Image Builder's rules afterwards.

    Earlier uploads and events stay: use a key and an ISO of your own.
    """
    deployed.settle(60)  # a build that begins late would meet what was meant for this test's
    deployed.image_builder.reset()
    yield deployed
    deployed.image_builder.release()
    violations = deployed.image_builder.violations()
    deployed.image_builder.reset()
    assert not violations


@pytest.fixture
def shell(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> LocalStack:
    """The stack, found by whatever is run in this process, as in a shell that is set up for it."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return stack


def upload_failing_iso(stack: LocalStack, path: Path, **how: Any) -> str:
    """Upload an ISO with a name of its own, and let its build fail as given."""
    name = path.stem
    stack.image_builder.fail_next_build(name=name, **how)
    return stack.upload(path, metadata={"image-name": name})


@pytest.fixture
def make_unique_iso(tmp_path: Path) -> Callable[..., Path]:
    """Make a Windows-like ISO that no test has uploaded before: its revision is new."""

    def make(name: str, **changes: Any) -> Path:
        editions = business_editions(**{"revision": next(_revisions)} | changes)
        return make_iso(tmp_path / name, editions=editions)

    return make


@pytest.fixture
def iso(tmp_path: Path) -> MakeIso:
    """Make an ISO that no test has uploaded before: its name and label are new, else as asked."""

    def make(editions: tuple[EditionSpec, ...] | None = None, **how: Any) -> Path:
        number = next(_labels)
        path = tmp_path / f"disc-{number}.iso"
        return make_iso(
            path, editions=editions or business_editions(), label=f"DISC_{number}", **how
        )

    return make
