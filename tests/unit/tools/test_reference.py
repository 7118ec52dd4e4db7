"""The pages that are generated from the template and from the commands' help."""

import copy
import re
from pathlib import Path

import pytest

from isodrop_cli.main import COMMANDS
from isodrop_local.template import ROOT, read_template
from tools.reference import (
    COMMANDS_PAGE,
    CONFIGURATION,
    commands_page,
    configuration_page,
    drifted,
    help_texts,
    pages,
)


def test_the_generated_pages_are_up_to_date() -> None:
    assert list(drifted()) == []


def test_each_parameter_has_its_section_and_default() -> None:
    page, template = configuration_page(read_template()), read_template()
    for name, parameter in template["Parameters"].items():
        section = page.partition(f"\n### {name}\n\n")[2].partition("\n#")[0]
        default = str(parameter["Default"])
        assert (f"Default: `{default}`" if default else "Default: empty.") in section
    rules = [each for rule in template["Rules"].values() for each in rule["Assertions"]]
    assert len(re.findall(r"^- (?!\[)", page, re.MULTILINE)) == len(rules)
    assert all(f"| `{name}` |" in page for name in template["Outputs"])


def test_a_parameter_outside_the_groups_is_refused() -> None:
    template = copy.deepcopy(read_template())
    template["Parameters"]["Forgotten"] = {"Type": "String", "Description": "Nothing."}
    with pytest.raises(ValueError, match="Forgotten"):
        configuration_page(template)


def test_a_command_without_a_block_is_refused() -> None:
    page = (ROOT / COMMANDS_PAGE).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="watch"):
        commands_page(page.replace("<!-- help: watch -->", ""))


def test_changed_pages_are_reported_as_out_of_date(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "template.yaml").write_text((ROOT / "template.yaml").read_text())
    for name, content in pages().items():
        (tmp_path / name).write_text(content.replace("Windows", "Doors"))
    assert [line.partition(" ")[0] for line in drifted(tmp_path)] == [CONFIGURATION, COMMANDS_PAGE]


def test_each_command_has_a_help_text() -> None:
    helps = help_texts()
    assert list(helps) == ["isodrop", *COMMANDS]
    assert all(helps[name].startswith(f"usage: isodrop {name} ") for name in COMMANDS)
