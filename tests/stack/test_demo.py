"""make demo and make local: their output, their exit codes, and that they leave no files."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from isodrop_cli.exit_codes import ExitCode
from isodrop_local import demo
from isodrop_local.console_output import ConsoleOutput, size
from isodrop_local.stack import EmulatedStack, credentials
from tests.stack.conftest import upload_failing_iso
from tools.contract.samples import SAMPLES, read

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with a temporary folder that the test can inspect."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return {**os.environ, "TMPDIR": str(folder)}


@pytest.fixture
def run(environ: dict[str, str]) -> Iterator[Run]:
    """Run the demo; afterwards its temporary folder must be empty."""

    def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "isodrop_local.demo", *arguments],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    yield run_demo
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


def is_free(endpoint: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(endpoint.rpartition(":")[2]))) != 0


def test_as_json_each_line_is_an_object_and_the_exit_code_is_0(run: Run) -> None:
    done = run("--json")
    assert done.returncode == 0, done.stdout + done.stderr
    output = [json.loads(line) for line in done.stdout.splitlines()]
    steps = [line["step"] for line in output]
    wanted = ["starting", "listening", "deployed", "made", "upload", "uploaded", "event"]
    wanted += ["execution", "decision", "build", "progress", "answer", "ami"]
    assert list(dict.fromkeys(step for step in steps if step in wanted)) == wanted
    answer = next(line["event"] for line in output if line["step"] == "answer")
    assert answer["detail-type"] == "ISO Import Succeeded"
    plan = answer["detail"]["data"]["plan"]
    assert plan["name"] == "windows-11-enterprise-x64-en-us"
    assert re.fullmatch(r"11\.26100\.\d+", plan["semanticVersion"])
    assert plan["imageIndex"] == 3  # as on Microsoft's ISOs; other tests have another order
    assert is_free(output[1]["endpoint"])
    messages = "\n".join(line["message"] for line in output if "message" in line)
    assert [line for line in sampled() if not line.search(messages)] == []


def sampled() -> list[re.Pattern[str]]:
    """The demo's lines in README, as patterns for values that change in each run."""
    page = (ROOT / "README.md").read_text().partition("$ make demo\n")[2]
    lines = re.findall(r"^ +\d\.\ds  (.+)$", page.partition("(Shortened")[0], re.MULTILINE)
    assert len(lines) == 9
    new_each_time = {
        r":\d{5}$": r":\d+",
        r"etag [0-9a-f]+": "etag [0-9a-f]+",
        r"ami-[0-9a-f]+": "ami-[0-9a-f]+",
        r"11\.26100\.\d+(-1)?": r"11\.26100\.\d+(-1)?",
        r"[A-Z]+  \d+ of \d+ steps": r"[A-Z]+  \d+ of \d+ steps",
        r" …$": ".*",
    }
    found = re.compile("|".join(f"({each})" for each in new_each_time))
    made = []
    for line in lines:
        text, at = "", 0
        for one in found.finditer(line):
            text += re.escape(line[at : one.start()])
            text += next(new for old, new in new_each_time.items() if re.fullmatch(old, one[0]))
            at = one.end()
        made.append(re.compile(f"^{text}{re.escape(line[at:])}$", re.MULTILINE))
    return made


def test_without_json_a_rejection_is_shown_with_its_reason(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "letter.iso"
    text.write_text("Dear reader, this is no ISO.\n" * 100)
    done = run("--iso", str(text))
    assert done.returncode == ExitCode.REJECTED, done.stdout + done.stderr
    assert "ISO Import Rejected: not-an-iso" in done.stdout
    assert '"code": "not-an-iso"' in done.stdout, "the answer in full"
    assert "What to do: " in done.stdout
    assert "\033" not in done.stdout, "colors are for terminals"


@pytest.mark.parametrize(
    ("path", "says"),
    [("nowhere.iso", "No such file"), (".", "is a directory")],
)
def test_an_unreadable_file_is_a_usage_error(run: Run, path: str, says: str) -> None:
    done = run("--iso", path)
    assert done.returncode == ExitCode.USAGE
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    environ: dict[str, str], sent: signal.Signals
) -> None:
    with started("isodrop_local.demo", environ) as process:
        endpoint = read_after(process, "listening at ")
        read_after(process, "deployed")
        process.send_signal(sent)
        assert process.wait(20) == 130
    assert is_free(endpoint)
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


def test_a_local_stack_runs_until_it_is_stopped(
    environ: dict[str, str], make_unique_iso: Callable[..., Path]
) -> None:
    iso = make_unique_iso("local.iso")
    with started("isodrop_local.serve", environ) as process:
        endpoint = read_after(process, "  endpoint ")
        bucket = read_after(process, "  bucket ")
        client = boto3.session.Session(**credentials()).client("s3", endpoint_url=endpoint)
        client.upload_file(str(iso), bucket, "local.iso")
        client.close()
        read_after(process, "ISO Import Succeeded")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert is_free(endpoint)
    assert list(Path(environ["TMPDIR"]).iterdir()) == []


