# SPDX-License-Identifier: Apache-2.0
"""Describes a matplotlib figure as data: what kind of chart each of its axes holds, and its points.

The shapes are those of the SDKs' models.
"""
import datetime
import re

import numpy as np
from matplotlib import dates as mdates
from matplotlib import lines, patches, ticker
from matplotlib.category import StrCategoryConverter
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer

UNIT = re.compile(r"\s\(\s*([^()]+?)\s*\)|\[\s*([^\[\]]+?)\s*\]")  # f(x) has none


def describe(figure):
    """The chart of a figure; {} when nothing is drawn in it."""
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.has_data()]
    charts = [c for c in map(describe_axes, shown) if c]
    if not charts:
        return {}
    if len(charts) == 1:
        if charts[0]["title"] is None:
            charts[0]["title"] = figure_title(figure)
        return charts[0]
    return {"type": "superchart", "title": figure_title(figure), "elements": charts}


def figure_title(figure):
    title = getattr(figure, "_suptitle", None)
    return (title.get_text() or None) if title is not None else None


def describe_axes(ax):
    if hasattr(ax, "_colorbar"):
        return None
    # In three dimensions the artists hold what was projected, not what was drawn.
    flat = ax.name != "3d"
    for read in (read_pie, read_box, read_bar, read_line, read_scatter) if flat else ():
        found = read(ax)
        if found:
            kind, elements, sideways = found
            chart = dict(frame(ax, kind), elements=elements)
            if sideways:
                name_by_category(chart)
            return chart
    return {"type": "unknown", "title": ax.get_title() or None, "elements": []}


def frame(ax, kind):
    """All but the elements."""
    chart = {"type": kind, "title": ax.get_title() or None}
    if kind == "pie":
        return chart
    for name in "xy":
        label = getattr(ax, f"get_{name}label")() or None
        unit = UNIT.search(label) if label else None
        chart[f"{name}_label"] = label
        chart[f"{name}_unit"] = unit.group(1) or unit.group(2) if unit else None
    if kind in ("line", "scatter"):
        for name in "xy":
            axis = getattr(ax, f"{name}axis")
            scale = scale_of(axis)
            chart[f"{name}_ticks"] = [value(v, scale) for v in axis.get_ticklocs()]
            chart[f"{name}_tick_labels"] = [t.get_text() for t in axis.get_ticklabels()]
            chart[f"{name}_scale"] = scale
    return chart


def scale_of(axis):
    converter = axis.converter
    if isinstance(converter, StrCategoryConverter):
        return "categorical"
    if isinstance(converter, (mdates.DateConverter, mdates._SwitchableDateConverter)) or \
            isinstance(axis.get_major_formatter(), mdates.DateFormatter):
        return "datetime"
    return axis.get_scale()


def value(v, scale):
    """A coordinate as JSON has it."""
    if scale == "datetime" and not isinstance(v, (str, datetime.date, np.datetime64)):
        try:
            return mdates.num2date(float(v)).isoformat()
        except (ValueError, OverflowError, TypeError):
            return str(v)
    if isinstance(v, np.datetime64):
        return str(v.astype("datetime64[us]").item().isoformat())
    if isinstance(v, (datetime.date, datetime.datetime)):
        return v.isoformat()
    if isinstance(v, (str, bytes)):
        return str(v)
    try:
        number = float(v)
    except (TypeError, ValueError):
        return str(v)
    return number if np.isfinite(number) else None


def number(v):
    """A plain number, whole ones as such."""
    v = float(v)
    if not np.isfinite(v):
        return None
    v = float(f"{v:.12g}")  # what adding and subtracting left over goes
    return int(v) if v == int(v) else v


def series_label(artist, kind, index):
    label = artist.get_label()
    return label if label and not str(label).startswith("_") else f"{kind} {index}"


def points(ax, xs, ys):
    x_scale, y_scale = scale_of(ax.xaxis), scale_of(ax.yaxis)
    return [[value(x, x_scale), value(y, y_scale)] for x, y in zip(xs, ys)]


def read_line(ax):
    found = [line for line in ax.lines if len(line.get_xdata(orig=True)) > 0 and not helper(ax, line)]
    return found and ("line", [
        {"label": series_label(line, "Line", i),
         "points": points(ax, *(np.ma.filled(np.ma.asarray(d), np.nan) if np.ma.isMaskedArray(d) else d
                                for d in line.get_data(orig=True)))}
        for i, line in enumerate(found)], False)


def helper(ax, line):
    """Lines across the axes (axhline, axvline) are no series."""
    return line.get_transform() in (ax.get_xaxis_transform(), ax.get_yaxis_transform())


def read_scatter(ax):
    # The lines of a contour are such a collection too, but placed otherwise.
    found = [c for c in ax.collections if isinstance(c, PathCollection) and len(c.get_offsets())
             and c.get_offset_transform().contains_branch(ax.transData)]
    return found and ("scatter", [
        {"label": series_label(c, "Series", i),
         "points": points(ax, *np.ma.filled(np.ma.asarray(c.get_offsets(), dtype=float), np.nan).T)}
        for i, c in enumerate(found)], False)


