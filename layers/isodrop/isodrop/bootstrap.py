"""Creates each function's services from its environment variables.

A service is imported in the function that creates it, so that a Lambda function loads only the
modules it needs: loading modules is most of a cold start.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3

from isodrop.aws.clients import defer_clients
from isodrop.aws.config import CONFIG, SHORT_TIMEOUT_CONFIG
from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.aws.metrics import Metrics
from isodrop.aws.staging import StagingBucket
from isodrop.domain.content import PART_SIZE
from isodrop.settings import IntakeSettings, ReportSettings, SweepSettings

if TYPE_CHECKING:
    from isodrop.services.distribution import Distributor
    from isodrop.services.intake import Intake
    from isodrop.services.reporting import Reporter
    from isodrop.services.staging import Stager
    from isodrop.services.sweep import Sweeper


def make_intake(environ: Mapping[str, str]) -> "Intake":
    """Create the service that processes uploads.

    Parameters
    ----------
    environ : mapping of str to str
        The function's environment; see :class:`~isodrop.settings.IntakeSettings`.

    Raises
    ------
    SettingsError
        A variable is missing or invalid.
    """
    from isodrop.aws.allow_list import AllowListSource
    from isodrop.services.allow_list import AllowListGate
    from isodrop.services.intake import Intake
    from isodrop.services.submission import BuildSubmitter

    settings = IntakeSettings.read(environ)
    session = defer_clients(boto3.Session())
    builder = ImageBuilder.connect(session)
    ledger = Ledger.connect(session, settings.ledger_table)
    s3 = session.client("s3", config=CONFIG)
    stager = _make_stager(settings.staging_bucket, session, builder, ledger)
    allow_list = AllowListSource(
        s3=lambda: s3,
        ssm=lambda: session.client("ssm", config=CONFIG),
        uri=settings.allow_list_source,
    )
    return Intake(
        s3=s3,
        builder=builder,
        ledger=ledger,
        settings=settings.import_settings(),
        uefi_data_uri=settings.uefi_data_uri,
        stager=stager,
        gate=AllowListGate(stager.bucket, ledger, settings.allow_list_mode, allow_list.read),
        submitter=BuildSubmitter(
            builder,
            ledger,
            settings.stack_name,
            settings.max_consecutive_failures,
            _now,
            limits=settings.build_limits(),
        ),
        now=_now,
        record_inspection=Metrics(settings.stack_name).record_inspection,
        bucket=settings.upload_bucket,
        prefix=settings.key_prefix,
        requires_malware_scan=settings.malware_scan != "none",
    )


def make_report_services(environ: Mapping[str, str]) -> "tuple[Reporter, Distributor]":
    """Create the services that publish events and start distributions.

    Parameters
    ----------
    environ : mapping of str to str
        The function's environment; see :class:`~isodrop.settings.ReportSettings`.

    Raises
    ------
    SettingsError
        A variable is missing or invalid.
    """
    return _connect_report_services(ReportSettings.read(environ), defer_clients(boto3.Session()))


def make_sweeper(
    environ: Mapping[str, str],
    log: Callable[[str, Mapping[str, Any]], None],
) -> "Sweeper":
    """Create the service that runs sweeps.

    Parameters
    ----------
    environ : mapping of str to str
        The function's environment; see :class:`~isodrop.settings.SweepSettings`.
    log : callable
        Logs a message with its fields.

    Raises
    ------
    SettingsError
        A variable is missing or invalid.
    """
    from isodrop.aws.step_functions import StepFunctions
    from isodrop.services.sweep import Sweeper

    settings = SweepSettings.read(environ)
    session = defer_clients(boto3.Session())
    reporter, distributor = _connect_report_services(settings, session)
    return Sweeper(
        s3=session.client("s3", config=CONFIG),
        builder=distributor.builder,
        ledger=reporter.ledger,
        executions=StepFunctions.connect(session, settings.state_machine_arn),
        distributor=distributor,
        outcomes=reporter.outcomes,
        reporter=reporter,
        bucket=settings.upload_bucket,
        prefix=settings.key_prefix,
        requires_malware_scan=settings.malware_scan != "none",
        tracking_timeout=timedelta(hours=settings.tracking_hours),
        now=_now,
        log=log,
    )


def make_staging_bucket(environ: Mapping[str, str]) -> StagingBucket:
    """Create the adapter of the staging bucket that the environment names."""
    return StagingBucket.connect(boto3.Session(), environ["STAGING_BUCKET"])


def make_metrics(environ: Mapping[str, str]) -> Metrics:
    """Create the metrics of the stack that the environment names."""
    return Metrics(environ["STACK_NAME"])


def _connect_report_services(
    settings: ReportSettings, session: boto3.Session
) -> "tuple[Reporter, Distributor]":
    from isodrop.aws.event_bus import EventPublisher
    from isodrop.services.annotations import Annotator
    from isodrop.services.distribution import Distributor
    from isodrop.services.latest import LatestParameters
    from isodrop.services.outcomes import OutcomeReader
    from isodrop.services.reporting import Reporter
    from isodrop.services.submission import BuildSubmitter

    ledger = Ledger.connect(session, settings.ledger_table, settings.run_retention())
    builder = ImageBuilder.connect(session)
    short_timeout_builder = ImageBuilder.connect(session, SHORT_TIMEOUT_CONFIG)
    submitter = BuildSubmitter(
        builder, ledger, settings.stack_name, settings.max_consecutive_failures, _now
    )
    reporter = Reporter(
        ledger=ledger,
        publisher=EventPublisher(session.client("events", config=CONFIG), settings.event_bus),
        outcomes=OutcomeReader(builder, ledger, _now),
        stager=_make_stager(settings.staging_bucket, session, builder, ledger),
        annotator=Annotator(
            s3=session.client("s3", config=SHORT_TIMEOUT_CONFIG),
            builder=short_timeout_builder,
            latest=LatestParameters(
                builder=short_timeout_builder,
                ssm=session.client("ssm", config=SHORT_TIMEOUT_CONFIG),
                ledger=ledger,
                across_windows_builds=settings.latest_across_windows_builds,
                now=_now,
            ),
            clock=time.monotonic,
        ),
        stack=settings.stack_name,
        now=_now,
        count_answer=Metrics(settings.stack_name).record_answer,
    )
    return reporter, Distributor(builder, ledger, submitter, settings.distribution_settings(), _now)


def _make_stager(
    bucket: str, session: boto3.Session, builder: ImageBuilder, ledger: Ledger
) -> "Stager":
    from isodrop.services.staging import Stager

    return Stager(StagingBucket.connect(session, bucket), builder, ledger, _now, PART_SIZE)


def _now() -> datetime:
    return datetime.now(UTC)
