"""Checks that a stack is ready for a paid build.

They change and print nothing. If the caller lacks a permission that a check needs, the result
is a warning that names the permission.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from isodrop.settings import IntakeSettings, ReportSettings, SweepSettings
from isodrop_cli.doctor import (
    allow_list,
    buckets,
    building,
    delivery,
    functions,
    ledger,
    roles,
    stack,
)
from isodrop_cli.doctor.context import CachingApi, CheckContext
from isodrop_cli.doctor.results import CheckResult, CheckSkippedError, Level, NotFoundError

__all__ = ["CHECKS", "CachingApi", "Check", "CheckContext", "Level", "NamedResult", "run_checks"]


@dataclass(frozen=True, slots=True)
class Check:
    """A check, by its name in the output."""

    name: str
    run: Callable[[CheckContext], CheckResult]


@dataclass(frozen=True, slots=True)
class NamedResult:
    """A check's result, and the check's name."""

    check: str
    result: CheckResult


CHECKS: Final = (
    Check("stack", stack.stack),
    Check("bucket", buckets.bucket),
    Check("event-notifications", buckets.notification),
    Check("versioning", buckets.versioning),
    Check("encryption", buckets.encryption),
    Check("staging", buckets.staging),
    Check("kms-key", buckets.kms_key),
    Check("upload-rule", delivery.rule),
    Check("state-machine", delivery.state_machine),
    Check("state-machine-definition", delivery.definition),
    Check("step-counts", delivery.step_counts),
    Check("import-iso", partial(functions.state, logical_id="ImportIso")),
    Check("report-build", partial(functions.state, logical_id="ReportBuild")),
    Check("sweep", partial(functions.state, logical_id="Sweep")),
    Check(
        "import-iso-settings",
        partial(functions.environment, logical_id="ImportIso", settings=IntakeSettings),
    ),
    Check(
        "report-build-settings",
        partial(functions.environment, logical_id="ReportBuild", settings=ReportSettings),
    ),
    Check(
        "sweep-settings", partial(functions.environment, logical_id="Sweep", settings=SweepSettings)
    ),
    Check("layer", functions.layer),
    Check("allow-list", allow_list.allow_list),
    Check("sweep-schedule", delivery.schedule),
    Check("execution-role", roles.execution_role),
    Check("service-linked-role", roles.service_linked_role),
    Check("can-start-execution", roles.can_start),
    Check("can-invoke-function", roles.can_invoke),
    Check("can-read-upload", roles.can_read),
    Check("can-copy-upload", roles.can_copy),
    Check("can-pass-role", roles.can_pass_roles),
    Check("can-import-image", roles.can_import),
    Check("can-publish-events", roles.can_publish),
    Check("infrastructure", building.infrastructure),
    Check("instance-profile", building.instance_profile),
    Check("network", building.network),
    Check("build-quota", building.quota),
    Check("distribution", building.distribution),
    Check("can-distribute-image", roles.can_distribute),
    Check("event-bus", delivery.event_bus),
    Check("ledger", ledger.table),
    Check("point-in-time-recovery", ledger.point_in_time_recovery),
    Check("dead-letter-queue", delivery.dead_letter_queue),
    Check("overdue-uploads", ledger.overdue_uploads),
    Check("local-sdk", stack.sdk),
)
"""In the order in which they matter to an upload."""


def run_checks(context: CheckContext, checks: Sequence[Check] = CHECKS) -> Iterator[NamedResult]:
    """Run the checks one after the other; a failing one does not stop the others.

    Examples
    --------
    >>> [finding.result.level for finding in run_checks(context)]  # doctest: +SKIP
    [<Level.OK: 'ok'>, <Level.ERROR: 'error'>, …]
    """
    for check in checks:
        yield NamedResult(check.name, _run(context, check))


def _run(context: CheckContext, check: Check) -> CheckResult:
    try:
        return check.run(context)
    except CheckSkippedError as error:
        remedy = f"request the permission {error.permission}" if error.permission else None
        return CheckResult(Level.WARNING, f"could not be checked: {error}", remedy)
    except NotFoundError as error:
        return CheckResult(
            Level.ERROR, str(error), f"redeploy the stack {context.name} with sam deploy"
        )
