"""The check of a built layer finds wheels for another platform."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from isodrop_local.containers import host_address
from isodrop_local.packaging import ROOT
from isodrop_local.serve import GUIDE, guide
from isodrop_local.stack import StackError
from tools import sam_walkthrough
from tools.sam_local.__main__ import read_guide
from tools.sam_local.engine import EngineError, engine
from tools.sam_walkthrough import ARCHITECTURES, StepError, check_layer, commands_of, snippet


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with one compiled package."""
    package = tmp_path / "python" / "fast"
    package.mkdir(parents=True)
    for name, machine in ARCHITECTURES.items():
        compiled = bytes(18) + machine.to_bytes(2, "little")
        (package / f"core.cpython-313-{name}-linux-gnu.so").write_bytes(compiled)
    about = tmp_path / "python" / "fast-1.0.dist-info"
    about.mkdir()
    (about / "WHEEL").write_text("Tag: cp313-cp313-manylinux_2_17_x86_64\n")
    return tmp_path


def module(layer: Path, name: str = "x86_64", python: str = "313") -> Path:
    return layer / "python/fast" / f"core.cpython-{python}-{name}-linux-gnu.so"


def test_the_size_of_a_whole_layer_is_reported(layer: Path) -> None:
    assert check_layer(layer).startswith("0.0 MB unzipped, of 250 MB; compiled: 1")


def test_a_module_for_one_architecture_only_is_found(layer: Path) -> None:
    module(layer).unlink()
    with pytest.raises(StepError, match=r"exists only for \{'aarch64'\}"):
        check_layer(layer)


def test_a_module_for_another_python_is_found(layer: Path) -> None:
    module(layer).rename(module(layer, python="311"))
    with pytest.raises(StepError, match=r"is not for Python 3\.13 on Lambda"):
        check_layer(layer)


def test_a_module_for_another_system_is_found(layer: Path) -> None:
    module(layer).rename(layer / "python/fast/core.cpython-313-darwin.so")
    with pytest.raises(StepError, match=r"is not for Python 3\.13 on Lambda"):
        check_layer(layer)


def test_a_module_that_contradicts_its_name_is_found(layer: Path) -> None:
    shutil.copy(module(layer, "aarch64"), module(layer))
    with pytest.raises(StepError, match="is for another architecture"):
        check_layer(layer)


def test_a_compiled_package_without_its_modules_is_found(layer: Path) -> None:
    about = layer / "python" / "slow-1.0.dist-info"
    about.mkdir()
    (about / "WHEEL").write_text("Tag: cp311-cp311-macosx_11_0_arm64\n")
    with pytest.raises(StepError, match="slow is compiled, but not for Lambda"):
        check_layer(layer)


@pytest.mark.parametrize("language", ["hcl", "javascript"])
def test_each_snippet_that_is_tried_is_there_once(language: str) -> None:
    assert "build/package" in snippet(language)


def test_the_terminating_commands_of_the_local_guide_are_read() -> None:
    commands = commands_of(GUIDE)
    programs = {command.split()[0] for command in commands}
    assert programs >= {"aws", "isodrop", "mkdir", "python", "sam"}
    assert commands[0].startswith("mkdir -p build && python -m isodrop_local.iso_maker")
    assert not any("watch" in command or "sam build" in command for command in commands)


@pytest.mark.parametrize("page", ["README.md", "docs/developing.md"])
def test_the_walkthrough_runs_each_sam_command_with_its_options(
    page: str,
) -> None:
    printed = re.findall(r"^\$ (?:\S+=\S+ )?(sam .*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert printed
    walked = Path(sam_walkthrough.__file__).read_text()
    for command in printed:
        # The one needs Docker, the other somebody to confirm.
        if command.startswith("sam local invoke") or command == "sam deploy --guided":
            continue
        words = re.findall(r"(?<= )(?:--)?[a-z-]+(?= |$)", command.partition("#")[0])
        for word in {"sam", *words} - {"isodrop"}:
            assert f'"{word}"' in walked, command


class _Stack:
    """The parts of a stack that its guide shows."""

    endpoint = "http://127.0.0.1:4566"
    bucket = "uploads"
    outputs = {"ImportStateMachineArn": "arn:machine", "LedgerTableName": "ledger"}  # noqa: RUF012


def test_the_guide_calls_each_function_in_a_container_by_the_address_there() -> None:
    stack: Any = _Stack()
    exports, commands = read_guide(guide(stack, "172.17.0.1"))
    invoked = re.findall(r"sam local invoke (\w+)", "\n".join(commands))
    assert exports[0].startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:4566 ")
    assert invoked == ["ImportIso", "ReportBuild", "Sweep"]
    assert (
        "isodrop env --endpoint-url http://172.17.0.1:4566 --bucket tries > build/env.json"
        in commands
    )
    assert not any(each.endswith("\\") for each in commands)


def test_without_containers_the_guide_explains_how_to_get_them() -> None:
    stack: Any = _Stack()
    text = guide(stack)
    assert "sam local invoke" not in text
    assert "make local CONTAINERS=1" in text


def test_a_given_address_is_used() -> None:
    assert host_address("172.17.0.1") == "172.17.0.1"


def test_without_an_engine_the_walkthrough_names_the_need_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(StackError, match="no container engine responds"):
        host_address("1")


def test_a_feature_missing_in_podman_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match=r"apt-get install .*debootstrap"), engine(tmp_path / "e"):
        pass
