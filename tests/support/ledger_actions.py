"""Writes an attempt or an image to the ledger for tests that need no import around it."""

from dataclasses import replace
from itertools import count

from isodrop.aws.ledger import Ledger
from isodrop.aws.ledger_items import image_items
from isodrop.aws.transactions import put, transact
from isodrop.domain.build_limits import BuildLimits
from isodrop.domain.run import Attempt, ImageRecord, Run
from tests.support.builders import an_upload

_numbers = count(1)


def claim_any_run(ledger: Ledger) -> Run:
    """Claim a run of an upload that no test has."""
    upload = an_upload(key="other.iso", version_id=f"other-{next(_numbers)}")
    run = ledger.claim(upload, "other-execution", "2026-11-24T08:00:00.000+00:00")
    assert run is not None
    return run


def create_attempt(ledger: Ledger, attempt: Attempt, limits: BuildLimits | None = None) -> bool:
    """Create an attempt for a run of its own; ``False`` if there is one with its number."""
    return ledger.create_attempt(claim_any_run(ledger), attempt, limits=limits) is not None


def put_image(ledger: Ledger, image: ImageRecord, now: str) -> None:
    """Write an image, as an answer does."""
    transact(ledger.table, list(map(put, image_items(replace(image, recorded_at=now)))))
