"""Paths through the state machine: the result of each call, and how the execution ends.

A path names no states. It has the results of the calls by their kind: what the functions and Image
Builder return or raise. Any interpreter of Amazon States Language can run it.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from isodrop_local.template import definition

Json = dict[str, Any]
BUILD: Final = "arn:aws:imagebuilder:us-east-1:123456789012:image/windows-11/11.26100.1742/1"
COPY: Final = "arn:aws:imagebuilder:us-east-1:123456789012:image/windows-11/11.26100.1742/2"
UPLOAD: Final[Json] = {
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "source": "aws.s3",
    "detail": {"bucket": {"name": "drops"}, "object": {"key": "Win11.iso", "size": 6_000_000_000}},
}
POLL_SECONDS, TRACKING_HOURS = 900, 14
POLLS: Final = math.ceil(TRACKING_HOURS * 3600 / (1.5 * POLL_SECONDS))
"""The number of polls of a build that never leaves BUILDING."""

IMPORT, STARTED, PROGRESSED = "import", "started", "progressed"
DISTRIBUTE, ANSWER = "distribute", "answer"
GET_IMAGE, COUNT = "getImage", "listWorkflowExecutions"


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A call that fails several times."""

    error: str
    cause: str = "as the path defines it"
    times: int = 1


FOREVER: Final = 10_000


def next_step(name: str, build: str | None = None) -> Json:
    """The result of ImportIso."""
    return {"StatusCode": 200, "Payload": {"nextStep": name, "buildArn": build}}


def report_result(payload: Any = None) -> Json:
    """The result of ReportBuild."""
    return {"StatusCode": 200, "Payload": payload or {}}


def image(status: str) -> Json:
    """The result of GetImage."""
    return {"Image": {"Arn": BUILD, "State": {"Status": status}}}


def steps(*done: int) -> Json:
    """The result of ListWorkflowExecutions: workflows with these counts of finished steps."""
    return {"WorkflowExecutions": [{"TotalStepsSucceeded": each} for each in done]}


TRACK: Final = next_step("track", BUILD)
ANSWERED: Final = report_result(
    {"detailType": "ISO Import Succeeded", "eventId": "e", "code": None}
)
BUILDING, AVAILABLE = image("BUILDING"), image("AVAILABLE")
USUAL: Final[Mapping[str, Sequence[Any]]] = {
    IMPORT: [TRACK],
    STARTED: [report_result()],
    PROGRESSED: [report_result()],
    DISTRIBUTE: [report_result({"buildArn": None})],
    ANSWER: [ANSWERED],
    GET_IMAGE: [BUILDING, AVAILABLE],
    COUNT: [steps(1)],
}
"""The default results of calls; the last one is repeated."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path.

    Attributes
    ----------
    name : str
        A short description.
    results : mapping
        The results of calls by kind, in order; the last one is repeated.
    calls : mapping
        The expected number of calls by kind; other kinds are not checked.
    error : str or None
        The error that the execution fails with, if it fails.
    """

    name: str
    results: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None


def _ended_as(status: str) -> Path:
    return Path(
        f"a build that is {status}",
        {GET_IMAGE: [BUILDING, image(status)]},
        {GET_IMAGE: 2, ANSWER: 1},
    )


