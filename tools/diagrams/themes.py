"""The colours of the drawn pictures, in the light and in the dark.

A picture is drawn in the light colours. A style sheet within it, which a browser follows, changes
those that are written down here where its reader prefers the dark; no other colour changes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PAGE: Final = "#f6f8fa"
CARD: Final = "#fffffe"
LINE: Final = "#d0d7de"
FAINT: Final = "#eaeef2"
INK: Final = "#1f2328"
SOFT: Final = "#59636e"
WORK: Final = "#0969da"
FORK: Final = "#9a6700"
GOOD: Final = "#1a7f37"
BAD: Final = "#cf222e"
IN_THE_DARK: Final[Mapping[str, str]] = MappingProxyType(
    {
        PAGE: "#161b22",
        CARD: "#0d1117",
        LINE: "#3d444d",
        FAINT: "#262c36",
        INK: "#f0f6fc",
        SOFT: "#9198a1",
        WORK: "#4493f8",
        FORK: "#d29922",
        GOOD: "#3fb950",
        BAD: "#f85149",
    }
)
FONT: Final = "Arial"
"""Whose widths both drawers know; see :func:`apply_themes` for who has no Arial."""


def apply_themes(svg: str) -> str:
    """Give a picture in the light colours the dark ones, too."""
    rules = "".join(
        f'[{part}="{light}"]{{{part}:{dark}}}'
        for light, dark in IN_THE_DARK.items()
        for part in ("fill", "stroke")
    )
    svg = svg[svg.index("<svg") :].replace(f'"{FONT}"', f'"{FONT},Helvetica,sans-serif"')
    start = svg.index(">") + 1
    style = f"\n<style>@media (prefers-color-scheme:dark){{{rules}}}</style>\n"
    return svg[:start] + style + svg[start:].strip() + "\n"
