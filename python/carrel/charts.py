# SPDX-License-Identifier: Apache-2.0
"""Charts that code has drawn, as the data in them, to draw them anew elsewhere."""

from __future__ import annotations

import enum
from typing import Any


class ChartType(str, enum.Enum):
    """What kind of chart it is."""

    LINE = "line"
    SCATTER = "scatter"
    BAR = "bar"
    PIE = "pie"
    BOX_AND_WHISKER = "box_and_whisker"
    SUPERCHART = "superchart"
    UNKNOWN = "unknown"


class ScaleType(str, enum.Enum):
    """How an axis is divided."""

    LINEAR = "linear"
    DATETIME = "datetime"
    CATEGORICAL = "categorical"
    LOG = "log"
    SYMLOG = "symlog"
    LOGIT = "logit"
    FUNCTION = "function"
    FUNCTIONLOG = "functionlog"
    ASINH = "asinh"
    UNKNOWN = "unknown"


class ChartElement:
    """One line, bar, slice or box; its members are those the server sent: `label`, and `points` of
    lines and dots, `group` and `value` of bars, `angle` and `radius` of slices, `min`,
    `first_quartile`, `median`, `third_quartile`, `max` and `outliers` of boxes."""

    label: str
    points: list[tuple[Any, Any]]

    def __init__(self, data: dict[str, Any]) -> None:
        self.__dict__.update(data)
        if "points" in data:
            self.points = [(point[0], point[1]) for point in data["points"]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class Chart:
    """A chart: `type`, `title`, `elements`, and for those with axes `x_label`, `x_unit`, `x_scale`,
    `x_ticks`, `x_tick_labels` and the same for y."""

    type: ChartType = ChartType.UNKNOWN
    title: str | None = None
    elements: list[Any]

    def __init__(self, data: dict[str, Any]) -> None:
        self.__dict__.update(data)
        self._data = data
        self.type = member(ChartType, data.get("type"))
        for axis in ("x_scale", "y_scale"):
            if axis in data:
                setattr(self, axis, member(ScaleType, data[axis]))
        self.elements = [ChartElement(element) for element in data.get("elements", ())]

    def to_dict(self) -> dict[str, Any]:
        """The chart as the server sent it."""
        return self._data


def member(kinds: Any, value: Any) -> Any:
    return kinds(value) if value in kinds._value2member_map_ else kinds.UNKNOWN


class LineChart(Chart):
    """Lines."""


class ScatterChart(Chart):
    """Dots."""


class BarChart(Chart):
    """Bars."""


class PieChart(Chart):
    """Slices."""


class BoxAndWhiskerChart(Chart):
    """Boxes."""


class SuperChart(Chart):
    """Several charts in one figure, which are its elements."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__({**data, "elements": ()})
        self._data = data
        self.elements = [parse_chart(element) for element in data.get("elements", ())]


CLASSES = {
    "line": LineChart,
    "scatter": ScatterChart,
    "bar": BarChart,
    "pie": PieChart,
    "box_and_whisker": BoxAndWhiskerChart,
    "superchart": SuperChart,
}


def parse_chart(data: dict[str, Any] | None) -> Chart | None:
    """The chart in a result; None if there is none."""
    return CLASSES.get(data.get("type", ""), Chart)(data) if data else None
