"""The bench's results as a text table, a plot and a section of the README."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groupcam.evaluate.bench.contenders import FLOOR, OURS, OURS_EAGER, PUBLISHED
from groupcam.evaluate.bench.results import BenchResults, NetworkBench, Ratio, Timing, ratio
from groupcam.render.markdown import markdown_table, put_section

SECTION_START = "<!-- speed: written by python -m groupcam bench --readme -->"
SECTION_END = "<!-- end of speed -->"

Row = tuple[str, ...]


def map_rows(results: BenchResults) -> tuple[Row, list[Row]]:
    """Return headings and a row a network: one map, ours in seconds, all others against it."""
    others = dict.fromkeys(name for network in results.networks for name in network.maps)
    others.pop(OURS, None)
    headings = ("Network", f"{OURS}", *others)
    rows: list[Row] = [
        (
            network.backbone,
            _seconds(network.maps[OURS]),
            *(_against(network.maps.get(name), network.maps[OURS]) for name in others),
        )
        for network in results.networks
    ]
    return headings, rows


def curve_rows(results: BenchResults) -> tuple[Row, list[Row]]:
    """Return headings and a row a network: both curves."""
    headings = ("Network", "Points", OURS, OURS_EAGER, f"{PUBLISHED}, a forward a point")
    rows: list[Row] = [
        (
            network.backbone,
            f"2 × {network.curve_points}",
            _seconds(network.curves[OURS]),
            _against(network.curves[OURS_EAGER], network.curves[OURS]),
            _against(network.curves[PUBLISHED], network.curves[OURS]),
        )
        for network in results.networks
    ]
    return headings, rows


def network_rows(results: BenchResults) -> tuple[Row, list[Row]]:
    """Return headings and a row a network: how it was run, and its memory."""
    headings: Row = (
        "Network", "Weights", "Layer", "Forwards", "Prepared", "in", "Bare forwards by",
        "At the peak",
    )  # fmt: skip
    rows: list[Row] = [
        (
            network.backbone,
            network.weights,
            network.target_layer,
            str(network.forward_passes),
            network.plan,
            f"{network.prepare_s:.1f} s",
            network.floor,
            _peak(results, network),
        )
        for network in results.networks
    ]
    if any(network.maps[OURS].peak_mib is not None for network in results.networks):
        headings += ("Memory, ours", "Memory, published")
        rows = [
            (*row, _memory(network.maps[OURS]), _memory(network.maps[PUBLISHED]))
            for row, network in zip(rows, results.networks, strict=True)
        ]
    return headings, rows


def growth_rows(results: BenchResults) -> tuple[Row, list[Row]]:
    """Return headings and a row a point of growth."""
    headings = (
        "Network", "Groups", "Picture", OURS, PUBLISHED, FLOOR, "Memory, ours",
        "Memory, published", "",
    )  # fmt: skip
    rows: list[Row] = []
    for point in results.growth:
        ours, plain, floor = (point.maps.get(name) for name in (OURS, PUBLISHED, FLOOR))
        rows.append(
            (
                point.backbone,
                str(point.groups),
                f"{point.size} × {point.size}",
                "" if ours is None else _seconds(ours),
                _against(plain, ours),
                _against(floor, ours),
                _memory(ours),
                _memory(plain),
                point.left_out or "",
            )
        )
    return headings, rows


def draw(results: BenchResults, path: Path) -> None:
    """Write the picture of the results: times of one map, and their growth where measured."""
    growth = [point for point in results.growth if OURS in point.maps]
    smallest = min((point.size for point in growth), default=0)
    usual = results.networks[0].groups
    by_groups = [(point.groups, point) for point in growth if point.size == smallest]
    by_size = [(point.size, point) for point in growth if point.groups == usual]
    panels = {"groups": by_groups, "side of the picture in pixels": by_size}
    panels = {label: points for label, points in panels.items() if points}
    figure = Figure(figsize=(5 + 3.5 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    _draw_networks(axes[0], results.networks)
    for axis, (label, points) in zip(axes[1:], panels.items(), strict=True):
        for name in (PUBLISHED, OURS, FLOOR):
            there = sorted(
                (x, point.maps[name].median_s) for x, point in points if name in point.maps
            )
            axis.plot([x for x, _ in there], [y for _, y in there], marker="o", label=name)
        axis.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds for one map")
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def _draw_networks(axis: Axes, networks: Sequence[NetworkBench]) -> None:
    """Draw a bar a contender for every network, with the spread of the rounds."""
    for place, name in enumerate((PUBLISHED, OURS_EAGER, OURS, FLOOR)):
        times = [network.maps[name] for network in networks]
        axis.barh(
            [row + 0.2 * place for row in range(len(times))],
            [time.median_s for time in times],
            height=0.2,
            xerr=[
                [time.median_s - min(time.seconds) for time in times],
                [max(time.seconds) - time.median_s for time in times],
            ],
            label=name,
        )
    names = [network.backbone.partition("/")[2] for network in networks]
    axis.set_yticks([row + 0.3 for row in range(len(names))], names, fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("seconds for one map")
    axis.legend(fontsize=7)


def readme_section(results: BenchResults) -> str:
    """Return the README's tables, all of them from the results."""
    machine = results.hardware
    where = machine.get("gpu") or f"{machine['processor']}, {machine['threads']} threads"
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    parts = [
        f"Measured {results.measured} on {where}; {versions}. {OURS!r} in seconds, the others as "
        "multiples of it: median of the rounds, in brackets their spread.",
        f"One map, G = {results.networks[0].groups}:",
        markdown_table(*map_rows(results)),
        "Both curves:",
        markdown_table(*curve_rows(results)),
        "How they ran:",
        markdown_table(*network_rows(results)),
    ]
    if results.growth:
        parts += ["Growth with the number of groups and the size of the picture:"]
        parts += [markdown_table(*growth_rows(results))]
    return "\n\n".join(parts)


def write_readme_section(results: BenchResults, readme: Path) -> None:
    """Put the section between its marks in the README.

    Raises:
        GroupCamError: the marks are not there.
    """
    put_section(readme, SECTION_START, SECTION_END, readme_section(results))


def _seconds(timing: Timing) -> str:
    return f"{timing.median_s:.3g} s"


def _against(other: Timing | None, ours: Timing | None) -> str:
    """Return a ratio with its spread, or nothing for what was not measured."""
    if other is None or ours is None:
        return ""
    found: Ratio = ratio(other, ours)
    if found.low == found.high:
        return f"{found.median:.2f}×"
    return f"{found.median:.2f}× ({found.low:.2f}–{found.high:.2f})"


def _memory(timing: Timing | None) -> str:
    if timing is None or timing.peak_mib is None:
        return ""
    return f"{timing.peak_mib:.0f} MiB"


def _peak(results: BenchResults, network: NetworkBench) -> str:
    """Return the time of the bare forwards if they ran as fast as a large matrix product."""
    forwards = network.groups + 2
    return f"{forwards * network.gflop / results.hardware['matrix_product_gflops']:.3g} s"
