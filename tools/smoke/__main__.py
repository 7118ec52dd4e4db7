"""One real import on a deployed stack: ``make smoke ISO=Win11.iso``. It costs one build.

Runs ``isodrop doctor``, prints the cost and asks for consent, uploads the ISO, follows its import,
and prints which assumptions about undocumented behavior hold.
"""

import argparse
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from isodrop.domain.model import ImportPlan
from isodrop.domain.run import Attempt, Run
from isodrop.errors import AccessDeniedError, IsodropError
from isodrop_cli.commands import doctor
from isodrop_cli.doctor import CachingApi, CheckContext, run_checks
from isodrop_cli.exit_codes import ExitCode
from isodrop_cli.operations import StackOperations
from isodrop_cli.output.console import console, print_error, print_fields, print_table
from isodrop_cli.output.run_format import EXIT_CODES, answer_kind, get_state, parse_answer
from isodrop_cli.stack import add_stack_options, find_stack, open_operations
from tools.smoke import points

POLL_SECONDS: Final = 10.0
COSTS: Final = """
This uploads {iso} to {bucket}, and Image Builder builds it:
  - one build: an EC2 instance with its volume, for 20 to 40 minutes, sometimes for hours;
  - its AMI's snapshot and the ISO, for as long as you keep them;
  - the import is requested again with the same token; if AWS starts a second build for it,
    that build is cancelled at once;
  - the import of an object that does not exist is requested; if AWS starts a build for it,
    that build is cancelled at once.
"""
_EPILOG: Final = """\
exit status: 0 succeeded and no point differs, 1 could not run, or no consent,
2 usage error, 3 rejected, 4 failed, or doctor found errors,
5 succeeded, but a point differs from what is expected
"""


@dataclass(slots=True)
class Observations:
    """What was observed while the run was followed."""

    found: list[points.Point] = field(default_factory=list)
    build_seen_at: float | None = None
    listed_at: float | None = None


