"""The way of one upload to its build: claim, look inside, decide, submit once.

Each step writes what it did before the next one starts, and looks first for what is written,
so the whole may be killed anywhere and begun again: it comes to the same end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from isodrop.builder import UEFI_DATA_LIMIT, Builder, Phase, import_request
from isodrop.codes import Code, RefusedError, RejectedError, Rejection, TransientError
from isodrop.identity import client_token, import_identity
from isodrop.ledger import Attempt, Drop, Ledger, Standing, Trouble
from isodrop.media import read_media
from isodrop.objects import is_unchanged, object_changed, open_object, read_text
from isodrop.overrides import merged
from isodrop.plan import FIRST_ASK, Ask, ImportPlan, ImportSettings, Upload, check_key, decide

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ROUNDS: Final = 5
"""How often a drop may lose the race for an attempt before it waits and asks again."""


class Decision(StrEnum):
    """What is to be done about an upload."""

    FOLLOW = "follow"
    """There is a build: follow it to its end."""
    ANSWER = "answer"
    """There will be no build: answer."""
    NOTHING = "nothing"
    """Another execution has this upload: it will answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an upload, and the build to follow if there is one."""

    decision: Decision
    build_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """Everything that one upload needs on its way.

    Attributes
    ----------
    s3, builder, ledger
        What it talks to.
    settings : ImportSettings
        What the stack's parameters say.
    uefi_data_uri : str or None
        The object that holds the stack's UEFI data: a parameter is too small for it.
    max_attempts : int
        How many builds in a row an import may lose before drops of it are turned away.
    now : callable
        The time, ISO 8601.
    inspected : callable
        Told of each look inside an ISO how many ranges, and how many bytes, were read.
    """

    s3: "S3Client"
    builder: Builder
    ledger: Ledger
    settings: ImportSettings
    uefi_data_uri: str | None
    max_attempts: int
    now: Callable[[], str]
    inspected: Callable[[int, int], None] = lambda _requests, _length: None

    def take(self, upload: Upload, execution: str, ask: Ask = FIRST_ASK) -> Outcome:
        """Bring one upload to its build, or to the reason why there is none.

        Parameters
        ----------
        upload : Upload
            As S3's event told it.
        execution : str
            Who follows it. The same execution may come again; another one gets
            :attr:`Decision.NOTHING`.
        ask : Ask, optional
            Which asking for it this is, and with what overrides.

        Raises
        ------
        TransientError, QuotaError
            Ask again later; nothing is lost.
        """
        drop = self.ledger.claim(upload, execution, self.now(), ask)
        if drop is None:
            return Outcome(Decision.NOTHING)
        if drop.answer is None and drop.build_arn is not None:
            return Outcome(Decision.FOLLOW, drop.build_arn)
        if drop.answer is not None or drop.trouble is not None:
            # Answered already: while this execution was thought to be over, and then redriven.
            return Outcome(Decision.ANSWER)
        try:
            plan = self._plan(drop)
            if plan is None:
                return Outcome(Decision.ANSWER)
            attempt = self._attempt(drop, plan)
            build_arn = attempt.build_arn or self._send(attempt)
        except (RejectedError, RefusedError) as error:
            self.ledger.hinder(drop, Trouble(error.code, str(error)))
            return Outcome(Decision.ANSWER)
        self.ledger.followed(drop, build_arn)
        return Outcome(Decision.FOLLOW, build_arn)

    def _plan(self, drop: Drop) -> ImportPlan | None:
        """Decide, unless it was decided before; ``None`` for a rejection."""
        verdict = drop.verdict
        if verdict is None:
            verdict = self._look(drop.upload, drop.ask)
            self.ledger.decide(drop, verdict)
            # What stands is what was written first, perhaps by an earlier run of this very drop.
            standing = self.ledger.drop(drop.id, drop.ask.number)
            verdict = verdict if standing is None else standing.verdict
        return verdict if isinstance(verdict, ImportPlan) else None

    def _look(self, upload: Upload, ask: Ask) -> ImportPlan | Rejection:
        refusal = check_key(upload.key)
        if refusal is not None:
            return refusal
        ranges: list[int] = []
        try:
            found = open_object(
                self.s3, upload.bucket, upload.key, etag=upload.etag, size=upload.size
            )
            if upload.version not in {None, found.version_id}:
                # The same bytes, but another write of them: its metadata are not this upload's.
                raise object_changed(upload.bucket, upload.key, "written again")
            media = read_media(found.read, found.size, lambda _, length: ranges.append(length))
        except RejectedError as error:
            return error.rejection
        finally:
            if ranges:
                self.inspected(len(ranges), sum(ranges))
        metadata = merged(found.metadata, ask.overrides)
        return decide(upload, media, metadata, self.settings)

    def _attempt(self, drop: Drop, plan: ImportPlan) -> Attempt:
        """Find the attempt to follow: one's own, one that lives, or a new one."""
        identity = import_identity(plan)
        attempts = self.ledger.attempts(identity)
        if drop.attempt is not None:
            return attempts[drop.attempt]
        for _ in range(_ROUNDS):
            if attempts and (attempts[-1].is_of(drop) or self._lives(attempts[-1])):
                number = self.ledger.follow(drop, attempts[-1])
                return self.ledger.attempts(identity)[number]
            self._begin(drop, plan, identity, attempts)
            attempts = self.ledger.attempts(identity)
        raise TransientError("many drops of one import compete; this one waits")

    def _lives(self, attempt: Attempt) -> bool:
        """Whether another drop's attempt is worth following: it runs, or its image is there."""
        if attempt.standing is Standing.SPOILED:
            return False
        try:
            # Its own drop may have been killed before it could send or write: the token makes
            # it safe to do that in its stead.
            build_arn = attempt.build_arn or self._send(attempt)
        except (RejectedError, RefusedError):
            standing = self.ledger.attempts(attempt.identity)[attempt.number].standing
            if standing in {Standing.REFUSED, Standing.SPOILED}:
                return False
            raise  # it may still be sent
        build = self.builder.describe(build_arn)
        if build is None or build.phase is Phase.BAD:
            return False
        return build.phase is Phase.RUNNING or self.builder.has_its_amis(build)

    def _begin(
        self, drop: Drop, plan: ImportPlan, identity: str, earlier: Sequence[Attempt]
    ) -> None:
        """Freeze a new request, unless the import has lost too many builds already."""
        lost = _lost_in_a_row(earlier)
        if lost >= self.max_attempts:
            raise RejectedError(
                Code.TOO_MANY_ATTEMPTS,
                f"{lost} builds of {plan.name} {plan.semantic_version} came to nothing, which is"
                f" as many as this stack allows; none is started any more.",
            )
        number = len(earlier)
        token = client_token(drop.upload.etag, identity, self.settings.stack, number)
        tags = {
            "isodrop:import": identity,
            "isodrop:attempt": str(number),
            "isodrop:drop": drop.id,
        }
        self.ledger.begin(
            Attempt(
                identity=identity,
                number=number,
                drop_id=drop.id,
                ask=drop.ask.number,
                source=drop.upload,
                request=import_request(plan, drop.upload, self._with_uefi_data(), token, tags),
                build_arn=None,
                standing=Standing.OPEN,
            )
        )

    def _with_uefi_data(self) -> ImportSettings:
        if self.uefi_data_uri is None:
            return self.settings
        return replace(
            self.settings, uefi_data=read_text(self.s3, self.uefi_data_uri, UEFI_DATA_LIMIT)
        )

    def _send(self, attempt: Attempt) -> str:
        """Send an attempt's frozen request, once its object was seen to be what was planned.

        That is written before it is sent: who comes later, to a changed object, must not think
        that there is no build.
        """
        standing = attempt.standing
        if standing is Standing.OPEN:
            unchanged = is_unchanged(self.s3, attempt.source)
            wanted = Standing.SENT if unchanged else Standing.SPOILED
            standing = self.ledger.stand(attempt, wanted)
        if standing is Standing.SPOILED:
            raise RejectedError(Code.OBJECT_CHANGED)
        if standing is Standing.REFUSED:
            raise RefusedError("Image Builder has refused this very request before")
        again = attempt.standing is Standing.SENT
        earlier = self.builder.find(attempt.request) if again else None
        try:
            build_arn = earlier or self.builder.submit(attempt.request)
        except RefusedError:
            self.ledger.stand(replace(attempt, standing=Standing.SENT), Standing.REFUSED)
            raise
        self.ledger.built(attempt, build_arn)
        return build_arn


def _lost_in_a_row(attempts: Sequence[Attempt]) -> int:
    """Count the builds since the last one whose image was good."""
    lost = 0
    for attempt in reversed(attempts):
        if attempt.standing is Standing.GOOD:
            break
        lost += attempt.build_arn is not None
    return lost
