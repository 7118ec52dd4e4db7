"""The modules that the command imports at its start."""

import subprocess
import sys

import pytest

from isodrop_cli.main import COMMANDS, full_parser, main

HEAVY = ("boto3", "botocore", "pydantic", "aws_lambda_powertools", "rich", "isodrop_cli.stack")
LIST = """\
import sys
from isodrop_cli.main import main
try:
    main({arguments!r})
except SystemExit:
    pass
print(*sorted(sys.modules), sep="\\n", file=sys.stderr)
"""


def loaded(*arguments: str) -> set[str]:
    """The modules that are loaded after a command has run in its own process."""
    run = subprocess.run(
        [sys.executable, "-c", LIST.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stderr.splitlines())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("names", "Win11.iso"), ("names", "a", "--json")]
)
def test_a_command_without_calls_to_aws_loads_no_sdk(arguments: tuple[str, ...]) -> None:
    assert loaded(*arguments).isdisjoint(HEAVY)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_help_of_a_command_loads_no_sdk(command: str) -> None:
    assert loaded(command, "--help").isdisjoint({"boto3", "botocore", "rich"})


def test_a_command_does_not_load_the_others() -> None:
    modules = {name for name in loaded("names", "a") if name.startswith("isodrop_cli.commands.")}
    assert modules == {"isodrop_cli.commands.names"}


def test_the_whole_parser_knows_the_arguments_of_all_commands() -> None:
    whole = full_parser()
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            whole.parse_args([command, "--help"])
        assert ended.value.code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_can_complete_all_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])

    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert [command for command in COMMANDS if command not in printed] == []
    assert "sse-kms-key-id" in printed
