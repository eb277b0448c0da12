# SPDX-License-Identifier: Apache-2.0
"""The code interpreter, driven by the published SDK."""

import threading

import pytest
from e2b.exceptions import NotFoundException, SandboxException
from e2b_code_interpreter import AsyncSandbox

from harness import eventually
from interpreter import box, needs_interpreter, raw  # noqa: F401

pytestmark = needs_interpreter

# ---- python -------------------------------------------------------------------------------------


def test_state_results_and_counts(box):
    first = box.run_code("x = 20\nx + 1")
    assert first.text == "21" and first.error is None
    second = box.run_code("x += 1\n'text of ' + str(x)")
    assert second.text == "text of 21"
    assert second.execution_count == first.execution_count + 1
    assert box.run_code("None").results == []


def test_output_arrives_as_it_is_written(box):
    """Each line is there before the next one is made: the cell waits for a file that we write when
    the line has come."""
    came = []

    def on_stdout(message):
        came.append(message.line)
        box.files.write(f"/tmp/go-{len(came)}", "")

    result = box.run_code(
        "import os, time\n"
        "for i in range(1, 4):\n"
        "    print('line', i)\n"
        "    while not os.path.exists(f'/tmp/go-{i}'): time.sleep(0.005)\n",
        on_stdout=on_stdout)
    assert result.error is None
    assert came == ["line 1\n", "line 2\n", "line 3\n"]


def test_everything_that_a_process_writes(box):
    result = box.run_code(
        "import os, subprocess, sys\n"
        "print('python'); print('error', file=sys.stderr)\n"
        "subprocess.run(['echo', 'child']); os.system('echo system'); os.write(1, b'raw\\n')\n"
        "!echo shell\n"
        "os.write(1, b'\\xff\\xe2\\x82\\n') and None")
    out = "".join(result.logs.stdout).replace("\r", "")  # IPython's "!" is a terminal
    assert out == "python\nchild\nsystem\nraw\nshell\n\ufffd\ufffd\ufffd\n"
    assert result.logs.stderr == ["error\n"]


def test_unicode(box):
    text = "ü 漢 🚀 \u2028 \u0085 \x00 end"
    assert box.run_code(f"print({text!r}, end='')").logs.stdout == [text]
    assert box.run_code(repr(text)).text is not None


def test_errors(box):
    error = box.run_code("def f():\n    return 1 / 0\nf()").error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero")
    assert "line 2" in error.traceback and "\x1b" not in error.traceback
    assert box.run_code("if").error.name == "SyntaxError"
    assert box.run_code("input()").error.name == "StdinNotImplementedError"
    assert box.run_code("raise SystemExit(3)").error.name == "SystemExit"
    assert box.run_code("1 + 1").text == "2"


def test_await_and_magics(box):
    assert box.run_code("import asyncio\nawait asyncio.sleep(0, 'awaited')").text == "awaited"
    assert box.run_code("%%capture out\nprint('hidden')").logs.stdout == []
    assert box.run_code("out.stdout").text == "hidden\\n"


def test_variables(box):
    assert box.run_code("import os; os.environ['GLOBAL']").text == "everywhere"
    assert box.run_code("os.environ['GLOBAL'], os.environ['MINE']",
                        envs={"GLOBAL": "here", "MINE": "1"}).text == "('here', '1')"
    assert box.run_code("os.environ['GLOBAL'], os.environ.get('MINE')").text == "('everywhere', None)"


def test_rich_results(box):
    html = box.run_code("from IPython.display import HTML, Markdown, Latex, JSON, SVG\nHTML('<b>b</b>')")
    assert html.results[0].html == "<b>b</b>"
    assert box.run_code("Markdown('# m')").results[0].markdown == "# m"
    assert box.run_code("Latex('$x$')").results[0].latex == "$x$"
    assert box.run_code("JSON({'a': [1]})").results[0].json == {"a": [1]}
    assert box.run_code("{'a': [1, 2]}").results[0].json == {"a": [1, 2]}
    extra = box.run_code("from IPython.display import display\n"
                         "display({'application/x-own': 'v', 'text/plain': 'p'}, raw=True)\n5")
    shown, main = extra.results
    assert shown.extra == {"application/x-own": "v"} and not shown.is_main_result
    assert main.is_main_result and main.text == "5"


def test_every_kind_of_result(box):
    """What a cell shows under a MIME kind comes under the SDK's name for it."""
    kinds = {"text/html": ("html", "<b>h</b>"), "image/svg+xml": ("svg", "<svg></svg>"),
             "image/jpeg": ("jpeg", "/9j/4AAQ"), "application/pdf": ("pdf", "JVBERi0="),
             "text/latex": ("latex", "$y$"), "application/javascript": ("javascript", "alert(1)"),
             "application/json": ("json", {"a": [1]})}
    for mime, (name, content) in kinds.items():
        shown = box.run_code(f"from IPython.display import display\n"
                             f"display({{{mime!r}: {content!r}}}, raw=True)")
        assert shown.error is None and getattr(shown.results[0], name) == content, (mime, shown)


