"""Checks the final state of a run against the guarantees, from outside. Pure.

It knows what was uploaded, and relies on neither the ledger's import keys nor the answers. Each
violation is a sentence.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

Json = Mapping[str, Any]
_ANSWERS: Final = frozenset({"ISO Import Succeeded", "ISO Import Failed", "ISO Import Rejected"})
_DEAD: Final = frozenset({"FAILED", "CANCELLED", "DELETED", "DISABLED"})
_TERMINAL: Final = _DEAD | {"AVAILABLE"}
_STATUSES_BY_CODE: Final[Mapping[str, frozenset[str]]] = {
    "build-failed": frozenset({"FAILED"}),
    "build-cancelled": frozenset({"CANCELLED"}),
    "build-gone": frozenset({"DELETED", "DISABLED"}),
}
"""The statuses of which a build must have had one, for a failure with the code."""
_EXCUSES: Final = frozenset(
    {"internal-error", "service-unavailable", "access-denied", "execution-ended"}
)


@dataclass(frozen=True, slots=True)
class UploadedIso:
    """One upload, as the uploader knows it.

    Attributes
    ----------
    key, version : str
        The object's; the version tells one write from another.
    iso, edition, rebuild : str
        What identifies its import.
    deleted : bool
        Whether that version was permanently deleted.
    announced : bool
        Whether S3's event was delivered; if not, only the sweep finds the upload.
    decision : str
        The code that it must be rejected with after its inspection; empty if it is importable.
    """

    key: str
    version: str
    iso: str
    edition: str
    rebuild: str
    deleted: bool
    decision: str
    announced: bool = True

    @property
    def import_key(self) -> tuple[str, str, str]:
        """The import that it belongs to."""
        return self.iso, self.edition, self.rebuild


@dataclass(frozen=True, slots=True)
class BuildCounts:
    """The limits of builds, and what the ledger counts.

    Attributes
    ----------
    at_once, per_day : int
        The limits of the deployed stack.
    days : mapping of str to str
        The day of each attempt, by its token, including attempts without a build.
    today : mapping of str to int
        The ledger's count of builds, by day.
    under_way : frozenset of str
        The tokens of the attempts that count as under way.
    """

    at_once: int
    per_day: int
    days: Mapping[str, str]
    today: Mapping[str, int]
    under_way: frozenset[str]


@dataclass(frozen=True, slots=True)
class FinalState:
    """The state in which a run ended, read from outside.

    Attributes
    ----------
    uploaded : sequence of UploadedIso
    published : sequence of mapping
        The events that a subscriber got: ``detail-type`` and ``detail``.
    builds : sequence of mapping
        Their history, from the fake Image Builder, the oldest first.
    executions : mapping of str to str
        Status by ARN.
    versions : mapping of str to str
        The object version by upload id, from the ledger.
    build_counts : BuildCounts or None
        The limits, and what the ledger counted.
    staged : sequence of str
        URIs of the remaining copies, finished or not.
    maybe_sent : frozenset of str
        URIs of copies whose import may have been submitted, from the ledger.
    maybe_tokens : frozenset of str
        The tokens of those imports.
    lost_copies : bool
        Whether copies were deleted by hand.
    lost_amis : mapping of str to float
        AMIs that were deregistered by hand, and when.
    undelivered : int
        The number of events in the dead-letter queue.
    violations : sequence of str
        Calls that Image Builder forbids.
    isos : mapping of str to str
        The name of the ISO by the ETag of its copy.
    distributions : sequence of mapping
        The distributions, in the form of ``builds``.
    distributes : bool
        Whether the stack distributes every image.
    run_counts : mapping of str to int
        The number of runs of each object version, from the ledger; one unless it was retried.
    """

    uploaded: Sequence[UploadedIso]
    published: Sequence[Json]
    builds: Sequence[Json]
    executions: Mapping[str, str]
    versions: Mapping[str, str]
    lost_amis: Mapping[str, float]
    undelivered: int
    violations: Sequence[str]
    isos: Mapping[str, str]
    distributions: Sequence[Json] = ()
    distributes: bool = False
    run_counts: Mapping[str, int] = field(default_factory=dict)
    build_counts: "BuildCounts | None" = None
    staged: Sequence[str] = ()
    maybe_sent: frozenset[str] = frozenset()
    lost_copies: bool = False
    maybe_tokens: frozenset[str] = frozenset()

    @property
    def ours(self) -> Sequence[Json]:
        """The builds that isodrop started."""
        return [build for build in self.builds if "isodrop:upload" in build["request"]["tags"]]

    def count_runs(self, run: UploadedIso) -> int:
        """Count the runs of an upload, each of which must have an answer."""
        return max(1, self.run_counts.get(run.version, 1))

    def find_upload(self, build: Json) -> UploadedIso | None:
        """Find the upload that a build was started for."""
        version = self.versions.get(build["request"]["tags"]["isodrop:upload"])
        return next((each for each in self.uploaded if each.version == version), None)


def find_violations(
    end: FinalState, *, max_consecutive_failures: int, retries_suffice: bool = True
) -> list[str]:
    """List the violations of the guarantees, a sentence each.

    Parameters
    ----------
    end : FinalState
    max_consecutive_failures : int
        How many builds of one import may fail in a row.
    retries_suffice : bool
        Whether no fault lasted longer than isodrop retries; then no answer may have a code of
        infrastructure errors.
    """
    return [
        *_check_answers(end, retries_suffice=retries_suffice),
        *_check_builds(end, max_consecutive_failures),
        *_check_distributions(end, max_consecutive_failures),
        *_check_all_has_ended(end, retries_suffice=retries_suffice),
        *_check_copies(end),
        *_check_build_limits(end),
        *(f"Image Builder saw: {violation}" for violation in end.violations),
    ]


def _answers(end: FinalState) -> Mapping[tuple[str, int], list[Json]]:
    """Group the distinct answers by object version and run."""
    found: dict[tuple[str, int], dict[str, Json]] = defaultdict(dict)
    for event in end.published:
        if event["detail-type"] in _ANSWERS:
            content = json.dumps([event["detail-type"], event["detail"]], sort_keys=True)
            version = event["detail"]["data"]["source"]["versionId"]
            found[version, event["detail"]["metadata"].get("run", 0)][content] = event
    return {about: [*by_content.values()] for about, by_content in found.items()}


def _check_answers(end: FinalState, *, retries_suffice: bool) -> Iterator[str]:
    answers = _answers(end)
    ids: dict[str, tuple[str, int]] = {}
    expected_runs = [
        (run, request) for run in end.uploaded for request in range(end.count_runs(run))
    ]
    for run, request in expected_runs:
        name = f"{run.key} {run.version}" + (f" (retry {request})" if request else "")
        found = answers.get((run.version, request), [])
        codes = [_short(answer) for answer in found]
        if not found and run.deleted and not run.announced:
            continue  # deleted before a sweep could find it
        if len(found) != 1:
            yield f"{name} has {len(found)} answers: {codes}"
        for answer in found:
            event_id = answer["detail"]["metadata"]["eventId"]
            if ids.setdefault(event_id, (run.version, request)) != (run.version, request):
                yield f"two uploads have an answer with the eventId {event_id}"
            message = answer["detail"]["data"].get("message")
            if retries_suffice and _is_excused(end, answer["detail"]["data"]):
                yield f"{name} failed for a transient reason, {_short(answer)}: {message}"
            for wrong in _check_answer(end, run, answer):
                yield f"{name}: {wrong}"
    for version, request in answers.keys() - {
        (run.version, request) for run, request in expected_runs
    }:
        yield f"there is an answer about {version}, which nobody uploaded or retried ({request})"


def _is_excused(end: FinalState, data: Json) -> bool:
    """Whether an answer blames the infrastructure, though its execution was not aborted."""
    if data.get("code") == "execution-ended":
        return end.executions[data["executionArn"]] != "ABORTED"
    return data.get("code") in _EXCUSES


def _short(answer: Json) -> str:
    kind: str = answer["detail-type"].removeprefix("ISO Import ")
    return f"{kind} {answer['detail']['data'].get('code', '')}".strip()


def _check_answer(end: FinalState, run: UploadedIso, answer: Json) -> Iterator[str]:
    """Compare an answer with the upload, and with the build that it names."""
    data = answer["detail"]["data"]
    code = data.get("code")
    if run.decision:
        if code not in {run.decision, "object-gone", *_EXCUSES}:
            yield f"should be {run.decision}, is {_short(answer)}"
    elif answer["detail-type"] == "ISO Import Rejected":
        yield from _check_rejection(end, run, code)
    elif data.get("buildArn") is None:
        if answer["detail-type"] == "ISO Import Succeeded":
            yield "succeeded without a build"
        if code == "staging-lost" and not end.lost_copies:
            yield "nobody deleted a copy"
    else:
        build = next((each for each in end.ours if each["arn"] == data["buildArn"]), None)
        if build is None:
            yield f"names {data['buildArn']}, which isodrop never started"
        else:
            yield from _check_against_build(end, run, answer, build)


def _check_rejection(end: FinalState, run: UploadedIso, code: str) -> Iterator[str]:
    """Check the rejection of an importable upload."""
    if code == "daily-limit-reached" and end.build_counts is not None:
        days, per_day = Counter(end.build_counts.days.values()), end.build_counts.per_day
        if max(days.values(), default=0) < per_day:
            yield f"daily-limit-reached, but of {per_day} a day there were {dict(days)}"
    elif code not in {"object-gone", "too-many-attempts"}:
        yield f"an importable ISO was rejected: {code}"
    if code == "object-gone" and not run.deleted:
        yield "nobody deleted that version"
    for build in end.ours:
        # An earlier run of a retried upload may have had a build.
        if end.find_upload(build) == run and end.count_runs(run) == 1:
            yield f"rejected with {code}, but {build['arn']} was built for it"


def _check_against_build(
    end: FinalState, run: UploadedIso, answer: Json, build: Json
) -> Iterator[str]:
    """Compare an answer with the build that it names."""
    data, arn = answer["detail"]["data"], build["arn"]
    states = {each["status"] for each in build["history"]}
    began = end.find_upload(build)
    if began is None or began.import_key != run.import_key:
        yield f"names {arn}, which is another import's"
        return
    if answer["detail"]["metadata"]["attemptId"] not in {build["token"], None}:
        yield f"has the attemptId of another build than {arn}"
    if answer["detail-type"] == "ISO Import Succeeded":
        if "AVAILABLE" not in states:
            yield f"succeeded, but {arn} never was AVAILABLE"
        if end.isos.get(str(build["etagRead"])) != run.iso:
            yield f"succeeded, but {arn} was made of {build['etagRead']}"
        if end.count_runs(run) == 1 and data["reused"] != (began != run):
            yield f"reused is {data['reused']}, but {arn} is of {began}"
        yield from _check_against_distribution(end, data)
        return
    if data["code"] == "distribution-failed" and not data.get("amis"):
        yield f"was not distributed, and names no AMI of {arn}"
    wanted = _STATUSES_BY_CODE.get(data["code"])
    if wanted and not wanted & states:
        yield f"is {data['code']}, but {arn} was {', '.join(sorted(states))}"


def _check_against_distribution(end: FinalState, data: Json) -> Iterator[str]:
    """Compare a success with the distribution of its image."""
    arn = data.get("distributionArn")
    made = next((each for each in end.distributions if each["arn"] == arn), None)
    if made is None:
        if end.distributes or arn is not None:
            yield f"succeeded, but was not distributed: {arn}"
        return
    if made["source"] != data["buildArn"]:
        yield f"succeeded, but {arn} is of {made['source']}"
    if "AVAILABLE" not in {each["status"] for each in made["history"]}:
        yield f"succeeded, but {arn} never was AVAILABLE"
    copies = {ami["image"] for ami in made["outputResources"]["amis"]}
    if not copies <= {ami["id"] for ami in data["amis"]}:
        yield f"succeeded, and does not name all AMIs of {arn}"


def _check_builds(end: FinalState, max_consecutive_failures: int) -> Iterator[str]:
    imports: dict[tuple[str, str, str], list[Json]] = defaultdict(list)
    for build in end.ours:
        run = end.find_upload(build)
        if run is None:
            yield f"{build['arn']} was started for an unknown upload"
        else:
            imports[run.import_key].append(build)
    tokens = [build["token"] for build in (*end.ours, *end.distributions)]
    if len(set(tokens)) != len(tokens):
        yield "two builds have one token"
    for import_key, builds in imports.items():
        yield from _check_sequence(end, str(import_key), builds, max_consecutive_failures)


def _check_distributions(end: FinalState, max_consecutive_failures: int) -> Iterator[str]:
    images: dict[str, list[Json]] = defaultdict(list)
    for made in end.distributions:
        images[made["source"]].append(made)
    for image, distributions in images.items():
        build = next((each for each in end.ours if each["arn"] == image), None)
        if build is None:
            yield f"{image} was distributed, which isodrop never started"
        elif not _has_succeeded(build):
            yield f"{image} was distributed, and is not AVAILABLE"
        yield from _check_sequence(end, image, distributions, max_consecutive_failures)


def _check_sequence(
    end: FinalState, what: str, builds: Sequence[Json], max_consecutive_failures: int
) -> Iterator[str]:
    for one, other in pairwise(builds):
        if _unusable_since(end, one) > _started_at(other):
            yield f"{what} has two live builds: {one['arn']} and {other['arn']}"
    lost = 0
    for build in builds:
        lost = 0 if _has_succeeded(build) else lost + 1
        if lost > max_consecutive_failures:
            yield f"{what} lost {lost} builds in a row"


def _started_at(build: Json) -> float:
    return float(build["history"][0]["at"])


def _unusable_since(end: FinalState, build: Json) -> float:
    """Return when a build ceased to be usable; infinity if it is usable."""
    deaths = [float(each["at"]) for each in build["history"] if each["status"] in _DEAD]
    amis = [ami["image"] for ami in build["outputResources"]["amis"]]
    deaths += [end.lost_amis[ami] for ami in amis if ami in end.lost_amis]
    return min(deaths, default=float("inf"))


def _has_succeeded(build: Json) -> bool:
    return "AVAILABLE" in {each["status"] for each in build["history"]}


def _check_copies(end: FinalState) -> Iterator[str]:
    """Check that only copies of running builds and of possibly submitted imports remain."""
    running = {build["uri"] for build in end.builds if not _TERMINAL & _statuses(build)}
    for uri in end.staged:
        if uri not in running | end.maybe_sent:
            yield f"{uri} is left"


def _check_build_limits(end: FinalState) -> Iterator[str]:
    """Check that the limits were kept and that the counts are right."""
    counts = end.build_counts
    if counts is None:
        return
    yield from _check_concurrency(end, counts)
    yield from _check_days(end, counts)
    running = {build["token"] for build in end.ours if not _TERMINAL & _statuses(build)}
    for token in counts.under_way - running:
        yield f"{token} still counts as under way"


def _check_concurrency(end: FinalState, counts: BuildCounts) -> Iterator[str]:
    times = [(_started_at(build), 1) for build in end.ours]
    times += [(_ended_at(build), -1) for build in end.ours]
    running = most = 0
    for _, change in sorted(times):
        running += change
        most = max(most, running)
    if most > counts.at_once:
        yield f"{most} builds ran at once, where {counts.at_once} are allowed"


def _check_days(end: FinalState, counts: BuildCounts) -> Iterator[str]:
    built = Counter(counts.days[build["token"]] for build in end.ours)
    maybe = Counter(counts.days[token] for token in end.maybe_tokens & counts.days.keys())
    for day in built.keys() | counts.today.keys():
        counted = counts.today.get(day, 0)
        if built[day] > counts.per_day:
            yield f"{built[day]} builds were started on {day}, where {counts.per_day} are allowed"
        if not built[day] <= counted <= built[day] + maybe[day]:
            yield f"{counted} builds are counted on {day}, and {built[day]} were started"


def _ended_at(build: Json) -> float:
    ends = [float(each["at"]) for each in build["history"] if each["status"] in _TERMINAL]
    return min(ends, default=float("inf"))


def _statuses(build: Json) -> frozenset[str]:
    return frozenset(each["status"] for each in build["history"])


def _check_all_has_ended(end: FinalState, *, retries_suffice: bool) -> Iterator[str]:
    for arn, status in end.executions.items():
        if status == "RUNNING" or (retries_suffice and status not in {"SUCCEEDED", "ABORTED"}):
            yield f"{arn} is {status}"
    if end.undelivered:
        yield f"{end.undelivered} events are in the dead-letter queue"