def names_of(axis):
    """Positions that somebody gave a name; ticks that merely say where they are do not count."""
    mapping = getattr(getattr(axis, "units", None), "_mapping", None)
    if mapping:
        return {float(at): name for name, at in mapping.items()}
    if not isinstance(axis.get_major_formatter(), (ticker.FixedFormatter, ticker.FuncFormatter)):
        return {}
    return {float(loc): t.get_text()
            for loc, t in zip(axis.get_ticklocs(), axis.get_ticklabels()) if t.get_text()}


def category_of(axis, position):
    """The name of what stands at a position, else the position itself."""
    names = names_of(axis)
    near = min(names, key=lambda at: abs(at - position), default=None)
    if near is not None and abs(near - position) < 0.5:
        return names[near]
    if scale_of(axis) == "datetime":
        return value(position, "datetime")
    return f"{number(position)}"


def name_by_category(chart):
    """Of bars and boxes that lie: x means the categories in any case."""
    for what in ("label", "unit"):
        chart[f"x_{what}"], chart[f"y_{what}"] = chart[f"y_{what}"], chart[f"x_{what}"]


def read_bar(ax):
    elements = []
    for i, bars in enumerate(c for c in ax.containers if isinstance(c, BarContainer)):
        sideways = getattr(bars, "orientation", "vertical") == "horizontal"
        for bar in bars.patches:
            if sideways:
                middle, size, axis = bar.get_y() + bar.get_height() / 2, bar.get_width(), ax.yaxis
            else:
                middle, size, axis = bar.get_x() + bar.get_width() / 2, bar.get_height(), ax.xaxis
            elements.append({"label": str(category_of(axis, middle)),
                             "group": series_label(bars, "Group", i), "value": number(size)})
    return elements and ("bar", elements, sideways)


def read_pie(ax):
    wedges = [p for p in ax.patches if isinstance(p, patches.Wedge)]
    if not wedges:
        return None
    return "pie", [
        {"label": "" if str(w.get_label()).startswith("_") else w.get_label(),
         "angle": number(abs(round(w.theta2 - w.theta1, 3))), "radius": number(w.r)}
        for w in wedges], False


def read_box(ax):
    """A box is a closed line or a patch of its outline; whiskers, caps and a median belong to it.

    boxplot() leaves no container behind, only artists in a fixed order: with patches, the boxes are
    patches and each gives five lines (2 whiskers, 2 caps, median) and its fliers."""
    boxes = [p for p in ax.patches if type(p) is patches.PathPatch and len(p.get_path()) in (5, 6, 11)]
    if boxes:
        outlines = [p.get_path().vertices for p in boxes]
        rest = list(ax.lines)
    else:
        closed = [ln for ln in ax.lines if is_outline(ln)]
        if not closed:
            return None
        outlines = [ln.get_xydata() for ln in closed]
        rest = [ln for ln in ax.lines if ln not in closed]
    if not rest or len(rest) < 3 * len(outlines):
        return None
    sideways = is_sideways(outlines, rest)
    names = ax.yaxis if sideways else ax.xaxis
    return "box_and_whisker", [read_one_box(o, rest, sideways, names) for o in outlines], sideways


def is_outline(line):
    xy = line.get_xydata()
    return len(xy) in (5, 11) and line.get_linestyle() != "None" and bool(np.all(xy[0] == xy[-1]))


def is_sideways(outlines, rest):
    """Whiskers run along the values."""
    for line in rest:
        xy = np.asarray(line.get_xydata(), dtype=float)
        if len(xy) == 2 and xy[0, 0] != xy[1, 0] and xy[0, 1] == xy[1, 1]:
            # A flat line: cap or median of an upright box, or a whisker of a lying one.
            across = [o for o in outlines
                      if o[:, 0].min() - 1e-9 <= xy[:, 0].min() and xy[:, 0].max() <= o[:, 0].max() + 1e-9]
            if not across:
                return True
    return False


def read_one_box(outline, rest, sideways, names):
    along, across = (0, 1) if sideways else (1, 0)
    # A notch may reach beyond the quartiles: they are where the outline begins and opposite of that.
    low, high = sorted((outline[0, along], outline[5 if len(outline) >= 11 else 2, along]))
    left, right = outline[:, across].min(), outline[:, across].max()
    middle = (left + right) / 2
    ends, median, outliers = [low, high], None, []
    for line in rest:
        xy = np.asarray(line.get_xydata(), dtype=float)
        if not len(xy) or not np.all((xy[:, across] >= left - 1e-9) & (xy[:, across] <= right + 1e-9)):
            continue
        flat = len(xy) == 2 and xy[0, along] == xy[1, along]
        if isinstance(line, lines.Line2D) and line.get_linestyle() == "None":
            outliers = list(xy[:, along])  # the last such line: one before it is the mean
        elif flat and line.get_linestyle() == "--":
            pass  # the mean, too
        elif flat and low <= xy[0, along] <= high:
            median = xy[0, along]  # drawn after the caps, which may lie on the box
        else:
            ends += list(xy[:, along])
    outliers = [number(v) for v in outliers if not min(ends) <= v <= max(ends)]
    return {"label": str(category_of(names, middle)), "min": number(min(ends)),
            "first_quartile": number(low), "median": number(median if median is not None else low),
            "third_quartile": number(high), "max": number(max(ends)), "outliers": outliers}
