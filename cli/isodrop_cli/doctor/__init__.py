"""Whether a stack is fit for its first paid build: many small checks, each one question.

Nothing is changed, and nobody is stopped: what may not be seen is a warning that names the
permission. Knows no terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from isodrop.settings import IntakeSettings, ReportSettings, SweepSettings
from isodrop_cli.doctor import (
    allow_list,
    building,
    delivery,
    functions,
    ledger,
    roles,
    stack,
    uploads,
)
from isodrop_cli.doctor.context import Aws, CheckContext
from isodrop_cli.doctor.results import CheckResult, CheckSkippedError, Level, NotFoundError

__all__ = ["CHECKS", "Aws", "Check", "CheckContext", "Finding", "Level", "run_checks"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question, by the name it has in the output."""

    name: str
    run: Callable[[CheckContext], CheckResult]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found."""

    check: str
    result: CheckResult


CHECKS: Final = (
    Check("stack", stack.stack),
    Check("bucket", uploads.bucket),
    Check("notification", uploads.notification),
    Check("versioning", uploads.versioning),
    Check("encryption", uploads.encryption),
    Check("staging", uploads.staging),
    Check("key", uploads.key),
    Check("rule", delivery.rule),
    Check("machine", delivery.state_machine),
    Check("definition", delivery.definition),
    Check("sdk-fields", delivery.fields),
    Check("import-iso", partial(functions.state, logical="ImportIso")),
    Check("report-build", partial(functions.state, logical="ReportBuild")),
    Check("sweep", partial(functions.state, logical="Sweep")),
    Check(
        "import-iso-settings",
        partial(functions.environment, logical="ImportIso", settings=IntakeSettings),
    ),
    Check(
        "report-build-settings",
        partial(functions.environment, logical="ReportBuild", settings=ReportSettings),
    ),
    Check(
        "sweep-settings", partial(functions.environment, logical="Sweep", settings=SweepSettings)
    ),
    Check("layer", functions.layer),
    Check("allow-list", allow_list.allow_list),
    Check("schedule", delivery.schedule),
    Check("execution-role", roles.execution_role),
    Check("service-linked-role", roles.service_linked_role),
    Check("may-start", roles.can_start),
    Check("may-ask", roles.can_invoke),
    Check("may-read", roles.can_read),
    Check("may-copy", roles.can_copy),
    Check("may-pass", roles.can_pass_roles),
    Check("may-import", roles.can_import),
    Check("may-tell", roles.can_publish),
    Check("infrastructure", building.infrastructure),
    Check("instance-profile", building.instance_profile),
    Check("network", building.network),
    Check("quota", building.quota),
    Check("distribution", building.distribution),
    Check("may-distribute", roles.can_distribute),
    Check("bus", delivery.event_bus),
    Check("ledger", ledger.table),
    Check("recovery", ledger.point_in_time_recovery),
    Check("undelivered", delivery.dead_letter_queue),
    Check("answers", ledger.overdue_uploads),
    Check("sdk", stack.sdk),
)
"""In the order of an upload's way."""


def run_checks(context: CheckContext, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Make the checks, one after the other; none stops another.

    Examples
    --------
    >>> [finding.verdict.level for finding in run_checks(ground)]  # doctest: +SKIP
    [<Level.OK: 'ok'>, <Level.BROKEN: 'broken'>, …]
    """
    for check in checks:
        yield Finding(check.name, _run(context, check))


def _run(context: CheckContext, check: Check) -> CheckResult:
    try:
        return check.run(context)
    except CheckSkippedError as error:
        remedy = f"let yourself be granted {error.permission}" if error.permission else None
        return CheckResult(Level.WARNING, f"could not be seen: {error}", remedy)
    except NotFoundError as error:
        return CheckResult(Level.BROKEN, str(error), f"sam deploy the stack {context.name} anew")