def main(
    arguments: list[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """Run the import and print the observations; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make smoke",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("iso", type=_iso, help="a real ISO")
    parser.add_argument(
        "--yes", action="store_true", help="start the build without asking for consent"
    )
    add_stack_options(parser)
    options = parser.parse_args(arguments)
    if environ.get("CI"):
        print_error("this costs a build and is for people; it does not run in CI")
        return ExitCode.ERROR
    if not options.iso.is_file():
        print_error(f"{options.iso}: there is no such file")
        return ExitCode.ERROR
    try:
        return _smoke(options, sleep)
    except IsodropError as error:
        print_error(str(error))
        return ExitCode.ERROR


def _iso(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("name one: make smoke ISO=Win11.iso")
    return Path(text)


def _smoke(options: argparse.Namespace, sleep: Callable[[float], object]) -> int:
    with find_stack(options) as (session, stack):
        context = CheckContext(CachingApi(session), stack, datetime.now(UTC), options.profile)
        findings = tuple(run_checks(context))
    doctor.print_results(findings)
    if doctor.has_errors(findings):
        print_error("fix the errors first: nothing was spent")
        return ExitCode.FAILED
    print(COSTS.format(iso=options.iso, bucket=context.bucket), flush=True)
    if not options.yes and not _ask_consent():
        print_error("no consent: nothing was spent")
        return ExitCode.ERROR
    with open_operations(options) as operator:
        key = _upload(operator, context, options.iso)
        run, observations = _follow(operator, key, sleep)
        return _print_report(operator, session, run, observations)


def _ask_consent() -> bool:
    try:
        return input("Type yes to continue: ").strip().lower() == "yes"
    except EOFError:
        return False


def _upload(operator: StackOperations, context: CheckContext, iso: Path) -> str:
    """Upload the ISO; if overrides allow it, as an import of its own, so that a build starts."""
    key = context.parameter("KeyPrefix") + iso.name
    metadata = {}
    if "rebuild" in context.parameter("AllowedOverrides").split(","):
        metadata["rebuild"] = f"smoke-{context.now:%Y%m%d-%H%M%S}"
    print(f"uploading to s3://{operator.bucket}/{key}", flush=True)
    operator.s3.upload_file(str(iso), operator.bucket, key, ExtraArgs={"Metadata": metadata})
    return key


def _follow(
    operator: StackOperations, key: str, sleep: Callable[[float], object]
) -> tuple[Run, Observations]:
    """Wait for the answer, and observe meanwhile what is not documented."""
    observations, state = Observations(), ""
    while True:
        run = operator.get_history(operator.bucket, key).last
        if run is None:
            sleep(POLL_SECONDS)
            continue
        if get_state(run) != state:
            state = get_state(run)
            build_arn = run.import_build.arn
            print(f"{datetime.now(UTC):%H:%M:%S}  {state}  {build_arn or ''}", flush=True)
        if run.import_build.arn is not None:
            if observations.build_seen_at is None:
                observations.build_seen_at = time.monotonic()
                observations.found.append(_repeat_request(operator, run, "at once"))
            if observations.listed_at is None and _is_listed(operator, run.import_build.arn):
                observations.listed_at = time.monotonic()
        if run.answered_at is not None:
            return run, observations
        sleep(POLL_SECONDS)


def _repeat_request(operator: StackOperations, run: Run, when: str) -> points.Point:
    """Send the frozen request once more."""
    attempt, build_arn = _attempt(operator, run), str(run.import_build.arn)
    if attempt is None:
        return points.token(when, build_arn, None, "no attempt is known")
    try:
        repeated_arn = operator.builder.import_disk_image(attempt.request)
    except AccessDeniedError:
        return points.token(
            when, build_arn, None, "you lack permission for ImportDiskImage or PassRole"
        )
    if repeated_arn != build_arn:
        operator.builder.cancel_build(repeated_arn)
    return points.token(when, build_arn, repeated_arn)


def _attempt(operator: StackOperations, run: Run) -> Attempt | None:
    if run.import_build.attempt is None:
        return None
    return operator.ledger.get_attempt(run.import_build.attempt)


def _is_listed(operator: StackOperations, build_arn: str) -> bool:
    version = build_arn.rsplit("/", 1)[0]
    listed = operator.builder.imagebuilder.list_image_build_versions(imageVersionArn=version)
    return any(each.get("arn") == build_arn for each in listed.get("imageSummaryList", ()))


def _print_report(
    operator: StackOperations, session: Any, run: Run, observations: Observations
) -> int:
    answer = parse_answer(run) or {}
    kind = answer_kind(answer)
    data = answer["detail"]["data"]
    history = list(_history(operator, run.execution_arn))
    found = [
        *observations.found,
        *_points(operator, run, observations, history, kind),
        *_observe_surroundings(operator, session, run, data),
    ]
    print(f"\nthe answer: {kind}  {data.get('message', '')}")
    rows = [(each.result, each.name, each.expected, each.observed) for each in found]
    if screen := console():
        columns = ("Result", "Point", "Expected", "Observed")
        print_table(screen, columns, rows, folding=columns[2:])
    else:
        for row in rows:
            print_fields(*row)
    differs = any(each.result == points.DIFFERS for each in found)
    return EXIT_CODES[kind] or (points.POINT_DIFFERS if differs else ExitCode.OK)


def _points(
    operator: StackOperations, run: Run, observations: Observations, history: list[Any], kind: str
) -> Iterator[points.Point]:
    if run.import_build.arn is not None:
        if kind == "Succeeded":
            yield _repeat_request(operator, run, "after the end")
        lag = (
            None
            if observations.listed_at is None or observations.build_seen_at is None
            else observations.listed_at - observations.build_seen_at
        )
        yield points.lag(lag)
        image = operator.builder.imagebuilder.get_image(imageBuildVersionArn=run.import_build.arn)[
            "image"
        ]
        attempt = _attempt(operator, run)
        yield points.tags(attempt.request["tags"] if attempt else {}, image.get("tags", {}))
    if isinstance(run.decision, ImportPlan):
        yield points.release(run.decision)
    head = operator.s3.head_object(Bucket=operator.bucket, Key=run.upload.key)
    yield points.kms_key(head.get("ServerSideEncryption"), kind)
    yield points.steps(history)
    yield points.failure(history, kind)
    yield points.quota(history)


def _observe_surroundings(
    operator: StackOperations, session: Any, run: Run, data: Mapping[str, Any]
) -> Iterator[points.Point]:
    """Observe the build's AMI and log, and an import of an object that does not exist."""
    if run.import_build.arn is None:
        return
    home = operator.builder.ec2.meta.region_name
    amis = data.get("amis", [])
    image = operator.builder.imagebuilder.get_image(imageBuildVersionArn=run.import_build.arn)[
        "image"
    ]
    yield points.ami_tags(image.get("tags", {}), _ami_tags(operator, home, amis))
    yield points.distributed_names(home, amis)
    yield _log_writers(session, data.get("logGroup") or f"/aws/imagebuilder/{image['name']}")
    yield _without_object(operator, run)


def _ami_tags(
    operator: StackOperations, home: str, amis: Iterable[Mapping[str, Any]]
) -> dict[str, str] | None:
    ids = [str(each["id"]) for each in amis if each["region"] == home]
    found = operator.builder.ec2.describe_images(ImageIds=ids)["Images"] if ids else []
    if not found:
        return None
    return {each["Key"]: each["Value"] for each in found[0].get("Tags", [])}


def _log_writers(session: Any, log_group: str) -> points.Point:
    """Look up events in CloudTrail, which has them some minutes later."""
    lookup = [{"AttributeKey": "EventName", "AttributeValue": "CreateLogStream"}]
    try:
        events = session.client("cloudtrail").lookup_events(LookupAttributes=lookup)["Events"]
    except (BotoCoreError, ClientError) as error:
        return points.log_writers(None, str(error)[:200])
    users = [each["Username"] for each in events if log_group in each.get("CloudTrailEvent", "")]
    return points.log_writers(users, f"CloudTrail knows of no stream in {log_group} yet")


def _without_object(operator: StackOperations, run: Run) -> points.Point:
    """Send the frozen request for an object that does not exist, under another name."""
    attempt = _attempt(operator, run)
    if attempt is None:
        return points.missing_object(None, None, "no attempt is known")
    own = f"isodrop-smoke-{uuid.uuid4().hex[:12]}"
    uri = f"s3://{operator.bucket}/{own}.iso"
    request: Any = {**attempt.request, "name": own, "uri": uri, "clientToken": str(uuid.uuid4())}
    try:
        build_arn = operator.builder.import_disk_image(request)
    except AccessDeniedError:
        return points.missing_object(
            None, None, "you lack permission for ImportDiskImage or PassRole"
        )
    except IsodropError as error:
        return points.missing_object(str(error)[:200], None)
    operator.builder.cancel_build(build_arn)
    return points.missing_object(None, build_arn)


def _history(operator: StackOperations, execution: str) -> Iterator[Mapping[str, Any]]:
    pages = operator.executions.client.get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=execution):
        yield from (dict(event) for event in page["events"])


if __name__ == "__main__":
    sys.exit(main())
