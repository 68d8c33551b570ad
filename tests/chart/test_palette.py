"""Runs can be distinguished: by colour, by colour-blind eyes, and without any colour."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem

from bncore.figure import DASHES, PALETTE, dash_of, variant_styles
from bntui.chart.cell_style import ansi, blend, cell_style, css, parts, rgb, style_of
from bntui.chart.frame import ChartStyle
from bntui.chart.palette import (
    ANSI,
    DARK,
    IN_16_COLORS,
    LIGHT,
    MONOCHROME,
    Palette,
    dashes,
    sample,
    true_colors,
)
from bntui.chart.picture import draw
from chart.factories import band, chart, line

BASES = {"batch-noise": 2, "none": 0, "batch": 1}
DEUTERANOPIA = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
PROTANOPIA = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])
"""Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""


def linear(color: int) -> np.ndarray:
    value = np.array(parts(color)) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(color: int) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def lab(rgb_linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb_linear, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("palette", [DARK, LIGHT])
def test_every_curve_stands_out_from_the_background(palette: Palette) -> None:
    ground = luminance(palette.background)
    for color in palette.curves:
        light, dark = max(ground, luminance(color)), min(ground, luminance(color))
        assert (light + 0.05) / (dark + 0.05) >= 3.0


@pytest.mark.parametrize("palette", [DARK, LIGHT])
@pytest.mark.parametrize("eyes", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_the_first_colours_differ_to_all_eyes(palette: Palette, eyes: np.ndarray) -> None:
    seen = [lab(eyes @ linear(color)) for color in palette.curves[:4]]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one - other) >= 10


def test_every_style_has_a_colour_and_a_dash_pattern_of_its_own() -> None:
    for palette in (DARK, LIGHT):
        assert len(set(palette.curves)) == len(palette.curves) == len(PALETTE)
    assert len(set(ANSI.curves)) == len(ANSI.curves) == len(DASHES)
    assert len({tuple(dashes(style, 60)) for style in range(len(DASHES))}) == len(DASHES)
    assert len({sample(style, 3) for style in range(len(DASHES))}) == len(DASHES), "as it stands in lists"


def test_of_many_styles_no_two_have_colour_and_pattern_in_common() -> None:
    looks = {(style % len(PALETTE), dash_of(style)) for style in range(len(PALETTE) * len(DASHES))}
    assert len(looks) == len(PALETTE) * len(DASHES)


VARIANTS = st.sampled_from(
    ["none", "batch", "batch-noise", "none-lr0.1", "dln-none", "batch-noise-b", "x", "y-z"]
)


@given(st.lists(VARIANTS, max_size=12))
def test_variants_have_styles_of_their_own_and_the_colour_of_what_they_are_called_after(
    names: list[str],
) -> None:
    styles = variant_styles(names)
    assert len({*styles}) == len(names)
    for name, style in zip(names, styles, strict=True):
        base = next((b for part, b in BASES.items() if f"-{part}-" in f"-{name}-"), None)
        assert base is None or style % len(PALETTE) == base or len(names) > len(DASHES)
        assert names.count(name) > 1 or name not in BASES or style == base


def test_styles_beyond_the_last_begin_anew() -> None:
    assert DARK.curve(len(DARK.curves) + 1) == DARK.curve(1)
    assert sample(len(DASHES)) == sample(0)


@pytest.mark.parametrize("palette", [ANSI, MONOCHROME])
def test_lines_differ_without_colour(palette: Palette) -> None:
    pictures = {
        tuple(
            draw(
                chart(line([1.0, 2.0, 1.5], style=style)), 60, 12, chart_style=ChartStyle(palette)
            ).grid.plain()
        )
        for style in range(len(DASHES))
    }
    assert len(pictures) == len(DASHES)


@pytest.mark.parametrize("count", [len(DASHES), len(DASHES) + 1])
def test_where_dash_patterns_repeat_all_but_the_bold_line_are_dim(count: int) -> None:
    bold = 3
    lines = (line([float(n)] * 9, style=n, bold=n == bold) for n in range(count))
    picture = draw(chart(*lines), 60, 4 * count, chart_style=ChartStyle(MONOCHROME))
    lit = np.isin(picture.grid.characters, range(ord("⠁"), ord("⣿") + 1))
    rows = np.flatnonzero(lit.any(1))[::-1]
    assert len(rows) == count
    dims = [bool(style_of(int(picture.grid.styles[row][lit[row]][0])).dim) for row in rows]
    assert dims == [n != bold and count > len(DASHES) for n in range(count)]


def test_bands_differ_without_colour() -> None:
    pictures = {
        tuple(
            draw(
                chart(band([0.0] * 9, [1.0] * 9, style)), 60, 12, chart_style=ChartStyle(MONOCHROME)
            ).grid.plain()
        )
        for style in range(3)
    }
    assert len(pictures) == 3


def test_what_the_terminal_decides_about_is_never_mixed() -> None:
    for color in IN_16_COLORS:
        assert blend(ansi(color), rgb(0, 0, 0), 0.5) == ansi(color)
    assert blend(rgb(255, 255, 255), rgb(0, 0, 0), 0.5) == rgb(128, 128, 128)


def test_an_ink_is_the_style_it_was_made_of() -> None:
    style = style_of(cell_style(rgb(1, 2, 3), ansi(9), bold=True))
    assert style.color is not None and style.color.triplet == (1, 2, 3)
    assert style.bgcolor is not None and style.bgcolor.number == 9
    assert style.bold and not style.dim


def test_colours_have_names_for_style_sheets() -> None:
    assert css(rgb(86, 180, 233)) == "#56B4E9"
    assert css(ansi(14)) == "ansi_bright_cyan"
    assert MONOCHROME.css(3) == "ansi_default"


@pytest.mark.parametrize("ground", [(18, 18, 18), (250, 250, 250)])
def test_in_256_colors_bands_are_faint_grays_also_where_they_overlap(ground: tuple[int, int, int]) -> None:
    palette = true_colors(ground, (224, 224, 224), (1, 120, 212), few=True)
    for one, other in itertools.product(range(len(palette.curves)), repeat=2):
        once = palette.fill(one, palette.background)
        for fill in (once, palette.fill(other, once)):
            shown = style_of(cell_style(palette.text, fill)).bgcolor
            assert shown is not None
            red, green, blue = shown.downgrade(ColorSystem.EIGHT_BIT).get_truecolor()
            assert red == green == blue
            assert 0 < abs(red - ground[0]) < 110
