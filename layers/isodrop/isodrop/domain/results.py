"""Composes the events of a run from its ledger record and its builds. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from isodrop.codes import CODES, AnswerKind, Code, Rejection, docs_path
from isodrop.domain.build import Build, BuildPhase, StepCount
from isodrop.domain.content import Content
from isodrop.domain.model import ImportPlan, Upload
from isodrop.domain.run import AttemptKey, BuildKind, EndedBuilds, Failure, ImageRecord, Run
from isodrop.errors import CredentialsError, QuotaError, TransientError
from isodrop.events import (
    SCHEMA_VERSION,
    ContractAmi,
    Data,
    Event,
    FailedData,
    Metadata,
    Plan,
    ProgressedData,
    RejectedData,
    Source,
    StartedData,
    SucceededData,
    event_id,
)
from isodrop.text import single_line

_TRANSIENT_ERRORS: Final = frozenset(
    {
        TransientError.__name__,
        QuotaError.__name__,
        # Step Functions' names for temporary errors of Image Builder and Lambda:
        # https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
        "Imagebuilder.CallRateLimitExceededException",
        "Imagebuilder.ServiceException",
        "Imagebuilder.ServiceUnavailableException",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
    }
)
"""Errors that the state machine retries. If one ends an execution, all its retries were used up."""
_ACCESS_ERRORS: Final = frozenset(
    {
        CredentialsError.__name__,
        "Imagebuilder.ForbiddenException",
        "Imagebuilder.AccessDeniedException",
    }
)


@dataclass(frozen=True, slots=True)
class ExecutionError:
    """The ``Error`` and ``Cause`` that the state machine caught."""

    error: str
    cause: str


_NO_BUILD: Final = ExecutionError("NoBuild", "an answer was requested before there was a build")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's builds, as Image Builder returns them when the answer is composed.

    Attributes
    ----------
    import_build, distribution_build : Build or None
        ``None`` if there is no such build, or if it no longer exists.
    """

    import_build: Build | None = None
    distribution_build: Build | None = None


# Notifications


def started_data(run: Run) -> StartedData | None:
    """Compose the notification that a run's build has started; ``None`` if it has no build."""
    plan, record = _get_plan(run), run.import_build
    if plan is None or record.arn is None or record.attempt is None:
        return None
    return StartedData(
        source=_get_source(run),
        plan=to_contract_plan(plan),
        build_arn=record.arn,
        reused=record.reused,
        attempt=record.attempt.number,
    )


def progressed_data(
    run: Run, status: str, previous: str | None, steps: StepCount
) -> ProgressedData | None:
    """Compose the notification that the status or step of a run's build has changed.

    Returns
    -------
    ProgressedData or None
        ``None`` if the run has no build.
    """
    if run.import_build.arn is None:
        return None
    return ProgressedData(
        source=_get_source(run),
        build_arn=run.import_build.arn,
        distribution_arn=run.distribution.arn,
        status=status,
        previous_status=previous,
        steps_done=steps.done,
        steps_total=steps.total,
    )


# The answer


def answer_data(run: Run, outcome: Outcome, now: datetime) -> Data:
    """Compose the answer of a run.

    Parameters
    ----------
    run : Run
        The run as it is in the ledger.
    outcome : Outcome
        The outcome of its builds.
    now : datetime
        The current time, with a time zone.
    """
    if isinstance(run.decision, Rejection):
        return _rejected_data(run, run.decision)
    record = run.import_build
    if record.failure is not None and record.arn is None:
        # If a build was started while the failure was recorded, the answer is about the build.
        return _rejected_or_failed_data(run, record.failure)
    plan, build = _get_plan(run), outcome.import_build
    if record.attempt is None or record.arn is None or plan is None:
        return execution_failed_data(run, _NO_BUILD)
    if build is None or build.phase is not BuildPhase.SUCCEEDED:
        return _build_failed_data(run, build)
    if not build.amis:
        message = f"The build is {build.status}, but Image Builder returned no AMI."
        return _rejected_or_failed_data(run, Failure(Code.BUILD_GONE, message))
    data = _succeeded_data(run, plan, record.attempt, build, now)
    return _with_distribution(run, data, outcome.distribution_build)