def test_a_port_in_use_is_reported_in_one_sentence(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "isodrop_local.serve", "--port", str(port)],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == ExitCode.ERROR
    assert f"port {port} on 127.0.0.1 is not available: Address already in use" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_make_forwards_signals_to_the_command(environ: dict[str, str]) -> None:
    """A shell between make and the command would end without forwarding the signal."""
    output = subprocess.run(
        ["make", "--dry-run", "demo", "local", "PORT=4566"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = [line for line in output.splitlines() if "isodrop_local." in line]
    assert [line.split()[0] for line in commands] == ["exec", "exec"]
    assert commands[1].endswith('--port "4566"')


def test_a_file_name_that_is_not_text_is_a_usage_error(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.iso"))
    odd.write_text("no ISO either")
    assert "not UTF-8" in demo.check_iso_path(odd)


@contextmanager
def started(module: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a module for a minute at most."""
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def read_after(process: subprocess.Popen[str], text: str) -> str:
    """Read until a line contains the text; return the rest of the line."""
    assert process.stdout
    read = []
    for line in process.stdout:
        read.append(line)
        if text in line:
            return line.partition(text)[2].strip()
    raise AssertionError(f"no line with {text!r}: {''.join(read)}")


def test_a_failed_build_has_its_own_exit_code(
    stack: EmulatedStack, make_unique_iso: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_unique_iso("doomed.iso")
    upload_failing_iso(stack, path, message="Sysprep was not amused.", step="RunSysprep")
    answer = stack.wait_for_answer("doomed.iso")
    assert demo.print_result(ConsoleOutput(), stack, answer) == ExitCode.FAILED
    assert "Sysprep was not amused." in capsys.readouterr().out


def test_colors_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal, no_color, colored in [(True, "", True), (True, "1", False), (False, "", False)]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda answer=terminal: answer)
        monkeypatch.delenv("NO_COLOR", raising=False)
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        ConsoleOutput().print_step("answer", "done", "good")
        assert ("\033[32mdone" in capsys.readouterr().out) is colored


def test_a_repeated_event_is_shown_once_and_a_distribution_as_such(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sample = read(ROOT / SAMPLES)["iso-import-progressed"]
    far = json.loads(json.dumps(sample))
    far["detail"]["metadata"]["eventId"] = "another"
    far["detail"]["data"]["distributionArn"] = "arn"
    narrator = ConsoleOutput()
    for event in (sample, sample, far):
        narrator.print_event(event)
    output = [line.partition("s  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[0] for line in output] == ["build", "distribution"]


def test_with_several_uploads_each_line_of_a_failure_names_its_upload(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = read(ROOT / SAMPLES)["iso-import-rejected"]
    narrator = ConsoleOutput(keys=True)
    narrator.print_event(answer)
    narrator.print_next_steps(answer)
    output = [line.partition("s  ")[2] for line in capsys.readouterr().out.splitlines()]
    data = answer["detail"]["data"]
    key = data["source"]["key"]
    assert output[1:] == [f"{key}: {data['message']}", f"{key}: What to do: {data['remedy']}"]
    assert output[0].startswith(f"{key}: ISO Import Rejected")


@pytest.mark.parametrize(
    ("terminal", "arguments", "output"),
    [(True, [], f"{demo.NEXT}\n"), (True, ["--json"], ""), (False, [], "")],
)
def test_the_next_commands_are_suggested_at_the_end_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
    arguments: list[str],
    output: str,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(demo, "end_on_signals", lambda: None)
    monkeypatch.setattr(demo, "run", lambda _narrator, _iso: ExitCode.REJECTED)
    assert demo.main(arguments) == ExitCode.REJECTED
    assert capsys.readouterr().out == output
    assert len(demo.NEXT) <= 80


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (759808, "742 KiB"), (64 << 20, "64 MiB"), (5_800_000_000, "5.4 GiB")],
)
def test_sizes_are_formatted_with_units(count: int, text: str) -> None:
    assert size(count) == text


def test_a_file_not_named_iso_is_uploaded_under_an_iso_name(
    stack: EmulatedStack, tmp_path: Path, capsys: pytest.CaptureFixture[Any]
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("not much")
    assert demo.upload_iso(ConsoleOutput(), stack, notes) == "notes.txt.iso"
    assert "uploaded as notes.txt.iso" in capsys.readouterr().out
    assert stack.wait_for_answer("notes.txt.iso")["detail"]["data"]["code"] == "not-an-iso"


def test_file_names_cannot_send_control_codes_to_the_terminal(
    stack: EmulatedStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = tmp_path / "esc\033[31m\nred.iso"
    hostile.write_text("no ISO either")
    key = demo.upload_iso(ConsoleOutput(), stack, hostile)
    narrator = ConsoleOutput(keys=True)
    narrator.print_event(stack.wait_for_answer(key))
    output = capsys.readouterr().out
    assert "\033" not in output
    assert r"uploading esc\x1b[31m\nred.iso" in output
    assert r"esc\x1b[31m\nred.iso: ISO Import Rejected: not-an-iso" in output
