import numpy as np
import pytest

from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.report.style import DIVERGING, as_svg
from chaperonin.report.variant_figures import (
    RESIDUES_BY_PROPERTY,
    position_means,
    score_histogram,
    score_scatter,
    variant_heat_map,
)


def panels(figure):
    """The heat-map axes: those with a row for each residue."""
    return [axes for axes in figure.axes if len(axes.get_yticks()) == 20]


def cell(figure, position, residue):
    """Drawn value at a position and residue, looked up as the eye does: by the axis labels."""
    for axes in panels(figure):
        left, right = axes.get_xlim()
        if left < position < right:
            values = axes.images[0].get_array()
            row = [label.get_text() for label in axes.get_yticklabels()].index(residue)
            columns = round(right - left)
            height, width = values.shape[0] // 20, values.shape[1] // columns
            block = values[row * height : (row + 1) * height]
            block = block[:, int(position - left - 0.5) * width :][:, :width]
            assert np.ma.allequal(block, block.flat[0])
            return block.flat[0]
    raise AssertionError(position)


def test_residues_by_property_are_the_twenty():
    assert sorted(RESIDUES_BY_PROPERTY) == sorted(STANDARD_RESIDUES)


@pytest.mark.parametrize(("position", "first"), [(1, 1), (100, 1), (101, 1), (250, 1), (47, 40)])
def test_a_known_mutation_lands_in_its_cell(position, first):
    sequence = "MKTAYIAKQR" * 25
    scores = np.full((250, 20), np.nan, dtype=np.float32)
    scores[:, STANDARD_RESIDUES.index("P")] = -0.5
    scores[position - first, STANDARD_RESIDUES.index("W")] = -7.25
    figure = variant_heat_map(scores, sequence, first)
    assert cell(figure, position, "W") == -7.25
    assert cell(figure, position, "P") == -0.5
    assert np.ma.is_masked(cell(figure, position, "C"))
    assert cell(figure, position, sequence[position - first]) == 0


def test_wild_type_is_marked_by_a_dot():
    sequence = "MKTAY"
    figure = variant_heat_map(np.full((5, 20), -1.0), sequence, first_position=11)
    (axes,) = panels(figure)
    x, y = axes.lines[0].get_data()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [(int(a), labels[int(b)]) for a, b in zip(x, y, strict=True)] == list(
        enumerate(sequence, start=11)
    )


def test_long_proteins_wrap_into_lines_of_a_hundred():
    figure = variant_heat_map(np.zeros((230, 20)), "A" * 230)
    assert [axes.get_xlim() for axes in panels(figure)] == [(0.5, 100.5), (100.5, 200.5), (200.5, 230.5)]


def test_colours_are_centred_on_zero_and_red_is_harmful():
    scores = np.random.default_rng(0).normal(-3, 1, (40, 20))
    figure = variant_heat_map(scores, "A" * 40)
    image = panels(figure)[0].images[0]
    assert image.norm.vmin == -image.norm.vmax
    assert image.norm.vmax == np.quantile(np.abs(scores), 0.99)
    low, middle, high = DIVERGING([0.0, 0.5, 1.0])
    assert low[0] > low[2] and high[2] > high[0]
    assert tuple(middle) == (1.0, 1.0, 1.0, 1.0)


def test_strip_shows_the_mean_of_each_position():
    scores = np.full((3, 20), np.nan)
    scores[0, :4] = [1, 2, 3, 6]
    scores[2] = -2
    np.testing.assert_array_equal(position_means(scores), [3, np.nan, -2])
    strip = variant_heat_map(scores, "AAA").axes[1].images[0].get_array()
    width = strip.shape[1] // 3
    assert strip[0, 0] == 3 and np.ma.is_masked(strip[0, width]) and strip[0, -1] == -2


def test_pointer_text_names_position_and_extremes():
    scores = np.full((2, 20), -1.0)
    scores[1, STANDARD_RESIDUES.index("D")] = -5
    scores[1, STANDARD_RESIDUES.index("V")] = 2
    svg = as_svg(variant_heat_map(scores, "MK", first_position=7), "map", "a map")
    assert "<title>K8: mean -1.05, lowest D -5.00, highest V +2.00</title>" in svg
    assert "<title>" not in as_svg(variant_heat_map(scores, "MK", detailed=False), "map", "a map")


def test_histogram_counts_every_variant():
    scores = np.random.default_rng(0).normal(size=500)
    (stairs,) = score_histogram(scores).axes[0].patches
    assert stairs.get_data().values.sum() == 500


def test_scatter_has_score_across_and_measurement_up():
    figure = score_scatter(np.array([-1.0, -2.0]), np.array([5.0, 6.0]), ["A1C", "A1D"])
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_array_equal(points, [[-1, 5], [-2, 6]])
    assert "<title>A1D</title>" in as_svg(figure, "scatter", "a scatter plot")