def ended_builds(run: Run, outcome: Outcome, answer: Data) -> EndedBuilds:
    """Return what an answer says about builds, for the ledger.

    Parameters
    ----------
    run : Run
        The run as it is in the ledger.
    outcome : Outcome
        The outcome of its builds, from which the answer was composed.
    answer : Data
        Its answer.
    """
    record, distribution, build = run.import_build, run.distribution, outcome.import_build
    if record.attempt is None or record.arn is None or isinstance(run.decision, Rejection):
        return EndedBuilds()
    if build is not None and build.phase is BuildPhase.RUNNING:
        return EndedBuilds()
    if build is None or build.phase is not BuildPhase.SUCCEEDED or not build.amis:
        return EndedBuilds(imports=(record.attempt,))
    succeeded = [record.attempt]
    distribution_build = outcome.distribution_build
    if distribution_build is not None and distribution_build.phase is BuildPhase.SUCCEEDED:
        succeeded += filter(None, [distribution.attempt])
    image = None
    if isinstance(answer, SucceededData):
        image = ImageRecord.from_arn(answer.build_arn, answer.plan.windows_build)
    return EndedBuilds((record.attempt,), tuple(succeeded), image)


def _succeeded_data(
    run: Run, plan: ImportPlan, attempt: AttemptKey, build: Build, now: datetime
) -> SucceededData:
    return SucceededData(
        source=_get_source(run),
        plan=to_contract_plan(plan),
        build_arn=build.arn,
        distribution_arn=run.distribution.arn,
        reused=run.import_build.reused,
        attempt=attempt.number,
        amis=_to_contract_amis(build),
        minutes_by_status=_minutes_by_status(run, now),
    )


def _with_distribution(run: Run, data: SucceededData, distribution_build: Build | None) -> Data:
    """Add the AMIs of the distribution, or describe why it failed, if there was one."""
    distribution = run.distribution
    if distribution.arn is not None:
        if distribution_build is None or distribution_build.phase is not BuildPhase.SUCCEEDED:
            return _distribution_failed_data(run, data.amis, distribution_build)
        more = tuple(ami for ami in _to_contract_amis(distribution_build) if ami not in data.amis)
        return data.model_copy(update={"amis": data.amis + more})
    if distribution.failure is not None:
        failure = distribution.failure
        return _failed_data(run, failure.code, failure.message, amis=data.amis)
    return data


def execution_failed_data(run: Run, caught: ExecutionError) -> FailedData:
    """Compose the answer of a run whose execution failed; the code depends on the error's name."""
    code = Code.INTERNAL_ERROR
    if caught.error in _TRANSIENT_ERRORS:
        code = Code.SERVICE_UNAVAILABLE
    elif caught.error in _ACCESS_ERRORS:
        code = Code.ACCESS_DENIED
    return _failed_data(run, code, single_line(f"{caught.error}: {caught.cause}"))


def make_event(run: Run, data: Data, stack: str, now: datetime, *name: str) -> Event:
    """Make an event. Its id is deterministic: if it is made again, it has the same id.

    Parameters
    ----------
    run, data
        The run, and the event's data.
    stack : str
        The stack's name.
    now : datetime
        The current time, with a time zone.
    name : str
        Identifies a notification within the run. Nothing for the answer, whose event id is derived
        from the upload and the run only, so that a second answer would be a duplicate.
    """
    metadata = Metadata(
        schema_version=SCHEMA_VERSION,
        event_id=event_id(run.upload_id, run.run_request.number, *name),
        upload_id=run.upload_id,
        run=run.run_request.number,
        attempt_id=run.import_build.attempt_id,
        stack=stack,
        time=now,
    )
    return Event(metadata=metadata, data=data)


def progress_name(run: Run, status: str, steps: StepCount) -> tuple[str, ...]:
    """Identify a notification of progress within its run, for the event id."""
    kind = (BuildKind.DISTRIBUTION.value,) if run.distribution.arn else ()
    return ("progressed", status, str(steps.done), str(steps.total), *kind)


# Parts of the contract


def to_contract_source(
    upload: Upload, content: Content | None, sha256: str | None = None
) -> Source:
    """Convert an upload, and its content if it has been copied, to the contract's source."""
    return Source(
        bucket=upload.bucket,
        key=upload.key,
        version_id=upload.version_id,
        etag=upload.etag,
        size=upload.size,
        content_id=None if content is None else content.id,
        sha256=sha256,
    )


def to_contract_plan(plan: ImportPlan) -> Plan:
    """Convert a plan to the contract's plan."""
    return Plan(
        name=plan.name,
        semantic_version=plan.semantic_version,
        image_index=plan.image_index,
        edition=plan.edition,
        release=plan.release,
        architecture=plan.architecture,
        windows_build=plan.windows_build,
        revision=plan.revision,
        languages=plan.languages,
        notes=plan.notes,
    )


