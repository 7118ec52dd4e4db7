"""The table of final statuses, and its agreement with the state machine."""

import re
from dataclasses import replace

from isodrop.domain.build import FINAL_STATUSES, Build, BuildPhase
from isodrop_local.template import definition

BUILD = Build("arn", "", None, None, None, (), "group", "stream")


def statuses(phase: BuildPhase) -> set[str]:
    return {each for each in FINAL_STATUSES if replace(BUILD, status=each).phase is phase}


def test_the_state_machine_ends_its_polls_at_the_final_statuses() -> None:
    states = definition()["States"]["HandleUpload"]["Branches"][0]["States"]
    first, second, *_ = states["IsBuildFinished"]["Choices"]
    distributed, not_distributed = re.findall(r"\[(.*?)\]", first["Condition"])
    (final,) = re.findall(r"\[(.*?)\]", second["Condition"])

    assert _quoted(distributed) == statuses(BuildPhase.SUCCEEDED)
    assert _quoted(not_distributed) == statuses(BuildPhase.FAILED)
    assert _quoted(final) == FINAL_STATUSES


def test_an_unknown_status_is_not_final() -> None:
    assert replace(BUILD, status="PONDERING").phase is BuildPhase.RUNNING


def _quoted(words: str) -> set[str]:
    return set(re.findall(r"'(\w+)'", words))
