import base64
import io
import re

import matplotlib
import numpy as np
from PIL import Image

from chaperonin.report.figures import contact_map, length_histogram
from chaperonin.report.style import Picture, as_svg, drawable


def test_user_settings_change_nothing_and_stay_as_they_were():
    lengths = np.array([10, 20, 30])
    before = as_svg(length_histogram(lengths), "x", "a histogram")
    with matplotlib.rc_context(
        {"font.size": 30, "axes.grid": True, "svg.fonttype": "path", "lines.linewidth": 9}
    ):
        assert as_svg(length_histogram(lengths), "x", "a histogram") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_svg_has_no_namespace_no_metadata_and_text_that_can_be_selected():
    svg = as_svg(length_histogram(np.array([10, 20, 30])), "x", 'a "histogram" <of> lengths')
    assert "xmlns" not in svg and "metadata" not in svg and "<style" not in svg and "font-family" not in svg
    assert ">length, residues</text>" in svg
    assert 'aria-label="a &quot;histogram&quot; &lt;of&gt; lengths"' in svg


def test_ids_of_two_figures_on_a_page_differ():
    figure = length_histogram(np.array([10, 20, 30]))
    first, second = (set(re.findall(r'id="([^"]+)"', as_svg(figure, name, "x"))) for name in ("a", "b"))
    assert first and not first & second


def test_heat_maps_keep_their_colours_in_a_palette():
    values = np.random.default_rng(0).random((20, 20))
    svg = as_svg(contact_map(values), "map", "a map")
    data = re.findall(r'href="data:image/png;base64,([^"]+)"', svg)[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.mode == "P"
        pixels = np.asarray(image.convert("RGBA"))
    drawn = contact_map(values).axes[0].images[0]
    expected = drawn.to_rgba(drawn.get_array(), bytes=True)
    assert pixels.shape == expected.shape
    np.testing.assert_array_equal(pixels, expected)


def test_panels_are_placed_from_the_upper_left_corner():
    figure = Picture(200, 100)
    box = figure.panel(20, 10, 100, 50).get_position()
    np.testing.assert_allclose([box.x0, box.y0, box.x1, box.y1], [0.1, 0.4, 0.6, 0.9])


def test_drawable_text_is_short_and_known_to_the_font():
    assert drawable("a\n b\t蛋\ud800") == "a b ??"
    assert drawable("x" * 100) == "x" * 59 + "…"
