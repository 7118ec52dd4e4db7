"""Judges how a run ended, by what can be seen from outside. Pure.

It knows what was uploaded, and believes nobody's word about it: neither the ledger's identities nor
the answers'. A promise that was kept leaves no line; each broken one is a sentence.
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
"""What a build must have been for a failure to say so."""
_EXCUSES: Final = frozenset(
    {"internal-error", "service-unavailable", "access-denied", "execution-ended"}
)


@dataclass(frozen=True, slots=True)
class UploadedIso:
    """One upload, as whoever made it knows it.

    Attributes
    ----------
    key, version : str
        The object's; the version tells one write from another.
    disc, edition, rebuild : str
        What makes it this import and no other.
    deleted : bool
        Whether anybody deleted that very version for good.
    told : bool
        Whether S3's event of it was delivered; if not, only who lists the bucket hears of it.
    verdict : str
        The code it must be rejected with, once somebody has looked at it; empty for a good one.
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
        """What import it is."""
        return self.iso, self.edition, self.rebuild


@dataclass(frozen=True, slots=True)
class Budget:
    """What builds were allowed, and what the ledger counts.

    Attributes
    ----------
    at_once, per_day : int
        What the stack was deployed with.
    days : mapping of str to str
        The day of each attempt, by its token; of those that came to nothing, too.
    today : mapping of str to int
        How many builds are counted, by day.
    under_way : frozenset of str
        The tokens of what counts as under way.
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
    dropped : sequence of Dropped
    published : sequence of mapping
        The events that a subscriber got: ``detail-type`` and ``detail``.
    builds : sequence of mapping
        As the Image Builder of the tests tells their history; the first is the oldest.
    executions : mapping of str to str
        Status by ARN.
    drops : mapping of str to str
        The ledger's: version of the object by the id of its drop.
    budget : Budget or None
        What the stack allowed, and what it counted.
    staged : sequence of str
        Addresses of the copies that are left, finished or not.
    maybe_sent : frozenset of str
        The ledger's: addresses of copies of which it does not know whether they are imported.
    maybe_tokens : frozenset of str
        The tokens of those imports.
    lost_copies : bool
        Whether anybody deleted copies by hand.
    lost_amis : mapping of str to float
        AMIs that were deregistered by hand, and when.
    undelivered : int
        What lies in the dead-letter queue.
    violations : sequence of str
        What Image Builder saw that no caller may do.
    isos : mapping of str to str
        Which disc lies behind the ETag of a copy.
    distributions : sequence of mapping
        Like ``builds``, those that take an image elsewhere.
    distributes : bool
        Whether the stack has every image distributed.
    asks : mapping of str to int
        The ledger's: how often an execution was claimed for a version; once unless somebody asked
        anew.
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
    budget: "Budget | None" = None
    staged: Sequence[str] = ()
    maybe_sent: frozenset[str] = frozenset()
    lost_copies: bool = False
    maybe_tokens: frozenset[str] = frozenset()

    @property
    def ours(self) -> Sequence[Json]:
        """The builds that isodrop began."""
        return [build for build in self.builds if "isodrop:upload" in build["request"]["tags"]]

    def count_runs(self, run: UploadedIso) -> int:
        """Say how many answers an upload is owed."""
        return max(1, self.run_counts.get(run.version, 1))

    def find_upload(self, build: Json) -> UploadedIso | None:
        """Find the upload that a build was begun for."""
        version = self.versions.get(build["request"]["tags"]["isodrop:upload"])
        return next((each for each in self.uploaded if each.version == version), None)


def find_violations(
    end: FinalState, *, max_consecutive_failures: int, patient: bool = True
) -> list[str]:
    """List the promises that were broken, a sentence each.

    Parameters
    ----------
    end : End
    max_consecutive_failures : int
        How many builds in a row one import may lose.
    patient : bool
        Whether nothing went wrong for longer than isodrop is ready to wait; then no upload may
        be put off with an excuse.
    """
    return [
        *_check_answers(end, patient=patient),
        *_check_builds(end, max_consecutive_failures),
        *_check_distributions(end, max_consecutive_failures),
        *_check_all_has_ended(end, patient=patient),
        *_check_copies(end),
        *_check_budget(end),
        *(f"Image Builder saw: {violation}" for violation in end.violations),
    ]


def _answers(end: FinalState) -> Mapping[tuple[str, int], list[Json]]:
    """Gather the different answers by the version of the object and the ask they are about."""
    found: dict[tuple[str, int], dict[str, Json]] = defaultdict(dict)
    for event in end.published:
        if event["detail-type"] in _ANSWERS:
            content = json.dumps([event["detail-type"], event["detail"]], sort_keys=True)
            version = event["detail"]["data"]["source"]["versionId"]
            found[version, event["detail"]["metadata"].get("run", 0)][content] = event
    return {about: [*by_content.values()] for about, by_content in found.items()}


def _check_answers(end: FinalState, *, patient: bool) -> Iterator[str]:
    answers = _answers(end)
    ids: dict[str, tuple[str, int]] = {}
    owed = [(run, request) for run in end.uploaded for request in range(end.count_runs(run))]
    for run, request in owed:
        name = f"{run.key} {run.version}" + (f" asked anew ({request})" if request else "")
        found = answers.get((run.version, request), [])
        codes = [_short(answer) for answer in found]
        if not found and run.deleted and not run.announced:
            continue  # gone before anybody could see it
        if len(found) != 1:
            yield f"{name} has {len(found)} answers: {codes}"
        for answer in found:
            event_id = answer["detail"]["metadata"]["eventId"]
            if ids.setdefault(event_id, (run.version, request)) != (run.version, request):
                yield f"two uploads have an answer with the eventId {event_id}"
            message = answer["detail"]["data"].get("message")
            if patient and _is_excused(end, answer["detail"]["data"]):
                yield f"{name} was put off with {_short(answer)}: {message}"
            for wrong in _check_answer(end, run, answer):
                yield f"{name}: {wrong}"
    for version, request in answers.keys() - {(run.version, request) for run, request in owed}:
        yield f"there is an answer about {version}, which nobody uploaded or asked for ({request})"


def _is_excused(end: FinalState, data: Json) -> bool:
    """Whether an upload was put off, though nobody stopped what followed it."""
    if data.get("code") == "execution-ended":
        return end.executions[data["executionArn"]] != "ABORTED"
    return data.get("code") in _EXCUSES


def _short(answer: Json) -> str:
    kind: str = answer["detail-type"].removeprefix("ISO Import ")
    return f"{kind} {answer['detail']['data'].get('code', '')}".strip()


def _check_answer(end: FinalState, run: UploadedIso, answer: Json) -> Iterator[str]:
    """Hold an answer to the upload, and to the build that it speaks of."""
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
            yield f"speaks of {data['buildArn']}, which isodrop never began"
        else:
            yield from _check_against_build(end, run, answer, build)


def _check_rejection(end: FinalState, run: UploadedIso, code: str) -> Iterator[str]:
    """Hold a rejection of a good upload to the truth."""
    if code == "budget-used-up" and end.budget is not None:
        begun = Counter(end.budget.days.values())
        if max(begun.values(), default=0) < end.budget.per_day:
            yield f"budget-used-up, but of {end.budget.per_day} a day there were {dict(begun)}"
    elif code not in {"object-gone", "too-many-attempts"}:
        yield f"a good one was rejected: {code}"
    if code == "object-gone" and not run.deleted:
        yield "nobody deleted that version"
    for build in end.ours:
        # Of an upload that was asked for anew an earlier ask may have had a build.
        if end.find_upload(build) == run and end.count_runs(run) == 1:
            yield f"rejected with {code}, as if nothing had been spent, and {build['arn']} is its"


def _check_against_build(
    end: FinalState, run: UploadedIso, answer: Json, build: Json
) -> Iterator[str]:
    """Hold an answer to the build that it speaks of."""
    data, arn = answer["detail"]["data"], build["arn"]
    states = {each["status"] for each in build["history"]}
    began = end.find_upload(build)
    if began is None or began.import_key != run.import_key:
        yield f"speaks of {arn}, which is another import's"
        return
    if answer["detail"]["metadata"]["importId"] not in {build["token"], None}:
        yield f"has the importId of another build than {arn}"
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
    """Hold a success to where the image is to be."""
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
            yield f"{build['arn']} was begun for a drop that is none"
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
            yield f"{image} was distributed, which isodrop never began"
        elif not _has_succeeded(build):
            yield f"{image} was distributed, and is not AVAILABLE"
        yield from _check_sequence(end, image, distributions, max_consecutive_failures)


def _check_sequence(
    end: FinalState, what: str, builds: Sequence[Json], max_consecutive_failures: int
) -> Iterator[str]:
    for one, other in pairwise(builds):
        if _useless_from(end, one) > _started_at(other):
            yield f"{what} has two live builds: {one['arn']} and {other['arn']}"
    lost = 0
    for build in builds:
        lost = 0 if _has_succeeded(build) else lost + 1
        if lost > max_consecutive_failures:
            yield f"{what} lost {lost} builds in a row"


def _started_at(build: Json) -> float:
    return float(build["history"][0]["at"])


def _useless_from(end: FinalState, build: Json) -> float:
    """Say from when on a build is worth nothing; for ever alive is infinity."""
    deaths = [float(each["at"]) for each in build["history"] if each["status"] in _DEAD]
    amis = [ami["image"] for ami in build["outputResources"]["amis"]]
    deaths += [end.lost_amis[ami] for ami in amis if ami in end.lost_amis]
    return min(deaths, default=float("inf"))


def _has_succeeded(build: Json) -> bool:
    return "AVAILABLE" in {each["status"] for each in build["history"]}


def _check_copies(end: FinalState) -> Iterator[str]:
    """See that no copy is left but what still runs, and what isodrop cannot know to be over."""
    running = {build["uri"] for build in end.builds if not _TERMINAL & _statuses(build)}
    for uri in end.staged:
        if uri not in running | end.maybe_sent:
            yield f"{uri} is left"


def _check_budget(end: FinalState) -> Iterator[str]:
    """See that no more was built than was allowed, and that what is counted is what there was."""
    budget = end.budget
    if budget is None:
        return
    yield from _check_concurrency(end, budget)
    yield from _check_days(end, budget)
    running = {build["token"] for build in end.ours if not _TERMINAL & _statuses(build)}
    for token in budget.under_way - running:
        yield f"{token} counts as under way for ever"


def _check_concurrency(end: FinalState, budget: Budget) -> Iterator[str]:
    times = [(_started_at(build), 1) for build in end.ours]
    times += [(_ended_at(build), -1) for build in end.ours]
    running = most = 0
    for _, change in sorted(times):
        running += change
        most = max(most, running)
    if most > budget.at_once:
        yield f"{most} builds ran at once, where {budget.at_once} may"


def _check_days(end: FinalState, budget: Budget) -> Iterator[str]:
    built = Counter(budget.days[build["token"]] for build in end.ours)
    maybe = Counter(budget.days[token] for token in end.maybe_tokens & budget.days.keys())
    for day in built.keys() | budget.today.keys():
        counted = budget.today.get(day, 0)
        if built[day] > budget.per_day:
            yield f"{built[day]} builds were begun on {day}, where {budget.per_day} may be"
        if not built[day] <= counted <= built[day] + maybe[day]:
            yield f"{counted} builds are counted on {day}, and {built[day]} were begun"


def _ended_at(build: Json) -> float:
    ends = [float(each["at"]) for each in build["history"] if each["status"] in _TERMINAL]
    return min(ends, default=float("inf"))


def _statuses(build: Json) -> frozenset[str]:
    return frozenset(each["status"] for each in build["history"])


def _check_all_has_ended(end: FinalState, *, patient: bool) -> Iterator[str]:
    for arn, status in end.executions.items():
        if status == "RUNNING" or (patient and status not in {"SUCCEEDED", "ABORTED"}):
            yield f"{arn} is {status}"
    if end.undelivered:
        yield f"{end.undelivered} events lie in the dead-letter queue"
