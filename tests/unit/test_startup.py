"""Importing ``isodrop.startup`` pauses collection: each test runs in a process of its own."""

import subprocess
import sys
from textwrap import dedent

from isodrop_local.template import ROOT


def run(program: str) -> list[str]:
    """Run a program that has imported ``gc`` and the module; return what it printed."""
    completed = subprocess.run(
        [sys.executable, "-c", f"import gc\nfrom isodrop import startup\n{dedent(program)}"],
        env={"PYTHONPATH": str(ROOT / "layers/isodrop")},
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout.split()


def test_collection_is_paused_until_the_services_exist() -> None:
    program = """
        @startup.once
        def services():
            print(gc.isenabled())
            return []
        print(services() is services(), gc.isenabled(), gc.get_freeze_count() > 1000)
    """
    assert run(program) == ["False", "True", "True", "True"]


def test_collection_resumes_and_creation_is_retried_after_an_error() -> None:
    program = """
        attempts = []
        @startup.once
        def services():
            attempts.append(1)
            return attempts[1]
        try:
            services()
        except IndexError:
            print(gc.isenabled(), services())
    """
    assert run(program) == ["True", "1"]


def test_objects_created_later_are_not_frozen() -> None:
    program = """
        services = startup.once(list)
        services()
        frozen = gc.get_freeze_count()
        later = [[] for _ in range(10_000)]
        services.cache_clear()
        services()
        print(gc.get_freeze_count() <= frozen)
    """
    assert run(program) == ["True"]
