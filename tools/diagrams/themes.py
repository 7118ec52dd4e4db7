"""The colors of the drawn pictures, in light and dark themes.

A picture is drawn in the light colors. For readers who prefer a dark theme, a style sheet in it
replaces the colors that are listed here; no other color changes.
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
DARK_COLORS: Final[Mapping[str, str]] = MappingProxyType(
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
"""Both drawing programs know its widths; :func:`apply_themes` adds fallbacks for it."""


def apply_themes(svg: str) -> str:
    """Add the dark colors to a picture in the light ones."""
    rules = "".join(
        f'[{part}="{light}"]{{{part}:{dark}}}'
        for light, dark in DARK_COLORS.items()
        for part in ("fill", "stroke")
    )
    svg = svg[svg.index("<svg") :].replace(f'"{FONT}"', f'"{FONT},Helvetica,sans-serif"')
    start = svg.index(">") + 1
    style = f"\n<style>@media (prefers-color-scheme:dark){{{rules}}}</style>\n"
    return svg[:start] + style + svg[start:].strip() + "\n"
