"""What was promised: one DynamoDB table, written only on conditions.

Two kinds of item. A *drop* is one upload: who follows it, what was found, which build, which
answer. An *attempt* is one request that Image Builder was, or will be, sent for an import;
attempts of one import are numbered from 0 and each is written once, whoever comes first, so
whoever comes second follows it. Nothing here is ever taken back; every write says what must
be true before it, so that crashes, repeats and races end in the same items.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from botocore.exceptions import ClientError

from isodrop.aws import CONFIG, error_code, translated
from isodrop.codes import Code, RefusedError, Rejection
from isodrop.identity import drop_id
from isodrop.plan import ImportPlan, Upload

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_dynamodb.service_resource import Table

_DROP: Final = "DROP"


class Standing(StrEnum):
    """What GetImage cannot tell of an attempt."""

    OPEN = "open"
    """Nothing is known beyond its build."""
    REFUSED = "refused"
    """Image Builder refused the request: there is no build."""
    GOOD = "good"
    """Its image came of the very object that was planned; that was checked."""
    SPOILED = "spoiled"
    """Its object was replaced or deleted, so nobody can vouch for its image."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What came in the way after the upload was judged good."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class Drop:
    """One upload, as the ledger has it.

    Attributes
    ----------
    id : str
        :func:`isodrop.identity.drop_id` of the upload.
    execution : str
        The ARN of the execution that follows it; no other may.
    upload : Upload
    verdict : ImportPlan, Rejection or None
        What was decided; once written, it stands.
    identity, attempt : str and int, or None
        Which attempt of which import it follows.
    build_arn : str or None
        The build that came of it.
    trouble : Trouble or None
        What came in the way.
    timeline : mapping of str to str
        When each status was first seen, ISO 8601.
    answer : str or None
        The answer as it was, or is to be, published: JSON.
    answered : str or None
        When it had certainly been published, ISO 8601.
    """

    id: str
    execution: str
    upload: Upload
    verdict: ImportPlan | Rejection | None
    identity: str | None
    attempt: int | None
    build_arn: str | None
    trouble: Trouble | None
    timeline: Mapping[str, str]
    answer: str | None
    answered: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One import request, frozen before it is first sent.

    Attributes
    ----------
    identity, number : str and int
        Which import's, and which of its attempts, from 0.
    drop_id : str
        The drop that made it.
    source : Upload
        The object that the request names.
    request : mapping
        The parameters of ImportDiskImage, to be sent as they are.
    build_arn : str or None
        Known once the request was answered.
    standing : Standing
    """

    identity: str
    number: int
    drop_id: str
    source: Upload
    request: Mapping[str, Any]
    build_arn: str | None
    standing: Standing

    @property
    def token(self) -> str:
        """The client token: the ``importId`` of the events."""
        return str(self.request["clientToken"])


@dataclass(frozen=True, slots=True)
class Ledger:
    """The table, and the only code that reads or writes it."""

    table: "Table"

    @classmethod
    def connect(cls, session: "Session", table: str) -> "Ledger":
        """Open the table of that name in a boto3 session's account and Region."""
        return cls(session.resource("dynamodb", config=CONFIG).Table(table))

    def claim(self, upload: Upload, execution: str, now: str) -> Drop | None:
        """Take an upload into this execution's care.

        Returns
        -------
        Drop or None
            ``None`` when another execution has it: then this one has nothing to say.

        Raises
        ------
        TransientError, RefusedError
            When DynamoDB does not say.
        """
        drop = drop_id(upload)
        item = {
            **_drop_key(drop),
            "execution": execution,
            "upload": _words(upload),
            "claimed": now,
            "timeline": {},
        }
        self._put(item)
        found = self.drop(drop)
        return found if found is not None and found.execution == execution else None

    def drop(self, drop: str) -> Drop | None:
        """Read a drop, strongly consistent; ``None`` when nobody has claimed it."""
        with translated():
            item = self.table.get_item(Key=_drop_key(drop), ConsistentRead=True).get("Item")
        return None if item is None else _as_drop(drop, item)

    def decide(self, drop: Drop, verdict: ImportPlan | Rejection) -> None:
        """Write what was decided, unless something has been."""
        kind = "plan" if isinstance(verdict, ImportPlan) else "rejection"
        words = f'{{"{kind}": {_words(verdict)}}}'
        self._set(_drop_key(drop.id), {"verdict": words}, Attr("verdict").not_exists())

    def attempts(self, identity: str) -> tuple[Attempt, ...]:
        """Read all attempts of an import, in order, strongly consistent."""
        pages = []
        more: dict[str, Any] = {}
        while True:
            with translated():
                page = self.table.query(
                    KeyConditionExpression=Key("pk").eq(f"IMPORT#{identity}"),
                    ConsistentRead=True,
                    **more,
                )
            pages.extend(page["Items"])
            if "LastEvaluatedKey" not in page:
                return tuple(_as_attempt(identity, item) for item in pages)
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def begin(self, attempt: Attempt) -> bool:
        """Write a new attempt; ``False`` when somebody was first with that number."""
        return self._put(
            {
                **_attempt_key(attempt.identity, attempt.number),
                "drop": attempt.drop_id,
                "source": _words(attempt.source),
                "request": json.dumps(attempt.request),
                "standing": attempt.standing.value,
            }
        )

    def follow(self, drop: Drop, attempt: Attempt) -> None:
        """Bind a drop to the attempt whose end will be its answer, unless it is bound."""
        self._set(
            _drop_key(drop.id),
            {"identity": attempt.identity, "attempt": attempt.number},
            Attr("attempt").not_exists(),
        )

    def built(self, attempt: Attempt, build_arn: str) -> None:
        """Write which build an attempt led to."""
        key = _attempt_key(attempt.identity, attempt.number)
        self._set(key, {"build": build_arn}, Attr("build").not_exists())

    def followed(self, drop: Drop, build_arn: str) -> None:
        """Write which build a drop follows."""
        self._set(_drop_key(drop.id), {"build": build_arn}, Attr("build").not_exists())

    def stand(self, attempt: Attempt, standing: Standing) -> None:
        """Write what is known of an attempt beyond its build; the first word stands."""
        key = _attempt_key(attempt.identity, attempt.number)
        self._set(key, {"standing": standing.value}, Attr("standing").eq(Standing.OPEN.value))

    def hinder(self, drop: Drop, trouble: Trouble) -> None:
        """Write what came in the way, unless something has."""
        self._set(_drop_key(drop.id), {"trouble": _words(trouble)}, Attr("trouble").not_exists())

    def saw(self, drop: Drop, status: str, now: str) -> None:
        """Write when a status was first seen."""
        if status in drop.timeline:
            return
        with translated():
            self.table.update_item(
                Key=_drop_key(drop.id),
                UpdateExpression="SET timeline.#status = if_not_exists(timeline.#status, :now)",
                ExpressionAttributeNames={"#status": status},
                ExpressionAttributeValues={":now": now},
            )

    def answer(self, drop: Drop, answer: str) -> str:
        """Write the answer before it is published; returns the one that stands.

        An answer that was written is never another: whoever comes later, or again,
        publishes these very words under the same event id.
        """
        if self._set(_drop_key(drop.id), {"answer": answer}, Attr("answer").not_exists()):
            return answer
        stands = self.drop(drop.id)
        return answer if stands is None or stands.answer is None else stands.answer

    def answered(self, drop: Drop, now: str) -> None:
        """Write that the answer has certainly been published."""
        self._set(_drop_key(drop.id), {"answered": now}, Attr("answered").not_exists())

    def _put(self, item: dict[str, Any]) -> bool:
        """Write a new item; ``False`` when there is one under its key."""
        return self._conditional(
            self.table.put_item, Item=item, ConditionExpression=Attr("pk").not_exists()
        )

    def _set(self, key: dict[str, str], values: dict[str, Any], condition: ConditionBase) -> bool:
        """Set attributes of an item that is there; ``False`` when the condition does not hold."""
        names = {f"#{name}": name for name in values}
        return self._conditional(
            self.table.update_item,
            Key=key,
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ConditionExpression=Attr("pk").exists() & condition,
        )

    @staticmethod
    def _conditional(write: Any, **arguments: Any) -> bool:
        try:
            with translated():
                write(**arguments)
        except RefusedError as error:
            cause = error.__cause__
            if (
                isinstance(cause, ClientError)
                and error_code(cause) == "ConditionalCheckFailedException"
            ):
                return False
            raise
        return True


