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
from isodrop_cli.doctor.context import Aws, Ground
from isodrop_cli.doctor.results import GoneError, Level, UnseenError, Verdict

__all__ = ["CHECKS", "Aws", "Check", "Finding", "Ground", "Level", "examine"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question, by the name it has in the output."""

    name: str
    look: Callable[[Ground], Verdict]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found."""

    check: str
    verdict: Verdict


CHECKS: Final = (
    Check("stack", stack.stack),
    Check("bucket", uploads.bucket),
    Check("notification", uploads.notification),
    Check("versioning", uploads.versioning),
    Check("encryption", uploads.encryption),
    Check("staging", uploads.staging),
    Check("key", uploads.key),
    Check("rule", delivery.rule),
    Check("machine", delivery.machine),
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
    Check("may-start", roles.may_start),
    Check("may-ask", roles.may_ask),
    Check("may-read", roles.may_read),
    Check("may-copy", roles.may_copy),
    Check("may-pass", roles.may_pass),
    Check("may-import", roles.may_import),
    Check("may-tell", roles.may_tell),
    Check("infrastructure", building.infrastructure),
    Check("instance-profile", building.instance_profile),
    Check("network", building.network),
    Check("quota", building.quota),
    Check("distribution", building.distribution),
    Check("may-distribute", roles.may_distribute),
    Check("bus", delivery.bus),
    Check("ledger", ledger.table),
    Check("recovery", ledger.recovery),
    Check("undelivered", delivery.queue),
    Check("answers", ledger.answers),
    Check("sdk", stack.sdk),
)
"""In the order of an upload's way."""


def examine(ground: Ground, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Make the checks, one after the other; none stops another.

    Examples
    --------
    >>> [finding.verdict.level for finding in examine(ground)]  # doctest: +SKIP
    [<Level.OK: 'ok'>, <Level.BROKEN: 'broken'>, …]
    """
    for check in checks:
        yield Finding(check.name, _looked(ground, check))


def _looked(ground: Ground, check: Check) -> Verdict:
    try:
        return check.look(ground)
    except UnseenError as error:
        remedy = f"let yourself be granted {error.permission}" if error.permission else None
        return Verdict(Level.WARNING, f"could not be seen: {error}", remedy)
    except GoneError as error:
        return Verdict(Level.BROKEN, str(error), f"sam deploy the stack {ground.name} anew")