def _get_source(run: Run) -> Source:
    return to_contract_source(run.upload, run.content, run.sha256)


def _get_plan(run: Run) -> ImportPlan | None:
    """Get a run's plan, with the warning of the allow-list if there is one."""
    plan = run.decision
    if not isinstance(plan, ImportPlan) or run.allow_list_note is None:
        return plan if isinstance(plan, ImportPlan) else None
    return replace(plan, notes=(*plan.notes, run.allow_list_note))


def _to_contract_amis(build: Build) -> tuple[ContractAmi, ...]:
    return tuple(
        ContractAmi(id=ami.id, region=ami.region, account=ami.account, name=ami.name)
        for ami in build.amis
    )


def _rejected_data(run: Run, rejection: Rejection) -> RejectedData:
    return RejectedData(
        source=_get_source(run),
        code=rejection.code.value,
        message=rejection.message,
        remedy=rejection.remedy,
        docs_path=docs_path(rejection.code),
    )


def _rejected_or_failed_data(run: Run, failure: Failure) -> Data:
    """Compose a rejection if the code is one and there is no build, otherwise a failure."""
    info = CODES[failure.code]
    if info.kind is AnswerKind.REJECTED and run.import_build.arn is None:
        return _rejected_data(run, Rejection(failure.code, failure.message, info.remedy))
    return _failed_data(run, failure.code, failure.message)


def _build_failed_data(run: Run, build: Build | None) -> FailedData:
    """Compose the answer of a run whose build failed."""
    if build is None:
        message = f"The build {run.import_build.arn} no longer exists in Image Builder."
        return _failed_data(run, Code.BUILD_GONE, message)
    code = {
        "FAILED": Code.BUILD_FAILED,
        "CANCELLED": Code.BUILD_CANCELLED,
        "DELETED": Code.BUILD_GONE,
        "DISABLED": Code.BUILD_GONE,
    }.get(build.status)
    if code is None:
        message = _describe_timeout("build", build)
        return _failed_data(run, Code.BUILD_TIMED_OUT, message, build=build)
    message = _describe_end(f"The build ended with status {build.status}", build)
    return _failed_data(run, code, message, build=build)


def _distribution_failed_data(
    run: Run, amis: tuple[ContractAmi, ...], build: Build | None
) -> FailedData:
    """Compose the answer of a run whose image was not distributed."""
    if build is None:
        message = f"The distribution {run.distribution.arn} no longer exists in Image Builder."
    elif build.phase is BuildPhase.RUNNING:
        message = _describe_timeout("distribution", build)
    else:
        message = _describe_end(f"The distribution ended with status {build.status}", build)
    return _failed_data(run, Code.DISTRIBUTION_FAILED, message, build=build, amis=amis)


def _describe_timeout(subject: str, build: Build) -> str:
    return (
        f"The {subject} was still {build.status} when the stack's TrackingTimeoutHours had passed."
    )


def _describe_end(subject: str, build: Build) -> str:
    """Describe how a build ended, with the reason and error from Image Builder."""
    details = " ".join(dict.fromkeys(part for part in (build.reason, build.error) if part))
    step = f" in step {build.failed_step}" if build.failed_step else ""
    return f"{subject}{step}" + (f": {details}" if details else ".")


def _failed_data(
    run: Run,
    code: Code,
    message: str,
    *,
    build: Build | None = None,
    amis: tuple[ContractAmi, ...] = (),
) -> FailedData:
    info, attempt = CODES[code], run.import_build.attempt
    return FailedData(
        source=_get_source(run),
        code=code.value,
        message=message,
        remedy=info.remedy,
        retryable=info.retryable,
        build_arn=run.import_build.arn,
        distribution_arn=run.distribution.arn,
        amis=amis,
        status=None if build is None else build.status,
        failed_step=None if build is None else build.failed_step,
        log_group=None if build is None else build.log_group,
        log_stream=None if build is None else build.log_stream,
        attempt=None if attempt is None else attempt.number,
        execution_arn=run.execution_arn,
        docs_path=docs_path(code),
    )


def _minutes_by_status(run: Run, end: datetime) -> dict[str, float]:
    """Return the minutes in each status, from when it was first seen until the next one was."""
    seen = sorted(
        (datetime.fromisoformat(when), name) for name, when in run.status_first_seen_at.items()
    )
    ends = [when for when, _ in [*seen, (end, "")]][1:]
    return {
        name: round((until - when).total_seconds() / 60, 2)
        for (when, name), until in zip(seen, ends, strict=True)
    }
