# SPDX-License-Identifier: Apache-2.0
"""A notebook as agents write them, cell by cell, through the synchronous and the asynchronous SDK
(tests/e2e/js/interpreter.test.mjs does the like with the JavaScript one)."""

import base64
import json

import pytest
from e2b_code_interpreter import AsyncSandbox, Sandbox

from interpreter import needs_interpreter

pytestmark = needs_interpreter

CSV = "day,units,shop\n" + "".join(
    f"2024-01-{d:02},{10 + 3 * d},{'north' if d % 2 else 'south'}\n" for d in range(1, 29))


def is_png(result):
    return base64.b64decode(result.png).startswith(b"\x89PNG")


def chart_of(execution, kind):
    (result,) = execution.results
    assert is_png(result) and result.chart.type.value == kind
    return result.chart


def check_head(execution):
    data = execution.results[0].data
    assert data["units"] == [13, 16] and data["day"] == ["2024-01-01T00:00:00", "2024-01-02T00:00:00"]
    assert "<table" in execution.results[0].html and execution.results[0].is_main_result


def check_fit(execution):
    assert execution.logs.stdout == ["fitted 28 rows\n"]
    assert execution.results[0].json == {"slope": 3, "intercept": 10}


def check_classes(execution):
    accuracy, = json.loads(execution.text)
    assert 0.9 <= accuracy <= 1


def check_line(execution):
    chart = chart_of(execution, "line")
    assert (chart.title, chart.y_label, chart.y_unit) == ("Units", "units (pcs)", "pcs")
    assert chart.x_scale.value == "datetime" and [e.label for e in chart.elements] == ["sold", "fit"]
    assert chart.elements[0].points[0] == ("2024-01-01T00:00:00", 13)


def check_scatter(execution):
    chart = chart_of(execution, "scatter")
    assert chart.y_scale.value == "log" and chart.elements[0].points[1] == (2, 16)


def check_bar(execution):
    elements = chart_of(execution, "bar").elements
    assert [(e.label, e.value) for e in elements] == [("north", 728), ("south", 770)]


def check_pie(execution):
    elements = chart_of(execution, "pie").elements
    assert [e.label for e in elements] == ["north", "south"]
    assert sum(e.angle for e in elements) == pytest.approx(360, abs=0.1)


def check_boxes(execution):
    chart = chart_of(execution, "box_and_whisker")
    assert [(e.label, e.median) for e in chart.elements] == [("north", 52), ("south", 55)]


def check_error(execution):
    assert execution.error.name == "KeyError" and execution.results == []
    assert "----> 2" in execution.error.traceback


def check_install(execution):
    assert "Successfully installed own-1.0" in "".join(execution.logs.stdout)


NOTEBOOK = [
    ("import pandas as pd\nsales = pd.read_csv('sales.csv', parse_dates=['day'])\nsales.head(2)", check_head),
    ("import numpy as np\nfrom sklearn.linear_model import LinearRegression\n"
     "x = np.arange(1, len(sales) + 1).reshape(-1, 1)\nmodel = LinearRegression().fit(x, sales.units)\n"
     "print('fitted', len(sales), 'rows')\n"
     "{'slope': round(float(model.coef_[0]), 6), 'intercept': round(float(model.intercept_), 6)}", check_fit),
    ("from sklearn.datasets import load_iris\nfrom sklearn.ensemble import RandomForestClassifier\n"
     "from sklearn.model_selection import train_test_split\n"
     "a, b, c, d = train_test_split(*load_iris(return_X_y=True), random_state=1, test_size=0.4)\n"
     "[RandomForestClassifier(20, random_state=1).fit(a, c).score(b, d)]", check_classes),
    ("import matplotlib.pyplot as plt\nplt.plot(sales.day, sales.units, label='sold')\n"
     "plt.plot(sales.day, model.predict(x), label='fit')\nplt.title('Units'); plt.ylabel('units (pcs)')\n"
     "plt.legend(); plt.show()", check_line),
    ("plt.scatter(x, sales.units); plt.yscale('log'); plt.show()", check_scatter),
    ("by_shop = sales.groupby('shop').units.sum()\nplt.bar(by_shop.index, by_shop); plt.show()", check_bar),
    ("plt.pie(by_shop, labels=by_shop.index); plt.show()", check_pie),
    ("plt.boxplot([g.units for _, g in sales.groupby('shop')], labels=by_shop.index); plt.show()", check_boxes),
    ("kept = 1\nsales['missing']", check_error),
    ("!pip install --no-index --no-build-isolation ./own", check_install),
    ("import own\nkept, own.answer", lambda execution: None if execution.text == "(1, 42)" else pytest.fail(execution)),
]

FROM_REGISTRY = "!pip install iniconfig\nimport iniconfig\niniconfig.__name__"

FILES = {
    "sales.csv": CSV,
    "own/pyproject.toml": '[project]\nname = "own"\nversion = "1.0"\n[build-system]\nrequires = []\n'
                          'build-backend = "backend"\nbackend-path = ["."]\n',
    "own/backend.py": '''
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "own-1.0-py3-none-any.whl"
    about = "own-1.0.dist-info/"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("own.py", "answer = 42\\n")
        wheel.writestr(about + "METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n")
        wheel.writestr(about + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(about + "RECORD", "")
    return name
''',
}


def test_notebook(server):
    with Sandbox.create(timeout=600) as box:
        for path, text in FILES.items():
            box.files.write(path, text)
        for i, (cell, check) in enumerate(NOTEBOOK, 1):
            execution = box.run_code(cell, timeout=120)
            assert execution.error is None or check is check_error, execution.error.traceback
            assert execution.execution_count == i
            check(execution)


async def test_notebook_async(server):
    box = await AsyncSandbox.create(timeout=600)
    try:
        for path, text in FILES.items():
            await box.files.write(path, text)
        for cell, check in NOTEBOOK:
            execution = await box.run_code(cell, timeout=120)
            assert execution.error is None or check is check_error, execution.error.traceback
            check(execution)
    finally:
        await box.kill()


@pytest.mark.network
def test_install_from_a_registry(registry, server):
    with Sandbox.create(timeout=600) as box:
        execution = box.run_code(FROM_REGISTRY, timeout=170)
        assert execution.text == "iniconfig", (execution.error, execution.logs)
