# SPDX-License-Identifier: Apache-2.0
"""The Python kernel: IPython's, with output on plain pipes and the results that our API knows.

Standard output and error are pipes of the service rather than Jupyter messages: a line is there when
it is written, whoever in the process writes it, and a writer waits when nobody reads.
"""
import ctypes
import io
import json
import os
import signal
import sys
import time

import zmq
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets.config import Config
from traitlets.utils.importstring import import_item

import carrel_rich

PR_SET_PDEATHSIG = 1


class Kernel(IPythonKernel):
    """Sets and resets the variables of one execution around it."""

    async def execute_request(self, stream, ident, parent):
        env = (parent.get("metadata") or {}).get("carrel") or {}
        change_environment(env.get("before"))
        try:
            await super().execute_request(stream, ident, parent)
        finally:
            change_environment(env.get("after"))


class App(IPKernelApp):
    kernel_class = Kernel

    def _bind_socket(self, s, port):
        # A publisher with a limit drops messages, "idle" among them.
        if s.type in (zmq.PUB, zmq.XPUB):
            s.set_hwm(0)
        return super()._bind_socket(s, port)

    def init_io(self):
        """The display hook only: standard output and error are what they are."""
        self.displayhook = import_item(str(self.displayhook_class))(self.session, self.iopub_socket)
        sys.displayhook = self.displayhook

    def init_blackhole(self):
        pass

    def init_crash_handler(self):
        pass


def change_environment(changes):
    for name, value in (changes or {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def configuration():
    c = Config()
    c.HistoryManager.enabled = False
    c.InteractiveShell.colors = "NoColor"
    c.InteractiveShell.banner1 = ""
    c.PlainTextFormatter.max_seq_length = 0
    c.Completer.use_jedi = False
    c.InlineBackend.figure_formats = {"png"}
    return c


def set_title(title):
    """Our own command line, instead of the nursery's."""
    with open("/proc/self/stat", "rb") as f:
        fields = f.read().rsplit(b")", 1)[1].split()
    begin, end = int(fields[45]), int(fields[46])
    text = title.encode()[: end - begin - 1]
    ctypes.memmove(begin, text + bytes(end - begin - len(text)), end - begin)
    ctypes.CDLL(None).prctl(15, b"carrel-kernel", 0, 0, 0)


def become_child(service):
    # Not before the process between us is gone: its end would count as our parent's.
    while os.getppid() != service:
        time.sleep(0.0001)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        set_title("carrel-kernel python")
    except (OSError, ValueError):
        pass


class Stream(io.TextIOWrapper):
    """A cell may close it, or what is below it: the kernel must get to its end all the same."""

    def flush(self):
        try:
            super().flush()
        except (OSError, ValueError):
            pass

    def close(self):
        self.flush()


def standard_stream(fd, source):
    os.dup2(source, fd)
    os.close(source)
    raw = io.FileIO(fd, "w", closefd=False)
    return Stream(io.BufferedWriter(raw, 1 << 16), encoding="utf-8", errors="backslashreplace",
                  line_buffering=True)


def rehearse(shell):
    """A first cell costs ten times a second one, unless it was run for nobody."""
    shell.run_cell("None", store_history=False, silent=True)
    shell.display_formatter.format([1])
    shell.compile.cache("1", 0)
    json.dumps({})


def tell(sock, request, pid):
    sock.send(json.dumps({"id": request["id"], "pid": pid}).encode())


def run(sock, service, request, fds):
    """In the grandchild: becomes a kernel, answers when it listens, serves until it is killed."""
    become_child(service)
    tell(sock, request, os.getpid())
    sys.stdout = sys.__stdout__ = standard_stream(1, fds[0])
    sys.stderr = sys.__stderr__ = standard_stream(2, fds[1])
    os.environ.clear()
    os.environ.update(request["env"])
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.chdir(request["cwd"])
    sys.argv = [""]
    sys.path[:] = [""] + [p for p in sys.path if p != os.path.dirname(os.path.abspath(__file__))]
    app = App.instance(config=configuration(), connection_file=request["connection_file"])
    app.initialize([])
    carrel_rich.install(app.shell)
    if request["warm"]:
        rehearse(app.shell)
    tell(sock, request, 0)
    sock.close()
    app.start()
