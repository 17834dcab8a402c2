import numpy as np
import pytest

from chaperonin.report.figures import (
    Curve,
    contact_map,
    embedding_projection,
    enlarged,
    learning_curves,
    length_histogram,
    save_contact_picture,
    strongest_in_blocks,
)
from chaperonin.report.style import as_svg


@pytest.mark.parametrize("lengths", [[5, 5], [10, 11, 12, 30], [1, 40_000, 300, 300], list(range(1, 2_000))])
def test_length_histogram_counts_every_record(lengths):
    (stairs,) = length_histogram(np.array(lengths)).axes[0].patches
    assert stairs.get_data().values.sum() == len(lengths)


def test_projection_labels_say_the_explained_variance_and_points_their_name():
    coordinates = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    figure = embedding_projection(coordinates, (0.25, 0.125), np.array([10, 100, 1_000]), ["a", "b", "c"])
    assert figure.axes[0].get_xlabel() == "component 1, 25.0% of the variance"
    assert figure.axes[0].get_ylabel() == "component 2, 12.5% of the variance"
    np.testing.assert_array_equal(figure.axes[0].collections[0].get_offsets(), coordinates)
    assert "<title>c, 1,000 residues</title>" in as_svg(figure, "projection", "a scatter plot")


def test_many_points_become_one_picture():
    points = np.random.default_rng(0).normal(size=(2_000, 2))
    svg = as_svg(embedding_projection(points, (0.5, 0.2), np.full(2_000, 50)), "many", "a scatter plot")
    assert svg.count("<image") == 2 and len(svg) < 200_000  # the points, and the colour bar


def test_contact_map_is_square_and_counts_residues_from_one():
    probabilities = np.zeros((40, 40))
    probabilities[4, 29] = 1
    axes = contact_map(probabilities, "name").axes[0]
    image = axes.images[0]
    assert axes.get_xlim() == (0.5, 40.5) and axes.get_ylim() == (40.5, 0.5)
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    values = image.get_array()
    cell = len(values) // 40
    rows, columns = np.nonzero(values)
    assert {*(rows // cell + 1)} == {5} and {*(columns // cell + 1)} == {30}
    ticks = [tick for tick in axes.get_xticks() if 0.5 <= tick <= 40.5]
    assert ticks[0] == 1 and ticks[-1] == 40


def test_large_maps_keep_the_strongest_contact_of_each_block():
    values = np.random.default_rng(0).random((10, 10))
    blocks = strongest_in_blocks(values, 4)
    assert blocks.shape == (4, 4)
    assert blocks[1, 2] == values[3:6, 6:9].max() and blocks[3, 3] == values[9, 9]
    assert strongest_in_blocks(values, 10) is values
    np.testing.assert_array_equal(enlarged(values, 35)[1::3, 2::3], values)


def test_pairs_without_a_probability_stay_visible():
    values = np.full((6, 6), np.nan)
    values[0, 1] = 0.5
    blocks = strongest_in_blocks(values, 3)
    assert blocks[0, 0] == 0.5 and np.isnan(blocks).sum() == 8
    colour = contact_map(values).axes[0].images[0].cmap(np.ma.masked_invalid([np.nan, 0.0]))
    assert tuple(colour[1]) == (1, 1, 1, 1) and colour[0][0] < 0.85


def test_contact_picture_has_the_same_bytes_every_time(tmp_path):
    probabilities = np.random.default_rng(0).random((30, 30), dtype=np.float32)
    for name in ("a.png", "b.png"):
        save_contact_picture(
            tmp_path / name, probabilities, "$\\frac{x$ \u202e\ud800 <b> \n 蛋白 " + "long " * 50
        )
    picture = (tmp_path / "a.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and picture == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_learning_curves_draw_what_they_are_given():
    curves = [Curve("training", [1.0, 2.0, 3.0], [3.0, 2.0, 1.5]), Curve("held out", [1.0, 3.0], [3.1, 1.8])]
    axes = learning_curves(curves, "loss").axes[0]
    assert [line.get_label() for line in axes.lines] == ["training", "held out"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [3.1, 1.8])
    assert axes.get_ylabel() == "loss"
