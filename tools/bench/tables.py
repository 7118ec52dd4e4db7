"""Tables of the cost of reading, which the benchmark writes and tests of quoted figures read."""

from collections.abc import Mapping, Sequence

from tools.bench.readers import Cost

LIMIT, OURS = "three rounds, the limit", "isodrop"
OTHER, WHOLE = "pycdlib, blocks of 1 MiB", "the whole object"
BEGIN, END = "<!-- make bench writes from here -->", "<!-- to here -->"
HEADINGS = (
    *("reader", "requests", "bytes", "time", "memory"),
    *("time ÷ limit", "time ÷ isodrop", "bytes ÷ isodrop"),
)


def table(costs: Mapping[str, Cost]) -> str:
    """Write one image's costs, with ratios to the limit and to isodrop."""
    rows: list[Sequence[str]] = [HEADINGS, ("---", *["--:"] * 7)]
    limit, ours = costs[LIMIT], costs[OURS]
    for name, cost in costs.items():
        taken = (f"{cost.requests:,}", _bytes(cost.bytes), f"{cost.seconds:.3f} s")
        times = (_ratio(cost.seconds / limit.seconds), _ratio(cost.seconds / ours.seconds))
        rows.append((name, *taken, _bytes(cost.memory), *times, _ratio(cost.bytes / ours.bytes)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def figures(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Summarize the table of one image in sentences."""
    limit, ours, other, whole = (rows[name] for name in (LIMIT, OURS, OTHER, WHOLE))
    return (
        f"isodrop makes **{ours['requests']} requests, for {ours['bytes']} in all**,"
        f" and takes {ours['time']}; with all places known in advance it takes {limit['time']}.\n"
        f"pycdlib, in blocks of 1 MiB, makes {other['requests']} requests and takes"
        f" {other['time']}. The whole object takes {whole['time']}."
    )


def quoting(text: str, costs: Mapping[str, Cost]) -> str:
    """Put the figures between the marks in a text."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError("the text has no marks to put figures between")
    return f"{head}{begin}\n{figures(rows_of(table(costs)))}\n{end}{tail}"


def _bytes(number: int) -> str:
    return f"{number / 1024:,.0f} KiB" if number < 10 << 20 else f"{number / (1 << 20):,.0f} MiB"


def _ratio(number: float) -> str:
    return f"{number:,.2f}" if number < 10 else f"{number:,.0f}"


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """Parse a table of this kind inside a text: by reader, by heading."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: dict(zip(lines[0], row, strict=True)) for row in lines[2:]}
