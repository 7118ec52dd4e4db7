"""Overrides on the command line: ``--set KEY=VALUE``."""

from argparse import ArgumentParser, ArgumentTypeError

from isodrop.domain.overrides import RULES


def add_set(command: ArgumentParser, what: str) -> None:
    """Add ``--set``; ``options.set`` is a list of pairs."""
    command.add_argument(
        "--set", metavar="KEY=VALUE", type=_override, action="append", default=[], help=what
    )


def _override(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or key not in RULES:
        raise ArgumentTypeError(
            f"'{text}' is not of the form KEY=VALUE, where KEY is one of {', '.join(RULES)}"
        )
    if value and not RULES[key].accepts(value):
        raise ArgumentTypeError(f"{key} must be {RULES[key].requirement}")
    return key, value
