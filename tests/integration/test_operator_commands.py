"""An operator's commands, as a person types them: what they print and exit with."""

import io
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from isodrop.aws.image_builder import ImageBuilder
from isodrop.aws.ledger import Ledger
from isodrop.domain.model import RunRequest
from isodrop_cli import clock as clock_module
from isodrop_cli import operations, resumable_upload
from isodrop_cli.clock import ServiceClock
from isodrop_cli.main import main
from isodrop_local.iso_maker import server_editions
from tests.integration.conftest import BUCKET
from tests.support.harness import ImportHarness, refuse
from tools.resolved_template import resolve

Run = Callable[..., tuple[int, str, str]]
ADDRESS = f"s3://{BUCKET}/a.iso"
KEY = "Win11.iso"


@pytest.fixture
def harness(
    session: boto3.Session,
    ledger: Ledger,
    tmp_path: Path,
    stacks: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> ImportHarness:
    """A stack that can be found by its name; moto has no Image Builder, so ours is asked."""
    harness = ImportHarness(session, ledger, tmp_path)
    monkeypatch.setattr(ImageBuilder, "connect", lambda _session: harness.builder)
    stacks["isodrop"] = {
        "UploadBucketName": BUCKET,
        "ImportStateMachineArn": harness.executions.machine_arn,
        "LedgerTableName": "ledger",
        "ImportFunction": "import-iso",
        "ReportFunction": "report-build",
        "SweepFunction": "sweep",
        "UploadUri": f"s3://{BUCKET}/",
    }
    return harness


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ISODROP_STACK", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as leaving:  # how argparse ends
            status = int(leaving.code or 0)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command before a person's eyes, on the narrowest terminal that is usual."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(*arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "dumb")
        with monkeypatch.context() as here:  # not longer: pytest has a stdout of its own
            here.setattr(sys, "stdout", screen := Terminal())
            main(arguments)
        return screen.getvalue()

    return shown


def rejected(harness: ImportHarness, key: str = "a.iso") -> None:
    """An upload that has its answer."""
    harness.follow(harness.upload(key, harness.iso(server_editions())), f"execution-{key}")


class Terminal(io.StringIO):
    """What a person reads; only the last picture of what is drawn over and over stays there."""

    def isatty(self) -> bool:
        return True

    def last(self) -> list[str]:
        drawn = re.sub(r"\x1b\[[?\d;]*[a-z]", "", self.getvalue().rpartition("\x1b[2K")[2])
        return [line.rstrip() for line in drawn.splitlines()]


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """Run the command before a person's eyes; what stays on the screen."""

    def see(*arguments: str) -> tuple[int, list[str]]:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("NO_COLOR", "1")
        with monkeypatch.context() as here:  # not longer: pytest has a stdout of its own
            here.setattr(sys, "stdout", screen := Terminal())
            status = main(arguments)
        return status, screen.last()

    return see


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what happens each time that a command waits; after that comes Ctrl-C."""

    def meanwhile(*deeds: Callable[[], object]) -> None:
        left = list(deeds)

        def sleep(seconds: float) -> None:
            assert seconds == operations.WAIT_SECONDS
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr("time.sleep", sleep)

    return meanwhile


# list, status


def test_in_a_pipe_list_prints_each_run_as_a_line_of_fields(
    harness: ImportHarness, run: Run
) -> None:
    rejected(harness)
    harness.later(minutes=1)
    harness.claim_run(harness.upload("b\tc.iso"), "execution-b")

    status, out, _ = run("list")

    lines = [line.split("\t") for line in out.splitlines()]
    assert status == 0
    assert [line[1:3] for line in lines] == [["inspecting", ""], ["rejected", "server-media"]]
    assert [line[-1] for line in lines] == ["b\\tc.iso", "a.iso"]


def test_list_truncates_nothing_in_80_columns(
    harness: ImportHarness, shown: Callable[..., str]
) -> None:
    long = "en-us_windows_11_business_editions_version_24h2_x64_dvd_59a1851e.iso"
    harness.follow(harness.upload(long), "execution-good")
    harness.later(minutes=1)
    rejected(harness, "bad.iso")

    screen = shown("list")

    assert max(map(len, screen.splitlines())) <= 80
    heading, _, bad, *good = (line[1:] for line in screen.splitlines() if line.strip())
    assert heading.split() == ["Started", "State", "Result", "Key"]
    assert bad.split()[1:] == ["rejected", "server-media", "bad.iso"]
    assert good[0].split()[1] == "succeeded"
    second, third = heading.index("Result"), heading.index("Key")
    outcome, name = (
        "".join(line[start:end].rstrip() for line in good)
        for start, end in ((second, third), (third, None))
    )
    assert outcome.replace(" ", "") == "windows-11-enterprise-x64-en-us11.26100.1742"
    assert name == long


def test_runs_of_one_upload_are_listed_together(
    harness: ImportHarness, run: Run, shown: Callable[..., str]
) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    harness.follow(upload, "execution-0")
    for number in (1, 2):
        harness.later(minutes=1)
        rejected(harness, f"other-{number}.iso")
        harness.later(minutes=1)
        harness.follow(upload, f"execution-{number}", RunRequest(number, {}))

    screen = [line for line in shown("list").splitlines() if line.strip()]

    where = screen[0].index("Key")
    assert [line[where:].rstrip() for line in screen[2:]] == [
        *("a.iso (run 2)", "  run 1", "  run 0", "other-2.iso", "other-1.iso")
    ]
    piped = [line.split("\t") for line in run("list")[1].splitlines()]
    assert [fields[3] for fields in piped if fields[-1] == "a.iso"] == ["2", "1", "0"]
    assert piped == sorted(piped, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "no uploads yet\n"), (("--open",), "no imports in progress\n")],
)
@pytest.mark.usefixtures("harness")
def test_an_empty_list_is_stated_to_a_person(
    run: Run, shown: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert shown("list", *arguments) == said
    assert run("list", *arguments) == (0, "", "")


def test_times_have_one_form_for_people_and_the_ledgers_in_json(
    harness: ImportHarness, run: Run, shown: Callable[..., str]
) -> None:
    harness.clock.now = datetime(2026, 11, 24, 9, 12, 34, 567_000, UTC).timestamp()
    rejected(harness)

    time = "2026-11-24T09:12:34Z"
    for command in (("list",), ("status", ADDRESS), ("watch", ADDRESS)):
        assert time in run(*command)[1]
    for command in (("list",), ("status", ADDRESS)):
        assert time in shown(*command)
        (entry,) = json.loads(run(*command, "--json")[1])
        assert entry["startedAt"] == "2026-11-24T09:12:34.567000+00:00"


def test_list_as_json_has_whole_runs(harness: ImportHarness, run: Run) -> None:
    rejected(harness)

    status, out, _ = run("list", "--json", "--limit", "1")

    (entry,) = json.loads(out)
    assert status == 0
    assert entry["state"] == "rejected"
    assert entry["source"]["key"] == "a.iso"
    assert entry["answer"]["detail"]["data"]["code"] == "server-media"


def test_list_can_show_open_runs_only(harness: ImportHarness, run: Run) -> None:
    rejected(harness)

    assert run("list", "--open") == (0, "", "")


def test_status_shows_every_run_of_an_upload(harness: ImportHarness, run: Run) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    harness.follow(upload, "execution-1")
    harness.follow(upload, "execution-2", RunRequest(1, {"edition": "EnterpriseN"}))

    status, out, _ = run("status", ADDRESS)

    facts = [line.split("\t", 1) for line in out.splitlines()]
    assert status == 0
    assert [value for name, value in facts if name == "run"] == ["0", "1"]
    assert ["set", "edition=EnterpriseN"] in facts
    assert [value for name, value in facts if name == "code"] == ["server-media"] * 2


def test_status_shows_each_note_of_an_answer_on_a_line(harness: ImportHarness, run: Run) -> None:
    refuse(harness.client("s3"), "GetObjectTagging")
    rejected(harness)

    _, out, _ = run("status", ADDRESS)
    _, shown, _ = run("status", ADDRESS, "--json")

    notes = [line.split("\t", 1)[1] for line in out.splitlines() if line.startswith("note\t")]
    assert len(notes) == 1
    assert "AccessDenied" in notes[0]
    assert json.loads(shown)[0]["answer"]["detail"]["data"]["notes"] == notes


def test_status_of_an_unclaimed_upload_suggests_a_remedy(harness: ImportHarness, run: Run) -> None:
    harness.upload("a.iso")

    status, out, err = run("status", ADDRESS)

    assert (status, out) == (1, "")
    assert "isodrop retry" in err


@pytest.mark.parametrize("command", ["status", "retry", "cancel", "watch"])
@pytest.mark.usefixtures("harness")
def test_status_of_a_deleted_object_names_the_command_for_it(run: Run, command: str) -> None:
    status, out, err = run(command, ADDRESS)
    assert (status, out) == (1, "")
    assert "isodrop status --version-id shows a deleted one" in err


# retry, cancel


def test_retry_names_the_command_that_follows_it(harness: ImportHarness, run: Run) -> None:
    rejected(harness)

    status, out, _ = run("retry", ADDRESS, "--set", "edition=EnterpriseN", "--json")

    ((_, request, execution),) = harness.started()
    assert status == 0
    assert json.loads(out) == {
        "uploadId": json.loads(out)["uploadId"],
        "run": 1,
        "executionArn": execution,
    }
    assert request.overrides == {"edition": "EnterpriseN"}


def test_retry_that_waits_exits_with_the_status_of_the_answer(
    harness: ImportHarness, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(harness)
    waited: list[float] = []

    def follow(seconds: float) -> None:
        waited.append(seconds)
        ((upload, request, execution),) = harness.started()
        harness.follow(upload, execution, request)

    monkeypatch.setattr("time.sleep", follow)

    status, out, _ = run("retry", ADDRESS, "--wait")

    assert status == 3
    assert "code\tserver-media\n" in out
    assert waited == [operations.WAIT_SECONDS]


def test_retry_is_refused_while_an_execution_runs_and_names_it(
    harness: ImportHarness, run: Run
) -> None:
    harness.claim_run(harness.upload("a.iso"), "arn:of-the-execution")

    status, _, err = run("retry", ADDRESS)

    assert status == 1
    assert "arn:of-the-execution" in err


def test_cancel_reports_that_there_was_no_build_yet(harness: ImportHarness, run: Run) -> None:
    harness.claim_run(harness.upload("a.iso"), "execution-1")

    status, out, _ = run("cancel", ADDRESS)

    assert (status, out.partition(";")[0]) == (0, "cancelled before its build started")
    assert run("cancel", ADDRESS)[0] == 0  # again, it is the same


# watch


def set_clock_ahead(harness: ImportHarness) -> None:
    """Let what is claimed be claimed after a command began, which knows the real time only."""
    harness.clock.now = datetime.now(UTC).timestamp() + 60


def test_watch_without_runs_waits_until_it_is_interrupted(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None]
) -> None:
    rejected(harness)  # and answered before anybody watched
    meanwhile(lambda: None)

    status, out, err = run("watch")

    assert (status, out, err) == (130, "", "isodrop: interrupted\n")


def test_in_a_pipe_watch_prints_each_change_once_with_its_key(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None]
) -> None:
    set_clock_ahead(harness)
    first = harness.upload("a.iso", harness.iso(server_editions()))
    harness.claim_run(first, "execution-a")
    second = harness.upload("b.iso", harness.iso())
    meanwhile(
        lambda: None,
        lambda: harness.follow(second, "execution-b"),
        lambda: harness.follow(first, "execution-a"),
    )

    status, out, _ = run("watch")

    shown = [line.split("\t")[1:3] for line in out.splitlines()]
    assert status == 130
    assert shown == [
        ["a.iso", "decide"],
        ["b.iso", "decide"],
        *(["b.iso", step] for step in ("pending", "building", "testing", "succeeded")),
        ["a.iso", "decide"],
        ["a.iso", "rejected"],
    ]


def test_in_a_pipe_watch_prints_changes_in_order_of_time(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None]
) -> None:
    meanwhile()
    harness.image_builder.controls.hold("BUILDING")
    first = harness.upload("a.iso")
    harness.intake.process(first, "execution-a")
    for status, before, other in (("PENDING", None, "b.iso"), ("BUILDING", "PENDING", "c.iso")):
        harness.later(minutes=1)
        harness.reporter.publish_progress(harness.claim_run(first, "execution-a"), status, before)
        harness.later(minutes=1)
        harness.claim_run(harness.upload(other, b"not looked at yet"), f"execution-{other}")

    _, out, _ = run("watch")

    shown = [line.split("\t") for line in out.splitlines()]
    assert [fields[1:3] for fields in shown] == [
        *(["a.iso", "decide"], ["a.iso", "pending"], ["b.iso", "decide"]),
        *(["a.iso", "building"], ["c.iso", "decide"]),
    ]
    assert [fields[0] for fields in shown] == sorted({fields[0] for fields in shown})


def test_watch_reports_a_run_that_began_and_ended_between_polls(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None]
) -> None:
    set_clock_ahead(harness)
    meanwhile(lambda: rejected(harness, "quick.iso"), lambda: None)

    _, out, _ = run("watch", "--json")

    shown = [json.loads(line) for line in out.splitlines()]
    assert [(each["event"], each["key"], each["step"]) for each in shown] == [
        ("state", "quick.iso", "decide"),
        ("answer", "quick.iso", "rejected"),
    ]
    assert shown[-1]["answer"]["detail"]["data"]["code"] == "server-media"


def test_watch_reports_both_runs_of_one_upload(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None]
) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    harness.claim_run(upload, "execution-0")

    def answer_and_ask_anew() -> None:
        harness.follow(upload, "execution-0")
        harness.claim_run(upload, "execution-1", RunRequest(1, {}))

    meanwhile(answer_and_ask_anew, lambda: harness.follow(upload, "execution-1", RunRequest(1, {})))

    _, out, _ = run("watch", "--json")

    answers = [each for line in out.splitlines() if (each := json.loads(line))["event"] == "answer"]
    assert [each["run"] for each in answers] == [0, 1]


def test_on_a_terminal_watch_keeps_one_line_for_each_run(
    harness: ImportHarness,
    see: Callable[..., tuple[int, list[str]]],
    meanwhile: Callable[..., None],
) -> None:
    first = harness.upload("a.iso", harness.iso(server_editions()))
    harness.claim_run(first, "execution-a")
    harness.later(minutes=1)
    harness.claim_run(harness.upload("b.iso", b"not looked at yet"), "execution-b")
    meanwhile(lambda: harness.follow(first, "execution-a"))

    status, (one, other) = see("watch")

    assert status == 130
    assert one.startswith("✘  a.iso  rejected  server-media; ")
    assert other.startswith("·  b.iso  decide    inspecting the ISO")


def test_watching_one_run_keeps_its_steps_and_exits_with_its_answer(
    harness: ImportHarness,
    see: Callable[..., tuple[int, list[str]]],
    meanwhile: Callable[..., None],
) -> None:
    upload = harness.upload("a.iso")
    harness.claim_run(upload, "execution-a")
    meanwhile(lambda: harness.follow(upload, "execution-a"))

    status, screen = see("watch", ADDRESS)

    assert (status, screen[0]) == (0, ADDRESS)
    assert [line.split()[:2] for line in screen[1:]] == [
        ["✔", step] for step in ("decide", "pending", "building", "testing", "succeeded")
    ]


def test_watch_shows_no_older_answer_for_an_unclaimed_run(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None]
) -> None:
    rejected(harness)
    run("retry", ADDRESS)
    ((upload, request, execution),) = harness.started()
    meanwhile(lambda: harness.follow(upload, execution, request))

    status, out, _ = run("watch", ADDRESS, "--json")

    shown = [json.loads(line) for line in out.splitlines()]
    assert status == 3
    assert shown[0]["message"] == "waiting for the import to start"
    assert [each["run"] for each in shown if each["event"] == "answer"] == [1]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_watch_suggests_a_remedy_when_nothing_is_claimed_for_a_minute(
    harness: ImportHarness,
    run: Run,
    meanwhile: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, ...],
) -> None:
    upload = harness.upload("a.iso", harness.iso(server_editions()))
    passed, real = [0.0], time.monotonic
    monkeypatch.setattr("time.monotonic", lambda: real() + passed[0])
    meanwhile(
        lambda: passed.append(passed.pop() + operations.OVERDUE_SECONDS),
        lambda: None,
        lambda: harness.follow(upload, "execution-a"),
    )

    status, out, _ = run("watch", ADDRESS, *how)

    first, late, *rest = out.splitlines()
    assert (status, len(rest)) == (3, 2)
    assert "waiting for the import to start" in first
    assert "the import has not started yet" in late
    assert "isodrop doctor" in late


def test_watch_shows_the_last_answer_when_a_retry_was_aborted(
    harness: ImportHarness, run: Run
) -> None:
    rejected(harness)
    run("retry", ADDRESS)
    ((_, _, execution),) = harness.started()
    harness.abort(execution)

    status, out, _ = run("watch", ADDRESS, "--json")

    assert status == 3
    assert json.loads(out.splitlines()[-1])["run"] == 0


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_watch_reports_a_stack_that_stops_responding(
    harness: ImportHarness, run: Run, meanwhile: Callable[..., None], how: tuple[str, ...]
) -> None:
    harness.claim_run(harness.upload("a.iso"), "execution-a")
    meanwhile(harness.ledger.table.delete)

    status, out, err = run("watch", *how)

    assert (status, len(out.splitlines())) == (1, 1)
    assert "ResourceNotFoundException" in err


# inspect, as a stack would


def test_inspect_uses_the_settings_of_the_stack(
    harness: ImportHarness, run: Run, stacks: dict[str, dict[str, str]], environment: dict[str, str]
) -> None:
    stacks["isodrop"]["UploadUri"] = f"s3://{BUCKET}/drops/"
    environment["IMAGE_NAME_TEMPLATE"] = "desk-{release}"
    path = harness.folder / KEY
    path.write_bytes(harness.iso())

    status, out, _ = run("inspect", str(path), "--stack", "isodrop")
    _, shown, _ = run("inspect", str(path), "--stack", "isodrop", "--json")
    _, elsewhere, _ = run("inspect", str(path))
    forbidden, refusal, _ = run("inspect", str(path), "--stack", "isodrop", "--set", "rebuild=2")

    look = json.loads(shown)
    assert (status, look["settings"], look["plan"]["name"]) == (0, "stack", "desk-24h2")
    assert look["plan"]["tags"]["isodrop:source"] == f"s3://{BUCKET}/drops/{KEY}"
    assert out.splitlines()[-1] == "settings\tstack isodrop"
    assert "name\twindows-11-enterprise-x64-en-us\n" in elsewhere
    assert elsewhere.splitlines()[-1] == "settings\tdefault"
    assert (forbidden, "invalid-override" in refusal) == (3, True)


def test_inspect_of_an_object_uses_the_stack_and_its_own_key(
    harness: ImportHarness, run: Run, environment: dict[str, str]
) -> None:
    environment["EDITION"] = "EnterpriseN"
    harness.upload("a.iso")

    status, out, _ = run("inspect", ADDRESS, "--stack", "isodrop", "--json")

    look = json.loads(out)
    assert (status, look["plan"]["edition"]) == (0, "EnterpriseN")
    assert look["plan"]["tags"]["isodrop:source"] == ADDRESS


@pytest.mark.parametrize(
    ("stack", "shown"),
    [
        ("isodrop", "AccessDeniedException; request that permission"),
        ("nobodys", "there is no stack nobodys in eu-central-1"),
    ],
)
def test_inspect_decides_nothing_without_the_settings_of_the_stack(
    harness: ImportHarness, run: Run, refused: dict[str, str], stack: str, shown: str
) -> None:
    refused["GetFunctionConfiguration"] = "AccessDeniedException"
    path = harness.folder / KEY
    path.write_bytes(harness.iso())

    status, out, err = run("inspect", str(path), "--stack", stack)

    assert (status, out) == (1, "")
    assert shown in err


# drop


def test_upload_without_access_to_the_settings_names_the_defaults(
    harness: ImportHarness, run: Run, refused: dict[str, str]
) -> None:
    refused["GetFunctionConfiguration"] = "AccessDeniedException"
    path = harness.folder / "Win11.iso"
    path.write_bytes(harness.iso())

    status, out, _ = run("upload", str(path), "--no-wait")
    _, shown, _ = run("upload", str(path), "--no-wait", "--json", "--force")

    looked = out.splitlines()[0].split("\t")
    assert (status, looked[1]) == (0, "inspect")
    assert looked[2].endswith("Enterprise is image 5; by default settings")
    assert json.loads(shown.splitlines()[0])["settings"] == "defaults"


def test_upload_with_unreadable_settings_sends_nothing(
    harness: ImportHarness, run: Run, refused: dict[str, str]
) -> None:
    refused["GetFunctionConfiguration"] = "TooManyRequestsException"
    path = harness.folder / "Win11.iso"
    path.write_bytes(harness.iso())

    status, out, err = run("upload", str(path), "--no-wait")

    assert (status, out) == (1, "")
    assert "GetFunctionConfiguration: TooManyRequestsException" in err
    assert "try again in a minute" in err
    assert "Contents" not in harness.client("s3").list_objects_v2(Bucket=BUCKET)


def test_credentials_that_expire_before_any_part_leave_no_resume(
    harness: ImportHarness, run: Run, refused: dict[str, str]
) -> None:
    refused |= {"GetFunctionConfiguration": "AccessDenied", "UploadPart": "ExpiredToken"}
    path = harness.folder / "Win11.iso"
    path.write_bytes(harness.iso())

    status, _, err = run("upload", str(path), "--no-wait")

    (why,) = err.splitlines()
    assert status == 1
    assert "UploadPart: ExpiredToken" in why
    assert "sign in" in why


# A key alone


@pytest.mark.parametrize("address", [ADDRESS, "a.iso"])
def test_a_key_alone_is_of_the_stacks_bucket(
    harness: ImportHarness, run: Run, address: str
) -> None:
    rejected(harness)

    status, _, _ = run("status", address)
    watched, _, _ = run("watch", address)
    printed, event, _ = run("event", address)
    asked, _, _ = run("retry", address)
    cancelled, _, err = run("cancel", address)

    assert (status, watched, printed, asked, cancelled) == (0, 3, 0, 0, 1)
    assert json.loads(event)["detail"]["bucket"] == {"name": BUCKET}
    assert "nothing to cancel" in err


# A clock that is off


def test_an_answer_is_found_though_the_local_clock_is_ahead(
    harness: ImportHarness,
    run: Run,
    meanwhile: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = datetime.now(UTC) - timedelta(minutes=3)
    clock = ServiceClock()
    clock.synchronize({"date": format_datetime(service, usegmt=True)})
    monkeypatch.setattr(clock_module, "CLOCK", clock)

    def come_and_go() -> None:
        harness.clock.now = service.timestamp() + 30
        rejected(harness)

    meanwhile(come_and_go, lambda: None)

    _, out, _ = run("watch", "--json")

    assert [json.loads(line)["event"] for line in out.splitlines()][-1:] == ["answer"]


# What it takes rights for


Call = tuple[str, str, dict[str, Any]]
"""Service, operation and arguments of something that AWS was asked."""
# Where the IAM action is not named as the operation is:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "HeadObject": "s3:GetObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}
ARN = "arn:aws:{}:eu-central-1:123456789012:{}"


def right(call: Call) -> tuple[str, str]:
    """Which action a call takes, and on what; resources are named as in the resolved template."""
    service, operation, asked = call
    prefix = {"stepfunctions": "states"}.get(service, service)
    return ACTIONS.get(operation, f"{prefix}:{operation}"), _resource(service, asked)


def _resource(service: str, asked: dict[str, Any]) -> str:
    match service:
        case "cloudformation":
            return ARN.format(service, f"stack/{asked['StackName']}/1b2c")
        case "dynamodb":
            return "/index/".join(filter(None, ("LedgerTable.Arn", asked.get("IndexName"))))
        case "imagebuilder":
            return str(asked["imageBuildVersionArn"])
        case "lambda":
            names = {"import-iso": "ImportIso", "report-build": "ReportBuild", "sweep": "Sweep"}
            return f"{names[asked['FunctionName']]}.Arn"
        case "s3":
            return "/".join(filter(None, ("arn:aws:s3:::UploadBucket", asked.get("Key"))))
        case "stepfunctions":
            execution = str(asked.get("executionArn", "ImportStateMachine"))
            return execution.replace(":ImportStateMachine:", ":ImportStateMachine.Name:")
    raise NotImplementedError(service)


def allowed(policy: list[dict[str, Any]], action: str, on: str) -> bool:
    return any(
        action in _listed(statement["Action"])
        and any(fnmatchcase(on, resource) for resource in _listed(statement["Resource"]))
        for statement in policy
    )


def _listed(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) else said


def operator_policy(**parameters: str) -> list[dict[str, Any]]:
    document = resolve(**parameters).properties("OperatorPolicy")["PolicyDocument"]
    statements: list[dict[str, Any]] = document["Statement"]
    assert {each["Effect"] for each in statements} == {"Allow"}
    return statements


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, harness: ImportHarness) -> list[Call]:
    """What AWS was asked by commands that a person typed, and not by the stack meanwhile."""
    calls: list[Call] = []
    request = BaseClient._make_api_call  # type: ignore[attr-defined] # the one of the fixture stacks

    def record(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        calls.append((self.meta.service_model.service_name, operation, arguments))
        return request(self, operation, arguments)

    def sleep(_: float) -> None:
        """Let the stack do all that it was asked for; if there is nothing, comes Ctrl-C."""
        with monkeypatch.context() as unseen:
            unseen.setattr(BaseClient, "_make_api_call", request)
            runs = harness.operator.get_history(BUCKET, KEY).runs
            todo = harness.started()[len(runs) :]
            if not todo:
                raise KeyboardInterrupt
            for upload, number, execution in todo:
                harness.follow(upload, execution, number)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return calls


@pytest.fixture
def everything(
    harness: ImportHarness,
    run: Run,
    asked: list[Call],
    refused: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Call]:
    """What AWS is asked when an operator does all that there is to do."""
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1024)
    monkeypatch.setattr(resumable_upload.plan_parts, "__defaults__", (256 << 10,))
    path = harness.folder / KEY
    path.write_bytes(harness.iso())
    address = f"s3://{BUCKET}/{KEY}"
    refused |= {"GetFunctionConfiguration": "AccessDenied", "UploadPart": "ExpiredToken"}
    assert run("upload", str(path), "--no-wait")[0] == 1  # it is broken off, and taken up
    del refused["UploadPart"]
    assert run("upload", str(path), "--no-wait")[0] == 0
    assert run("upload", str(path), "--no-wait")[0] == 0  # it is there already
    assert run("upload", str(path), "--no-wait", "--tag", "team=desktop", "--force")[0] == 0
    assert run("status", address)[0] == 1  # nobody has claimed it
    assert run("retry", address, "--set", "edition=Ghost", "--wait")[0] == 3
    assert run("retry", address, "--set", "edition=Ghost")[0] == 0
    assert run("watch", address)[0] == 3
    assert run("list")[0] == run("status", address)[0] == 0
    assert run("status", address, "--version-id", "of-one-that-is-gone")[0] == 1
    seen = asked.copy()
    harness.image_builder.controls.hold("BUILDING")
    harness.intake.process(harness.upload("runs.iso", harness.iso(label="RUNS")), "execution-runs")
    harness.claim_run(harness.upload("waits.iso"), "execution-waits")
    asked[:] = seen
    assert run("watch")[0] == 130
    assert run("cancel", f"s3://{BUCKET}/runs.iso")[0] == 0
    assert run("cancel", f"s3://{BUCKET}/waits.iso")[0] == 0
    del refused["GetFunctionConfiguration"]
    assert run("env")[0] == 0
    return asked


def test_the_operator_policy_allows_every_command_and_no_more(
    everything: list[Call],
) -> None:
    policy = operator_policy()
    rights = {right(call) for call in everything}
    rights |= {
        ("s3:PutObjectTagging", right(call)[1]) for call in everything if "Tagging" in call[2]
    }

    assert [each for each in sorted(rights) if not allowed(policy, *each)] == []
    named = {action for statement in policy for action in _listed(statement["Action"])}
    # A bucket that may be listed says of an object that is gone that it is, and not 403.
    assert named - {action for action, _ in rights} == {"s3:ListBucket"}


def test_the_operators_key_may_be_used_through_s3_and_dynamodb_only() -> None:
    key = ARN.format("kms", "key/1b2c3d4e")
    (statement,) = [each for each in operator_policy(KmsKeyArn=key) if each["Resource"] == key]
    of_the_stack = resolve(KmsKeyArn=key).statement("ImportIsoRole", "UseKmsKey")

    through = {f"{service}.eu-central-1.amazonaws.com" for service in ("s3", "dynamodb")}
    assert of_the_stack is not None
    assert statement["Action"] == of_the_stack["Action"]
    assert set(statement["Condition"]["StringEquals"]["kms:ViaService"]) == through


# What goes wrong before anything is asked


@pytest.mark.parametrize(
    "wrong",
    [
        ("retry", "https://bucket/a.iso"),
        ("retry", "s3://bucket"),
        ("retry", ADDRESS, "--set", "edition"),
        ("retry", ADDRESS, "--set", "role=admin"),
        ("retry", ADDRESS, "--set", "image-index=first"),
        ("list", "--limit", "0"),
        ("list", "--limit", "many"),
        ("status",),
    ],
)
def test_wrong_usage_is_reported_before_any_call_to_aws(run: Run, wrong: tuple[str, ...]) -> None:
    status, out, err = run(*wrong)

    assert (status, out) == (2, "")
    assert err.startswith("usage: isodrop")


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("command", ["list", "doctor"])
def test_no_remedy_is_suggested_for_a_stack_of_another_kind(
    run: Run, stacks: dict[str, dict[str, str]], command: str
) -> None:
    stacks["queues"] = {"QueueUrl": "https://sqs"}

    status, out, err = run(command, "--stack", "queues")

    assert (status, out) == (1, "")
    assert "the stack queues is CREATE_COMPLETE and has none of isodrop's outputs" in err
    assert "--stack or ISODROP_STACK" in err


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("arguments", "case"),
    [
        (("--stack", "nobodys"), ({}, "no stack nobodys in eu-central-1; choose yours")),
        ((), ({"ISODROP_STACK": "nobodys"}, "there is no stack nobodys")),
        (("--stack", "other"), ({}, "has no output LedgerTableName: it is not an isodrop stack")),
        (("--profile", "nobodys"), ({}, "aws configure list-profiles")),
        ((), ({"AWS_DEFAULT_REGION": None}, "set the stack's Region with --region")),
        ((), ({"AWS_ACCESS_KEY_ID": None}, "credentials; sign in (aws sso login, aws configure)")),
        ((), ({"AWS_ENDPOINT_URL": "moon"}, "Invalid endpoint: moon; check the network")),
    ],
)
def test_a_stack_that_cannot_be_reached_is_reported_with_a_remedy(
    run: Run,
    stacks: dict[str, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    case: tuple[dict[str, str | None], str],
) -> None:
    environment, shown = case
    outputs = {"UploadBucketName": "b", "ImportStateMachineArn": "arn:a:states:r:1:stateMachine:m"}
    stacks |= {"other": outputs, "isodrop": {**outputs, "LedgerTableName": "ledger"}}
    # Neither this machine's own configuration nor its metadata service is to be found.
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    if "AWS_ACCESS_KEY_ID" in environment:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    status, out, err = run("list", *arguments)

    assert (status, out) == (1, "")
    assert shown in err


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("ExpiredToken", "DescribeStacks: ExpiredToken: No; sign in"),
        ("InvalidClientTokenId", "sign in (aws sso login, aws configure) or choose a profile"),
        ("AccessDenied", "DescribeStacks: AccessDenied: No; request that permission"),
        ("Throttling", "try again in a minute"),
    ],
)
def test_an_error_of_aws_is_reported_in_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: str, shown: str
) -> None:
    def refuse(self: Any, operation: str, arguments: Any) -> Any:
        del self, arguments
        raise ClientError({"Error": {"Code": code, "Message": "No."}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)

    status, out, err = run("list")

    assert (status, out) == (1, "")
    assert shown in err


# ---------------------------------------------------------------------------- env


@pytest.mark.usefixtures("harness")
def test_env_prints_the_settings_that_each_function_has(run: Run) -> None:
    status, out, _ = run("env")

    settings = json.loads(out)
    assert status == 0
    assert settings.keys() == {"ImportIso", "ReportBuild", "Sweep"}
    assert settings["ImportIso"]["STACK_NAME"] == "isodrop"
    assert {each["AWS_ENDPOINT_URL"] for each in settings.values()} == {""}


@pytest.mark.usefixtures("harness")
def test_env_points_the_functions_at_the_given_endpoint(run: Run) -> None:
    _, out, _ = run("env", "--endpoint-url", "http://10.0.0.1:4566")

    said = {each["AWS_ENDPOINT_URL"] for each in json.loads(out).values()}
    assert said == {"http://10.0.0.1:4566"}


@pytest.mark.usefixtures("harness")
def test_env_of_a_stack_without_the_output_suggests_a_remedy(
    stacks: dict[str, dict[str, str]], run: Run
) -> None:
    del stacks["isodrop"]["ReportFunction"]

    status, out, err = run("env")

    assert (status, out) == (1, "")
    assert "no output ReportFunction" in err
    assert "sam deploy" in err
