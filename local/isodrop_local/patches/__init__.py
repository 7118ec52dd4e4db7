"""Patches of MiniStack, where it differs from AWS in a way that matters to isodrop.

Each patch says in its docstring what the real service does; each has its own test in
``tests/stack/patches``, or for copies in ``tests/support/s3_copy.py``. They are made for the
pinned version only.
"""

from importlib.metadata import version

PINNED = "1.5.33"


def apply_patches() -> None:
    """Patch the emulator in this process, before it serves anything.

    Raises
    ------
    RuntimeError
        The emulator is not the version that the patches were made for.
    """
    if version("ministack") != PINNED:
        raise RuntimeError(f"the patches are for ministack {PINNED}, not {version('ministack')}")
    # Imported here, not above: importing the emulator reads its settings from the environment.
    from isodrop_local.patches import (  # noqa: PLC0415
        cloudformation,
        event_bus,
        functions,
        iam,
        multipart,
        policies,
        s3,
        step_functions,
    )

    for part in (
        event_bus,
        functions,
        iam,
        step_functions,
        multipart,
        s3,
        policies,
        cloudformation,
    ):
        part.apply()
