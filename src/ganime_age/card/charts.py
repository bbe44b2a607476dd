"""The model card's charts, drawn from results files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .contact_sheet import GREY, INK, PAPER
from .results import Results
from .table1 import colour as row_colour
from .table1 import title

SIZE, PLOT, GAP, FINE = (1340, 640), (560, 400), 90, 2
"""Size of the chart, size of each of its two plots and the gap between them in pixels; FINE: supersampling factor."""
Curve = tuple[str, Sequence[float], str]
"""Name, values by age group, colour."""


def table1_chart(results: Results) -> Image.Image:
    """Two plots by age group, RGB: verified in %, and the mean estimated age beside that of real faces."""
    groups, methods = results.get("groups"), results.get("methods")
    names = [row["group"] for row in groups]
    chart = Image.new("RGB", (FINE * SIZE[0], FINE * SIZE[1]), PAPER)
    verified = _curves(methods, "verification", 100)
    ages = [("real faces", [row["real_age"] for row in groups], INK), *_curves(methods, "age", 1)]
    left, top = 80, 90
    _plot(chart, (left, top), "verified as the same person, %", names, verified, 100)
    _plot(chart, (left + PLOT[0] + GAP, top), "mean estimated age, years", names, ages, 90)
    _legend(chart, (left, top + PLOT[1] + 70), ages)
    return chart.resize(SIZE, Image.Resampling.LANCZOS)


def _curves(methods: Mapping[str, Any], key: str, scale: float) -> list[Curve]:
    return [
        (title(name), [scale * row[key] for row in own], row_colour(name)) for name, own in methods.items()
    ]


def _plot(
    chart: Image.Image,
    corner: tuple[int, int],
    title: str,
    names: Sequence[str],
    curves: list[Curve],
    most: int,
) -> None:
    """One plot of curves over the groups, from 0 to `most`, its upper left corner at `corner`."""
    draw, (x, y), (width, height) = ImageDraw.Draw(chart), corner, PLOT
    _write(draw, (x, y - 50), title, INK, 24)

    def at(i: int, value: float) -> tuple[float, float]:
        right = x + width * (i + 0.5) / len(names)
        return FINE * right, FINE * (y + height * (1 - min(max(value, 0), most) / most))

    for value in range(0, most + 1, 20):
        level = at(0, value)[1]
        draw.line((FINE * x, level, FINE * (x + width), level), "#dcdad4", FINE)
        _write(draw, (x - 44, level / FINE - 10), str(value), GREY, 17)
    for i, name in enumerate(names):
        _write(draw, (int(at(i, 0)[0] / FINE) - 20, y + height + 10), name, GREY, 15)
    for _, values, colour in reversed(curves):
        points = [at(i, value) for i, value in enumerate(values)]
        draw.line(points, colour, 3 * FINE, "curve")
        for px, py in points:
            draw.ellipse((px - 5 * FINE, py - 5 * FINE, px + 5 * FINE, py + 5 * FINE), colour)


def _legend(chart: Image.Image, corner: tuple[int, int], curves: list[Curve]) -> None:
    """The names of the curves, in as many lines as they need."""
    draw, (x, y), size = ImageDraw.Draw(chart), corner, 18
    for name, _, colour in curves:
        width = 24 + draw.textlength(name, ImageFont.load_default(FINE * size)) / FINE
        if x + width > SIZE[0] - corner[0] / 2:
            x, y = corner[0], y + 30
        draw.ellipse([FINE * v for v in (x, y + 5, x + 14, y + 19)], colour)
        _write(draw, (x + 24, y), name, INK, size)
        x += round(width) + 26


def _write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str, size: int) -> None:
    draw.text((FINE * place[0], FINE * place[1]), text, colour, ImageFont.load_default(FINE * size))