PATHS: Final = (
    Path(
        "accepted", calls={IMPORT: 1, STARTED: 1, GET_IMAGE: 2, COUNT: 1, PROGRESSED: 1, ANSWER: 1}
    ),
    Path("rejected", {IMPORT: [next_step("answer")]}, {IMPORT: 1, GET_IMAGE: 0, ANSWER: 1}),
    Path("repeated", {IMPORT: [next_step("skip")]}, {IMPORT: 1, GET_IMAGE: 0, ANSWER: 0}),
    Path("an unknown next step", {IMPORT: [next_step("dance")]}, {IMPORT: 1, ANSWER: 0}),
    Path(
        "quota for a while",
        {IMPORT: [CallFailure("QuotaError", times=20), TRACK]},
        {IMPORT: 21, ANSWER: 1},
    ),
    Path(
        "quota forever",
        {IMPORT: [CallFailure("QuotaError", times=FOREVER)]},
        {IMPORT: 201, GET_IMAGE: 0, ANSWER: 1},
    ),
    Path(
        "throttled for a while",
        {IMPORT: [CallFailure("TransientError", times=20), TRACK]},
        {IMPORT: 21, ANSWER: 1},
    ),
    Path(
        "throttled forever",
        {IMPORT: [CallFailure("TransientError", times=FOREVER)]},
        {IMPORT: 61, ANSWER: 1},
    ),
    Path(
        "Lambda throttled",
        {IMPORT: [CallFailure("Lambda.TooManyRequestsException", times=30), TRACK]},
        {IMPORT: 31, ANSWER: 1},
    ),
    Path(
        "each kind of error has its own retries",
        {
            IMPORT: [
                CallFailure("QuotaError", times=90),
                CallFailure("Sandbox.Timedout", times=4),
                CallFailure("TransientError", times=55),
                CallFailure("QuotaError", times=5),
                TRACK,
            ]
        },
        {IMPORT: 155, ANSWER: 1},
    ),
    Path(
        "a function that crashes twice",
        {IMPORT: [CallFailure("Runtime.ExitError", times=2), TRACK]},
        {IMPORT: 3, ANSWER: 1},
    ),
    Path(
        "a function that always crashes",
        {IMPORT: [CallFailure("Runtime.ExitError", times=FOREVER)]},
        {IMPORT: 5, ANSWER: 1},
    ),
    Path(
        "a function that hangs once",
        {IMPORT: [CallFailure("States.Timeout"), TRACK]},
        {IMPORT: 2, ANSWER: 1},
    ),
    Path(
        "a function that always hangs",
        {IMPORT: [CallFailure("States.Timeout", times=FOREVER)]},
        {IMPORT: 5, ANSWER: 1},
    ),
    Path("refused", {IMPORT: [CallFailure("RefusedError", times=FOREVER)]}, {IMPORT: 5, ANSWER: 1}),
    Path(
        "a next step without a build's ARN",
        {IMPORT: [{"StatusCode": 200, "Payload": {"nextStep": "track"}}]},
        {IMPORT: 5, GET_IMAGE: 0, ANSWER: 1},
    ),
    Path(
        "a next step of more than 256 KiB",
        {IMPORT: [{"StatusCode": 200, "Payload": {"nextStep": "x" * 262_144}}]},
        {IMPORT: 1, GET_IMAGE: 0},
        error="States.DataLimitExceeded",
    ),
    *map(_ended_as, ("FAILED", "CANCELLED", "DEPRECATED", "DELETED", "DISABLED")),
    Path(
        "an unknown build",
        {GET_IMAGE: [CallFailure("Imagebuilder.ResourceNotFoundException", times=FOREVER)]},
        {GET_IMAGE: 2, ANSWER: 1},
    ),
    Path(
        "a build that is found a little later",
        {GET_IMAGE: [CallFailure("Imagebuilder.ResourceNotFoundException", times=1), AVAILABLE]},
        {GET_IMAGE: 2, ANSWER: 1},
    ),
    Path(
        "a build that cannot be read for a while",
        {
            GET_IMAGE: [
                CallFailure("Imagebuilder.CallRateLimitExceededException", times=5),
                CallFailure("Imagebuilder.ImagebuilderException", times=3),
                CallFailure("Imagebuilder.SdkClientException", times=2),
                AVAILABLE,
            ]
        },
        {GET_IMAGE: 11, ANSWER: 1},
    ),
    Path(
        "a build that can never be read",
        {GET_IMAGE: [CallFailure("Imagebuilder.ForbiddenException", times=FOREVER)]},
        {GET_IMAGE: 12, ANSWER: 1},
    ),
    Path(
        "an unknown status",
        {GET_IMAGE: [image("PONDERING"), image("PONDERING"), AVAILABLE]},
        {GET_IMAGE: 3, PROGRESSED: 1, ANSWER: 1},
    ),
    Path(
        "no status at all",
        {GET_IMAGE: [{"Image": {"Arn": BUILD}}, AVAILABLE]},
        {GET_IMAGE: 2, PROGRESSED: 1, ANSWER: 1},
    ),
    Path(
        "a build that does not end",
        {GET_IMAGE: [BUILDING]},
        {GET_IMAGE: POLLS, PROGRESSED: 1, ANSWER: 1},
    ),
    Path(
        "step counts that rise",
        {
            # In BUILDING the steps are read with every third poll.
            GET_IMAGE: [*[BUILDING] * 10, AVAILABLE],
            COUNT: [steps(), steps(1), steps(2, 1), steps(2, 1)],
        },
        {COUNT: 4, PROGRESSED: 3, ANSWER: 1},
    ),
    Path(
        "step counts that fail",
        {COUNT: [CallFailure("Imagebuilder.ClientException", times=FOREVER)]},
        {COUNT: 1, PROGRESSED: 1, ANSWER: 1},
    ),
    Path(
        "step counts without numbers",
        {COUNT: [{"WorkflowExecutions": [{"Status": "RUNNING"}]}]},
        {COUNT: 1, PROGRESSED: 1, ANSWER: 1},
    ),
    Path(
        "Started cannot be published",
        {STARTED: [CallFailure("TransientError", times=FOREVER)]},
        {STARTED: 21, GET_IMAGE: 2, ANSWER: 1},
    ),
    Path(
        "Progressed cannot be published",
        {
            PROGRESSED: [CallFailure("TransientError", times=FOREVER)],
            GET_IMAGE: [BUILDING, BUILDING, AVAILABLE],
        },
        {PROGRESSED: 8, GET_IMAGE: 3, ANSWER: 1},
    ),
    Path(
        "Progressed is published at the third attempt",
        {PROGRESSED: [CallFailure("TransientError", times=2), report_result()]},
        {PROGRESSED: 3, ANSWER: 1},
    ),
    Path(
        "distributed",
        {
            DISTRIBUTE: [report_result({"buildArn": COPY})],
            GET_IMAGE: [BUILDING, AVAILABLE, image("DISTRIBUTING"), AVAILABLE],
        },
        {GET_IMAGE: 4, PROGRESSED: 2, DISTRIBUTE: 1, ANSWER: 1},
    ),
    Path(
        "a distribution that is waited for",
        {
            DISTRIBUTE: [CallFailure("QuotaError", times=40), report_result({"buildArn": COPY})],
            GET_IMAGE: [AVAILABLE],
        },
        {GET_IMAGE: 2, DISTRIBUTE: 41, ANSWER: 1},
    ),
    Path(
        "a distribution that can never be started",
        {DISTRIBUTE: [CallFailure("TransientError", times=FOREVER)], GET_IMAGE: [AVAILABLE]},
        {GET_IMAGE: 1, DISTRIBUTE: 41, ANSWER: 1},
    ),
    Path(
        "an unknown distribution",
        {
            DISTRIBUTE: [report_result({"buildArn": COPY})],
            GET_IMAGE: [
                AVAILABLE,
                CallFailure("Imagebuilder.ResourceNotFoundException", times=FOREVER),
            ],
        },
        {GET_IMAGE: 3, DISTRIBUTE: 1, ANSWER: 1},
    ),
    Path(
        "an answer after forty failures",
        {ANSWER: [CallFailure("TransientError", times=40), ANSWERED]},
        {ANSWER: 41},
    ),
    Path(
        "an answer that only PublishAnswerAfterError publishes",
        {ANSWER: [CallFailure("TransientError", times=41), ANSWERED]},
        {ANSWER: 42},
    ),
    Path(
        "an answer that can never be published",
        {ANSWER: [CallFailure("TransientError", times=FOREVER)]},
        {ANSWER: 41 + 61},
        error="TransientError",
    ),
)


