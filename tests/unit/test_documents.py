"""The documents: their figures were measured; their links and commands exist."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from isodrop_cli.main import full_parser
from tools.bench.readers import READERS
from tools.bench.tables import BEGIN, END, OURS, figures, rows_of

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "examples")
    for path in (ROOT / folder).glob("*.md")
)
MARKDOWN = MarkdownIt("commonmark").enable("table")
GROUPED, INTERLEAVED = (
    rows_of(part)
    for part in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8").split("\n## ")[1:3]
)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def tokens_of(page: str) -> Iterator[Token]:
    for token in MARKDOWN.parse(text_of(page)):
        yield token
        yield from token.children or ()


def links_of(page: str) -> list[str]:
    """Return the links and pictures of a page, except to other sites."""
    found = [token.attrGet("href") or token.attrGet("src") for token in tokens_of(page)]
    return [str(each) for each in found if each and not str(each).startswith("https://")]


def anchors_of(page: str) -> set[str]:
    """Return the anchors that GitHub makes for the headings of a page."""
    tokens = MARKDOWN.parse(text_of(page))
    headings = [
        "".join(child.content for child in inner.children or ())
        for opening, inner in pairwise(tokens)
        if opening.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def commands_of(page: str) -> list[str]:
    """Return the ``isodrop`` commands in a page's blocks, without comment, pipe and redirection."""
    blocks = [token.content for token in tokens_of(page) if token.type == "fence"]
    lines = [line for block in blocks for line in block.splitlines()]
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ isodrop ")]
    return [re.split(r" +(?:#|\||> )", each)[0] for each in typed]


@pytest.mark.parametrize("page", PAGES)
def test_no_link_of_a_page_is_dead(page: str) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert ROOT in (target, *target.parents), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors_of(target.relative_to(ROOT).as_posix()), link


def test_every_page_is_reachable_from_the_readme() -> None:
    seen, to_read = {"README.md"}, ["README.md"]
    while to_read:
        page = to_read.pop()
        for link in links_of(page):
            path = ((ROOT / page).parent / link.partition("#")[0]).resolve()
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and name not in seen:
                seen.add(name)
                to_read += [name] if name.endswith(".md") else []
    pictures = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.svg")}
    assert {*PAGES, *pictures} <= seen


@pytest.mark.parametrize("page", PAGES)
def test_each_row_of_a_table_has_all_its_cells(
    page: str,
) -> None:
    lines = text_of(page).splitlines()
    tokens = list(tokens_of(page))
    fenced = {n for t in tokens if t.type == "fence" and t.map for n in range(*t.map)}
    tables = [range(*t.map) for t in tokens if t.type == "table_open" and t.map]
    assert [
        number + 1
        for number, line in enumerate(lines)
        if line.startswith("|") and number not in fenced and not any(number in t for t in tables)
    ] == []
    for rows in tables:
        cells = {len(re.findall(r"(?<!\\)\|", lines[number])) for number in rows}
        assert len(cells) == 1, lines[rows[0]]


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)])
def test_isodrop_accepts_the_commands_of_a_page(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands_of(page):
        words = shlex.split(command.replace("<UploadBucketName>", "my-bucket"))
        try:
            assert full_parser().parse_args(words[1:]).run is not None
        except SystemExit as ended:
            if ended.code == 0:
                continue  # it has printed the help or version
            pytest.fail(f"{command}: {capsys.readouterr().err}")


def test_pages_name_existing_make_targets_and_developing_names_each() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", text_of("Makefile"), re.MULTILINE))
    named = {
        page: {
            target
            for token in tokens_of(page)
            if token.type in ("fence", "code_inline")
            for target in re.findall(r"(?:^|\$ )make ([a-z-]+)", token.content, re.MULTILINE)
        }
        for page in PAGES
    }
    assert {page: found - targets for page, found in named.items() if found - targets} == {}
    assert named["docs/developing.md"] == targets - {"help"}


def test_the_readme_quotes_the_figures_of_the_benchmark() -> None:
    quoted = text_of("README.md").partition(BEGIN)[2].partition(END)[0]
    assert quoted == f"\n{figures(INTERLEAVED)}\n"


@pytest.mark.parametrize("rows", [GROUPED, INTERLEAVED], ids=["grouped", "interleaved"])
def test_the_last_benchmark_is_within_the_limits(
    rows: dict[str, dict[str, str]],
) -> None:
    assert list(rows) == list(READERS)
    ours = rows[OURS]
    assert int(ours["requests"]) <= 4
    assert int(ours["bytes"].removesuffix(" KiB")) <= 512
    assert int(ours["memory"].removesuffix(" KiB")) < 4096
