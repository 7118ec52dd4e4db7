"""What an operator may do about an upload: look, ask anew, cancel. Knows no terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Final

from isodrop.aws.image_builder import Builder
from isodrop.aws.ledger import Ledger, mark_of
from isodrop.aws.ledger_items import UnreadableItemError
from isodrop.aws.s3 import Found, find_upload
from isodrop.aws.s3_events import object_created
from isodrop.aws.step_functions import Executions
from isodrop.codes import Code
from isodrop.domain.budget import BudgetUse, day_of
from isodrop.domain.build import Phase, Steps
from isodrop.domain.ids import drop_id
from isodrop.domain.model import Ask, Upload
from isodrop.domain.run import Drop, State, Trouble
from isodrop.errors import IsodropError, RejectedError
from isodrop.text import listed, one_line

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WAIT_SECONDS: Final = 5.0
LATE_SECONDS: Final = 60.0
"""Most uploads are claimed within seconds; after so long something may be wrong."""
_NAMES: Final = 20
"""How many executions of one ask may come to nothing before we give up."""


class OperatorError(IsodropError):
    """What the operator wants cannot be done now; the message says why, and what can."""


@dataclass(frozen=True, slots=True)
class Story:
    """One upload, and all that was asked for it, in order."""

    id: str
    address: str
    drops: tuple[Drop, ...]
    found: Found | None = None

    @property
    def last(self) -> Drop | None:
        """What was asked last; ``None`` when nobody has claimed the upload."""
        return self.drops[-1] if self.drops else None


@dataclass(frozen=True, slots=True)
class Asked:
    """An execution that was started for an upload."""

    drop_id: str
    ask: int
    execution: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be seen of an ask at one moment.

    Attributes
    ----------
    drop : Drop or None
        ``None`` until an execution has claimed it.
    steps : Steps
        How far its build is, or then its distribution; zeros where there is none, or Image Builder
        does not say.
    is_late : bool
        Whether no execution has claimed it, though it was waited for that for a minute.
    """

    drop: Drop | None
    steps: Steps
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """Everything that an operator needs.

    Attributes
    ----------
    s3, builder, ledger, executions
        What it talks to.
    bucket : str
        Where the stack's uploads lie.
    unreadable : callable
        Told of each item of the ledger that this version cannot read; the others are listed.
    """

    s3: "S3Client"
    builder: Builder
    ledger: Ledger
    executions: Executions
    bucket: str
    unreadable: Callable[[UnreadableItemError], None] = lambda _error: None

    def story(self, bucket: str | None, key: str, version_id: str | None = None) -> Story:
        """Find an upload and what was asked for it.

        Parameters
        ----------
        bucket : str or None
            The stack's own if it is ``None``.
        key : str
        version_id : str, optional
            The object's current version unless given; one that is given may be gone from S3.

        Raises
        ------
        OperatorError
            When there is no such object, or it cannot be named.
        TransientError, RefusedError
            When AWS does not say.
        """
        bucket = self.bucket if bucket is None else bucket
        address = one_line(f"s3://{bucket}/{key}")
        if bucket != self.bucket:
            raise OperatorError(
                f"{address}: this stack's bucket is {self.bucket}; name the stack that has the"
                " other one with --stack"
            )
        if version_id is not None:
            named = drop_id(Upload(bucket, key, "", 0, "", version_id))
            return Story(named, address, self.ledger.asks(named))
        try:
            found = find_upload(self.s3, bucket, key)
        except RejectedError:
            raise OperatorError(
                f"{address}: there is no such object (any more); isodrop list shows what was"
                " dropped, and isodrop status --version-id tells of what was deleted"
            ) from None
        if found.upload.version is None:
            raise OperatorError(
                f"{address}: the object has no version id, because the bucket's versioning is off;"
                " switch it on and upload again"
            )
        named = drop_id(found.upload)
        return Story(named, address, self.ledger.asks(named), found)

    def ask(self, story: Story, overrides: Mapping[str, str]) -> Asked:
        """Ask anew for an upload, or for the first time if nobody has claimed it.

        Parameters
        ----------
        story : Story
            Of the object's current version.
        overrides : mapping of str to str
            Laid over the object's metadata; the stack says which it allows.

        Raises
        ------
        OperatorError
            While the last ask has no answer yet.
        TransientError, QuotaError, RefusedError
            When AWS does not say, or start it.
        """
        last = story.last
        if last is not None and last.answered is None:
            raise _still_open(story, last.ask.number, last.execution)
        if story.found is None:
            raise OperatorError(f"{story.address}: only the current version can be imported")
        number = 0 if last is None else last.ask.number + 1
        event = object_created(
            story.found.upload,
            story.found.last_modified,
            self.executions.machine_arn,
            "isodrop retry",
            Ask(number, overrides),
        )
        for again in range(_NAMES):
            # The same name for all who ask: of two at once, one starts an execution.
            name = _name(story.id, number, again)
            arn = self.executions.start(name, event)
            if arn is not None:
                return Asked(story.id, number, arn)
            self._refuse_if_asked(story, number, self.executions.named(name))
        raise OperatorError(
            f"{story.address}: {_NAMES} executions came to nothing; see why in Step Functions"
        )

    def _refuse_if_asked(self, story: Story, number: int, execution: str) -> None:
        """See whether the execution that has the name lives, or has claimed the ask."""
        drop = self.ledger.drop(story.id, number)
        if drop is not None:
            raise _still_open(story, number, drop.execution)
        found = self.executions.describe(execution)
        if found is not None and not found.is_over:
            raise _still_open(story, number, execution)

    def latest(self, story: Story) -> int:
        """Say which ask of an upload is the latest: claimed, or started and not claimed yet.

        Raises
        ------
        TransientError, RefusedError
            When AWS does not say.
        """
        last = story.last
        if last is None:
            return 0
        if last.answered is None:
            return last.ask.number
        number = last.ask.number + 1
        for again in range(_NAMES):
            named = self.executions.named(_name(story.id, number, again))
            found = self.executions.describe(named)
            if found is None:
                break
            if not found.is_over:
                return number
        return last.ask.number

    def follow(
        self,
        drop_id: str,
        ask: int,
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> Iterator[Sight]:
        """See an ask go on to its answer, whichever execution or sweep gives it.

        Parameters
        ----------
        drop_id : str
        ask : int
        sleep, now : callable
            Wait so many seconds, and tell the seconds since any moment.

        Yields
        ------
        Sight
            At once, and whenever there is something new; the last one has the answer.

        Raises
        ------
        TransientError, RefusedError
            When AWS does not say.
        """
        seen: Sight | None = None
        began = now()
        while True:
            sight = self.sight(self.ledger.drop(drop_id, ask))
            if sight.drop is None:
                sight = replace(sight, is_late=now() - began >= LATE_SECONDS)
            if sight != seen:
                yield sight
            if sight.drop is not None and sight.drop.answered is not None:
                return
            seen = sight
            sleep(WAIT_SECONDS)

    def wait(
        self, asked: Asked, sleep: Callable[[float], None], now: Callable[[], float]
    ) -> Iterator[Sight]:
        """See an ask go on to its answer, as :meth:`follow` does, by the execution started for it.

        Raises
        ------
        OperatorError
            When there will be no answer from this execution.
        """
        # In this order: an execution that is over has written all that it ever will.
        found = self.executions.describe(asked.execution)

        def look_before(seconds: float) -> None:
            nonlocal found
            if found is None or found.is_over:
                how = "gone" if found is None else found.status
                raise OperatorError(
                    f"the execution is {how} without an answer; the sweep gives one within minutes:"
                    f" {asked.execution}"
                )
            sleep(seconds)
            found = self.executions.describe(asked.execution)

        for sight in self.follow(asked.drop_id, asked.ask, look_before, now):
            if sight.drop is not None and sight.drop.execution != asked.execution:
                raise OperatorError(
                    "another execution was first, without what you set:"
                    f" {sight.drop.execution}; when it has answered, ask again"
                )
            yield sight

    def sight(self, drop: Drop | None) -> Sight:
        """See how far a drop's build is, or then its distribution."""
        if drop is None or drop.answered is not None:
            return Sight(drop, Steps(0, 0))
        arn = drop.distribution.build_arn or drop.build_arn
        return Sight(drop, Steps(0, 0) if arn is None else self.builder.steps(arn))

    def going_on(self, since: str, before: Iterable[Drop] = ()) -> tuple[Drop, ...]:
        """List what is open, what was claimed since then, and what was seen before; oldest first.

        Parameters
        ----------
        since : str
            ISO 8601, as claims are written.
        before : iterable of Drop
            What was open when it was last listed, and may have its answer now.
        """
        marks = chain(
            map(mark_of, before),
            self.ledger.in_state(State.OPEN),
            takewhile(
                lambda mark: mark["claimed"] >= since,
                self.ledger.in_state(State.ANSWERED, newest_first=True),
            ),
        )
        once = {(mark["pk"], mark["sk"]): mark for mark in marks}
        return self.ledger.marked(
            sorted(once.values(), key=lambda mark: mark["claimed"]), self.unreadable
        )

    def cancel(self, story: Story, *, others_too: bool) -> str | None:
        """Cancel build or distribution of an upload's last ask, or the ask before it has a build.

        A build that comes to be in the same moment is found and cancelled too.

        Parameters
        ----------
        story : Story
        others_too : bool
            Whether to do it even if other drops wait for the same build.

        Returns
        -------
        str or None
            The build that is being cancelled; ``None`` when it has not come to one.

        Raises
        ------
        OperatorError
            When there is nothing to cancel, or others wait for it.
        TransientError, RefusedError
            When AWS does not do it.
        """
        drop = story.last
        if drop is None:
            raise OperatorError(f"{story.address}: nobody has claimed it, so nothing is running")
        build_arn = self._running(drop)
        if build_arn is None:
            message = "It was cancelled with isodrop cancel before it had a build."
            trouble = Trouble(Code.BUILD_CANCELLED, message)
            if drop.answer is not None or not self.ledger.hinder(drop, trouble):
                raise OperatorError(f"{story.address}: nothing of it is running any more")
            drop = self.ledger.drop(drop.id, drop.ask.number) or drop
            build_arn = self._running(drop)
        if build_arn is not None:
            waiting = self.others(drop)
            if waiting and not others_too:
                keys = listed(other.upload.uri for other in waiting)
                raise OperatorError(
                    f"{story.address}: others wait for the same build and would hear that it was"
                    f" cancelled: {keys}; cancel it for all with --yes"
                )
            self.builder.cancel(build_arn)
        return build_arn

    def others(self, drop: Drop) -> tuple[Drop, ...]:
        """Find the other drops that wait for the end of the same attempt."""
        if drop.attempt is None:
            return ()
        return tuple(
            other
            for other in self.ledger.marked(self.ledger.in_state(State.OPEN), self.unreadable)
            if (other.identity, other.attempt) == (drop.identity, drop.attempt)
            and (other.id, other.ask.number) != (drop.id, drop.ask.number)
        )

    def _running(self, drop: Drop) -> str | None:
        """Find what goes on of a drop; its attempt may know of a build that it does not."""
        build_arn = drop.distribution.build_arn or drop.build_arn
        if build_arn is None and drop.identity is not None and drop.attempt is not None:
            build_arn = self.ledger.attempts(drop.identity)[drop.attempt].build_arn
        build = None if build_arn is None else self.builder.describe(build_arn)
        return build.arn if build is not None and build.phase is Phase.RUNNING else None

    def recent(self, limit: int, *, only_open: bool = False) -> tuple[Drop, ...]:
        """List drops, the newest claim first."""
        states = (State.OPEN,) if only_open else tuple(State)
        marks = merge(
            *(self.ledger.in_state(state, newest_first=True) for state in states),
            key=lambda mark: mark["claimed"],
            reverse=True,
        )
        return self.ledger.marked(islice(marks, limit), self.unreadable)

    def budget_use(self, now: datetime) -> BudgetUse:
        """Read how much of the budget of builds is used."""
        return self.ledger.budget_use(day_of(now))


def _name(drop_id: str, ask: int, again: int = 0) -> str:
    """Name an ask's execution; a number follows where others of the name came to nothing."""
    return f"{drop_id}-ask-{ask}" + (f"-{again}" if again else "")


def _still_open(story: Story, ask: int, execution: str) -> OperatorError:
    return OperatorError(
        f"{story.address}: ask {ask} has no answer yet; see {execution}, wait for its answer, or"
        " cancel it with isodrop cancel"
    )