def make_definition() -> Json:
    """Return the state machine's definition for these paths."""
    return definition(PollIntervalSeconds=POLL_SECONDS, TrackingTimeoutHours=TRACKING_HOURS)


class CallError(Exception):
    """A call that fails because its path defines it."""

    def __init__(self, error: str, cause: str) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class Script:
    """Responds to the calls of one run of a path, and records them.

    Attributes
    ----------
    calls : list
        Each call's resource and arguments, in order.
    """

    def __init__(self, path: Path) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._results = {**USUAL, **path.results}
        self._call_counts: Counter[str] = Counter()

    def respond(self, resource: str, arguments: Any) -> Any:
        """Respond to a call.

        Raises
        ------
        CallError
            The path defines that the call fails.
        """
        self.calls.append((resource, arguments))
        kind = kind_of(resource, arguments)
        index = self._call_counts[kind]
        self._call_counts[kind] += 1
        for result in self._results[kind]:
            index -= result.times if isinstance(result, CallFailure) else 1
            if index < 0:
                break
        if isinstance(result, CallFailure):
            raise CallError(result.error, result.cause)
        return result


def kind_of(resource: str, arguments: Any) -> str:
    """Return the kind of a call: the kind of report, ``import``, or Image Builder's action."""
    if not resource.endswith("lambda:invoke"):
        return resource.rpartition(":")[2]
    return str(arguments["Payload"].get("report", {"kind": IMPORT})["kind"])