def test_tables(box):
    frame = box.run_code(
        "import pandas as pd\n"
        "pd.DataFrame({'n': [1, 2], 'f': [0.5, float('nan')], 's': ['a', None],\n"
        "              't': pd.to_datetime(['2024-01-02', '2024-01-03'])})").results[0]
    assert frame.data == {"n": [1, 2], "f": [0.5, None], "s": ["a", None],
                          "t": ["2024-01-02T00:00:00", "2024-01-03T00:00:00"]}
    assert "<table" in frame.html


def test_images(box):
    code = "from PIL import Image\nimage = Image.new('RGB', (4, 4), 'red')\n"
    assert box.run_code(code + "image").results[0].png
    assert box.run_code(code + "image.show()").results[0].png
    assert box.run_code(code + "image.save('/tmp/red.png')").results[0].png


# ---- charts -------------------------------------------------------------------------------------


def chart(box, code):
    result = box.run_code(f"import matplotlib.pyplot as plt\n{code}\nplt.show()")
    assert result.error is None, result.error
    assert len(result.results) == 1 and result.results[0].png
    return result.results[0].chart


def test_line_chart(box):
    c = chart(box, "plt.plot([1, 2], [3, 4], label='up'); plt.plot([1, 2], [4, 3])\n"
                   "plt.title('T'); plt.xlabel('time (s)'); plt.ylabel('size [m]'); plt.yscale('log')")
    assert (c.type.value, c.title, c.x_label, c.x_unit, c.y_unit) == ("line", "T", "time (s)", "s", "m")
    assert (c.x_scale.value, c.y_scale.value) == ("linear", "log")
    assert c.elements[0].label == "up" and c.elements[0].points == [(1, 3), (2, 4)]


def test_scatter_with_dates(box):
    c = chart(box, "import datetime as d\n"
                   "plt.scatter([d.date(2024, 1, 1), d.date(2024, 1, 2)], [1, 2])")
    assert (c.type.value, c.x_scale.value) == ("scatter", "datetime")
    assert c.elements[0].points[0][0].startswith("2024-01-01")


def test_bar_charts(box):
    c = chart(box, "plt.bar(['a', 'b'], [1, 2.5], label='g')")
    assert [(e.label, e.group, e.value) for e in c.elements] == [("a", "g", 1), ("b", "g", 2.5)]
    c = chart(box, "plt.barh(['a', 'b'], [3, 4])")
    assert [(e.label, e.value) for e in c.elements] == [("a", 3), ("b", 4)]


def test_pie_chart(box):
    c = chart(box, "plt.pie([3, 1], labels=['most', 'rest'])")
    assert [(e.label, e.angle, e.radius) for e in c.elements] == [("most", 270, 1), ("rest", 90, 1)]


@pytest.mark.parametrize("options", ["", ", patch_artist=True", ", vert=False", ", notch=True"])
def test_box_chart(box, options):
    c = chart(box, f"plt.boxplot([[1, 2, 3, 4, 100], [5, 6, 7]], labels=['a', 'b']{options})")
    a, b = c.elements
    assert c.type.value == "box_and_whisker"
    assert (a.label, a.min, a.first_quartile, a.median, a.third_quartile, a.max, a.outliers) == \
        ("a", 1, 2, 3, 4, 4, [100])
    assert (b.label, b.median, b.outliers) == ("b", 6, [])


def test_several_and_none(box):
    c = chart(box, "f, (a, b) = plt.subplots(1, 2); a.plot([1], [1]); b.bar(['x'], [1]); f.suptitle('both')")
    assert (c.type.value, c.title) == ("superchart", "both")
    assert [e.type.value for e in c.elements] == ["line", "bar"]
    c = chart(box, "f, (a, b) = plt.subplots(1, 2); a.plot([1], [1]); b.imshow([[1]])")
    assert [e.type.value for e in c.elements] == ["line", "unknown"]
    c = chart(box, "plt.imshow([[1, 2], [3, 4]]); plt.title('picture')")
    assert (c.type.value, c.title, c.elements) == ("unknown", "picture", [])


