# SPDX-License-Identifier: Apache-2.0
"""What results are made of: charts, tables, images and plain data beside their text."""
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys

from IPython import get_ipython
from IPython.core.formatters import BaseFormatter
from IPython.display import display
from traitlets import ObjectName, Unicode

JSON_MOST = 1 << 20  # items of a list or dict that are looked at


class DataFormatter(BaseFormatter):
    format_type = Unicode("e2b/data")
    print_method = ObjectName("_repr_e2b_data_")
    _return_type = dict


class ChartFormatter(BaseFormatter):
    format_type = Unicode("e2b/chart")
    print_method = ObjectName("_repr_e2b_chart_")
    _return_type = dict


def plain_json(value):
    """The value if it is plain data of sensible size, else None."""
    try:
        if len(value) > JSON_MOST:
            return None
        text = json.dumps(value, default=plain)
    except (TypeError, ValueError, RecursionError):
        return None
    return json.loads(text, parse_constant=lambda name: None)


def plain(value):
    """numpy's numbers and arrays, dates: what people have in their lists."""
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError


def cell(value):
    """One value of a table as JSON has it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if hasattr(value, "isoformat"):
        return None if value != value else value.isoformat()
    if hasattr(value, "item"):
        try:
            return cell(value.item())
        except (TypeError, ValueError):
            pass
    return str(value)


def frame_data(frame):
    names = ["_".join(map(str, c)) if isinstance(c, tuple) else str(c) for c in frame.columns]
    return {name: [cell(v) for v in frame.iloc[:, i].tolist()] for i, name in enumerate(names)}


def charts():
    """The module beside this one, whose directory is not on the user's sys.path."""
    if "carrel_charts" not in sys.modules:
        path = os.path.join(os.path.dirname(__file__), "carrel_charts.py")
        spec = importlib.util.spec_from_file_location("carrel_charts", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["carrel_charts"] = module
    return sys.modules["carrel_charts"]


def figure_chart(figure):
    try:
        return charts().describe(figure)
    except Exception:  # the picture is shown all the same
        return {}


def patch_image(module):
    """Image.save shows what was saved to a file, as show() does."""
    save = module.Image.save

    def save_and_show(self, fp, format=None, **params):
        save(self, fp, format, **params)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if isinstance(fp, (str, bytes, os.PathLike)) and not caller.startswith("matplotlib"):
            display(self)

    module.Image.save = save_and_show


def patch_image_show(module):
    class Show(module.Viewer):
        def show(self, image, **options):
            display(image)
            return 1

    module.register(Show(), 0)


def patch_figure(module):
    """By method: matplotlib's own set-up forgets every formatter of figures that it did not make."""
    module.Figure._repr_e2b_chart_ = figure_chart


def draw_inline(module):
    """Figures are shown where they are made, from the first cell on."""
    get_ipython().run_line_magic("matplotlib", "inline")


AFTER_IMPORT = {"PIL.Image": patch_image, "PIL.ImageShow": patch_image_show,
                "matplotlib.figure": patch_figure, "matplotlib.pyplot": draw_inline}


class AfterImport(importlib.abc.MetaPathFinder):
    """Patches a module when it is imported, so that nothing is imported for patching."""

    def find_spec(self, name, path, target=None):
        if name not in AFTER_IMPORT:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            AFTER_IMPORT[name](module)

        spec.loader.exec_module = exec_module
        return spec


def install(shell):
    formatters = shell.display_formatter.formatters
    data = DataFormatter(parent=shell.display_formatter)
    data.for_type_by_name("pandas.core.frame", "DataFrame", frame_data)
    formatters["e2b/data"] = data
    formatters["e2b/chart"] = ChartFormatter(parent=shell.display_formatter)
    as_json = formatters["application/json"]
    as_json.for_type(list, plain_json)
    as_json.for_type(dict, plain_json)
    for name, patch in AFTER_IMPORT.items():
        if name in sys.modules:
            patch(sys.modules[name])
    sys.meta_path.insert(0, AfterImport())
