"""Does the picture hold the journal's numbers, each line to be told from the others?"""

import math
import struct
import sys

import pytest
from matplotlib.container import ErrorbarContainer

from thpsweep.answers.picture import plot
from thpsweep.answers.picture.lines import MOST_LINES, X, Y
from thpsweep.answers.picture.places import DODGE_POINTS
from thpsweep.errors import SweepError


def lines_of(axes):
    return {box.get_label(): box.lines[0] for box in axes.containers if isinstance(box, ErrorbarContainer)}


def labels_of(axes):
    return sorted(text.get_text() for text in axes.texts)


def test_the_lines_are_the_closed_forms(sweep_of):
    degrees = (1, 16, 195)
    (axes,) = plot.figure(sweep_of(degrees=degrees, regions=3)).axes
    lines = lines_of(axes)
    assert set(lines) == {"none", "copy", "inplace", "switch"}
    assert list(lines["inplace"].get_ydata()) == [3 * 1024 * n for n in degrees]
    assert list(lines["switch"].get_ydata()) == [3 * 512 * n for n in degrees]
    assert list(lines["switch"].get_xdata()) == [3 * 511] * 3
    assert list(lines["copy"].get_xdata()) == [3 * (512 - n) for n in degrees]


def test_the_bars_are_the_intervals(sweep_of):
    (axes,) = plot.figure(sweep_of(degrees=(195,), policies=("switch",), regions=1)).axes
    (box,) = [box for box in axes.containers if isinstance(box, ErrorbarContainer)]
    x_bars, y_bars = box.lines[2]
    assert [tuple(point) for point in x_bars.get_segments()[0]] == [(510, 99_840), (512, 99_840)]
    assert [tuple(point) for point in y_bars.get_segments()[0]] == [(511, 99_830), (511, 99_850)]


def test_an_interval_that_is_unknown_is_no_bar(sweep_of):
    def one_replicate(record):
        for metric in record["result"]["metrics"].values() if record["type"] == "result" else ():
            metric |= {"low": math.nan, "high": math.nan}
        return record

    (axes,) = plot.figure(sweep_of(degrees=(4, 195), policies=("switch",), regions=1, change=one_replicate)).axes
    (box,) = [box for box in axes.containers if isinstance(box, ErrorbarContainer)]
    assert [tuple(point) for point in box.lines[2][1].get_segments()[0]] == [(511, 2048), (511, 2048)]
    assert axes.get_ylim()[0] < 2048 < 99_840 < axes.get_ylim()[1]


def test_each_place_is_labelled_with_its_degrees(sweep_of):
    (axes,) = plot.figure(sweep_of(degrees=(1, 16, 195), policies=("none", "inplace"))).axes
    assert labels_of(axes) == sorted(["1–195", "1", "16", "195"])


def test_lines_on_the_same_data_are_apart_on_paper(sweep_of):
    def refused(record):
        if record["type"] == "result":
            for name in (X, Y):
                record["result"]["metrics"][name] = {"mean": 0, "low": 0, "high": 0}
        return record

    drawn = plot.figure(sweep_of(policies=("none", "copy"), change=refused))
    places = [line.get_transform().transform((0, 0)) for line in lines_of(drawn.axes[0]).values()]
    assert abs(places[0][0] - places[1][0]) * 72 / drawn.dpi == pytest.approx(DODGE_POINTS)


def test_a_line_alone_is_where_its_data_are(sweep_of):
    (axes,) = plot.figure(sweep_of(policies=("copy", "inplace"), degrees=(64, 195, 512))).axes
    line = lines_of(axes)["copy"]
    assert line.get_transform().transform((3, 5)) == pytest.approx(axes.transData.transform((3, 5)))


def test_no_two_policies_share_colour_or_marker(sweep_of):
    policies = ("none", "copy", "inplace", "inplace_pmd", "switch")
    (axes,) = plot.figure(sweep_of(policies=policies)).axes
    looks = [(line.get_color(), line.get_marker()) for line in lines_of(axes).values()]
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == len(policies)


def test_zero_has_a_place_on_the_logarithmic_axis(sweep_of):
    assert plot.figure(sweep_of()).axes[0].get_yscale() == "symlog"
    assert plot.figure(sweep_of(policies=("inplace", "switch"))).axes[0].get_yscale() == "log"


def test_every_point_is_inside_its_panel(sweep_of):
    for axes in plot.figure(sweep_of(degrees=(1, 64, 1024), regions=40)).axes:
        for line in lines_of(axes).values():
            corners = axes.transAxes.inverted().transform(line.get_transform().transform(line.get_xydata()))
            assert ((corners > 0) & (corners < 1)).all()


def test_a_panel_a_workload(sweep_of):
    drawn = plot.figure(sweep_of(workloads=("captured", "prefork")))
    assert [axes.get_title() for axes in drawn.axes] == ["workload captured", "workload prefork"]


def test_of_more_lines_than_can_be_followed_there_are_the_points_by_policy(sweep_of):
    def seeded(record):
        if record["type"] == "point":
            seed = record["index"] // 3
            record["params"] |= {"run.seed": seed}
            record["point"]["run"]["seed"] = seed
        return record

    degrees = tuple(range(1, MOST_LINES + 2))
    sweep = sweep_of(degrees=degrees, policies=("inplace", "switch", "copy"), change=seeded, regions=1)
    (axes,) = plot.figure(sweep).axes
    assert not axes.containers and not axes.texts
    drawn = {line.get_label(): line for line in axes.lines}
    assert set(drawn) == {"inplace", "switch", "copy"}
    assert sorted(drawn["inplace"].get_ydata()) == [1024 * n for n in degrees]
    assert sorted(drawn["copy"].get_xdata()) == sorted(512 - n for n in degrees)
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["inplace", "switch", "copy"]
    for line in drawn.values():
        corners = axes.transAxes.inverted().transform(line.get_transform().transform(line.get_xydata()))
        assert ((corners > 0) & (corners < 1)).all()


def test_the_file_is_a_png_of_a_readable_size(sweep_of, tmp_path):
    plot.plot(sweep_of(), tmp_path / "frontier.png")
    head = (tmp_path / "frontier.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    assert width >= 1200
    assert height >= 800


def test_drawing_leaves_no_pyplot_figure_behind(sweep_of):
    plot.figure(sweep_of())
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_nothing_to_plot_is_an_error(sweep_of):
    with pytest.raises(SweepError, match="nothing to plot"):
        plot.figure(sweep_of(change=lambda record: record if record["type"] != "result" else None))