def test_what_bars_and_boxes_stand_for(box):
    c = chart(box, "plt.hist([1, 1, 2, 3, 3, 3], bins=2)")
    assert [(e.label, e.value, e.group) for e in c.elements] == [("1.5", 2, "Group 0"), ("2.5", 4, "Group 0")]
    c = chart(box, "plt.barh(['a', 'b'], [1e-13, 2]); plt.xlabel('size (kg)'); plt.ylabel('who')")
    assert (c.x_label, c.x_unit, c.y_label, c.y_unit) == ("who", None, "size (kg)", "kg")
    assert [e.value for e in c.elements] == [1e-13, 2]
    c = chart(box, "import numpy as np; x = np.arange(2); plt.xticks(x, ['a', 'b'])\n"
                   "for i in range(3): plt.bar(x + 0.27 * (i - 1), [i + 1, 0], 0.27, label=f'g{i}')")
    assert [(e.label, e.group, e.value) for e in c.elements][::2] == [("a", "g0", 1), ("a", "g1", 2), ("a", "g2", 3)]
    c = chart(box, "plt.boxplot([[1, 2, 3, 4, 100]], showmeans=True, meanline=False)")
    assert (c.elements[0].median, c.elements[0].outliers) == (3, [100])


@pytest.mark.parametrize("code", [
    "plt.contour([[1, 2], [3, 4]])", "plt.figure().add_subplot(projection='3d').plot([1], [1], [1])",
    "plt.hexbin([1, 2, 3], [1, 2, 3], gridsize=4)", "plt.quiver([1], [1], [1], [1])"])
def test_what_is_no_chart_of_ours(box, code):
    assert chart(box, code).type.value == "unknown"


def test_nothing_drawn(box):
    assert chart(box, "plt.axes()") is None


# ---- contexts -----------------------------------------------------------------------------------


def test_contexts(box):
    context = box.create_code_context(cwd="/tmp")
    assert box.run_code("y = 1; import os; os.getcwd()", context=context).text == "/tmp"
    assert box.run_code("y").error.name == "NameError"
    assert box.run_code("y", context=context).text == "1"
    assert context.id in [c.id for c in box.list_code_contexts()]
    box.restart_code_context(context)
    assert box.run_code("y", context=context).error.name == "NameError"
    box.remove_code_context(context)
    assert context.id not in [c.id for c in box.list_code_contexts()]
    with pytest.raises(NotFoundException):
        box.run_code("1", context=context)
    with pytest.raises(NotFoundException):
        box.remove_code_context(context.id)


def test_one_after_another_and_side_by_side(box):
    """Two cells of one context follow each other; a cell of another context runs meanwhile."""
    other = box.create_code_context()
    results = []
    first = threading.Thread(target=lambda: results.append(box.run_code(
        "import os, time\nopen('/tmp/began', 'w').close()\n"
        "while not os.path.exists('/tmp/freed'): time.sleep(0.005)\norder = ['first']")))
    first.start()
    eventually(lambda: box.files.exists("/tmp/began"), 30, "the first cell's begin")
    second = threading.Thread(target=lambda: results.append(box.run_code("order + ['second']")))
    second.start()
    assert box.run_code("open('/tmp/freed', 'w').close()\n'beside'", context=other).text == "beside"
    first.join(60)
    second.join(60)
    assert [r.text for r in results if r.text] == ["['first', 'second']"]
    box.remove_code_context(other)


def test_bad_requests(box):
    assert raw(box, "GET", "/health").json() == "OK"
    both = raw(box, "POST", "/execute", json={"code": "1", "context_id": "a", "language": "r"})
    assert (both.status_code, both.text) == \
        (400, "Only one of context_id or language can be provided")
    missing = raw(box, "POST", "/execute", json={"code": "1", "context_id": "nope"})
    assert (missing.status_code, missing.text) == (404, "Context nope not found")
    assert raw(box, "POST", "/execute", json={}).status_code == 422
    assert raw(box, "POST", "/execute", json={"code": 5}).status_code == 422
    assert raw(box, "POST", "/execute", data="{").status_code == 422
    assert raw(box, "POST", "/execute",
               json={"code": "1", "env_vars": {"A": 1}}).status_code == 422
    assert raw(box, "POST", "/contexts", json={"cwd": "/nowhere"}).status_code == 500
    assert raw(box, "GET", "/else").status_code == 404
    with pytest.raises(SandboxException):
        box.run_code("1", language="cobol")


# ---- asynchronous -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_async_sdk(server):
    sandbox = await AsyncSandbox.create(timeout=120)
    try:
        lines = []
        result = await sandbox.run_code("print('a'); 6 * 7", on_stdout=lambda m: lines.append(m.line))
        assert (result.text, lines) == ("42", ["a\n"])
        context = await sandbox.create_code_context(language="javascript")
        assert (await sandbox.run_code("1 + 2", context=context)).text == "3"
    finally:
        await sandbox.kill()