def _drop_key(drop: str) -> dict[str, str]:
    return {"pk": f"DROP#{drop}", "sk": _DROP}


def _attempt_key(identity: str, number: int) -> dict[str, str]:
    # Padded, so that the order of the sort key is the order of the attempts.
    return {"pk": f"IMPORT#{identity}", "sk": f"ATTEMPT#{number:06d}"}


def _as_drop(drop: str, item: Mapping[str, Any]) -> Drop:
    number = item.get("attempt")
    trouble = json.loads(item["trouble"]) if "trouble" in item else None
    return Drop(
        id=drop,
        execution=item["execution"],
        upload=Upload(**json.loads(item["upload"])),
        verdict=_as_verdict(item["verdict"]) if "verdict" in item else None,
        identity=item.get("identity"),
        attempt=None if number is None else int(number),
        build_arn=item.get("build"),
        trouble=trouble and Trouble(Code(trouble["code"]), trouble["message"]),
        timeline=item["timeline"],
        answer=item.get("answer"),
        answered=item.get("answered"),
    )


def _as_verdict(words: str) -> ImportPlan | Rejection:
    found = json.loads(words)
    if "rejection" in found:
        code = Code(found["rejection"].pop("code"))
        return Rejection(code=code, **found["rejection"])
    plan = found["plan"]
    return ImportPlan(
        **{**plan, "languages": tuple(plan["languages"]), "notes": tuple(plan["notes"])}
    )


def _as_attempt(identity: str, item: Mapping[str, Any]) -> Attempt:
    return Attempt(
        identity=identity,
        number=int(item["sk"].removeprefix("ATTEMPT#")),
        drop_id=item["drop"],
        source=Upload(**json.loads(item["source"])),
        request=json.loads(item["request"]),
        build_arn=item.get("build"),
        standing=Standing(item["standing"]),
    )


def _words(value: Upload | ImportPlan | Rejection | Trouble) -> str:
    """Write a frozen value as JSON, field by field."""
    record = {each.name: getattr(value, each.name) for each in fields(value)}
    return json.dumps(record, default=dict)  # the only thing that is no JSON: a read-only mapping
