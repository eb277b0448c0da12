# SPDX-License-Identifier: Apache-2.0
"""The Python kernel: IPython's, with output on plain pipes and the results that our API knows.

Standard output and error are pipes of the service rather than Jupyter messages: a line is there when
it is written, whoever in the process writes it, and a writer waits when nobody reads.
"""
import ctypes
import io
import json
import logging
import os
import signal
import sys
import time

import IPython
import zmq
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.jsonutil import json_default
from traitlets.config import Config
from traitlets.utils.importstring import import_item

import carrel_rich

PR_SET_PDEATHSIG = 1


class Kernel(IPythonKernel):
    """Sets and resets the variables of one execution around it, and mends what a cell has broken."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.own_pid = os.getpid()

    async def execute_request(self, stream, ident, parent):
        env = (parent.get("metadata") or {}).get("carrel") or {}
        mend_streams()
        change_environment(env.get("before"))
        try:
            await super().execute_request(stream, ident, parent)
        finally:
            change_environment(env.get("after"))

    async def do_execute(self, *args, **kwargs):
        try:
            return await super().do_execute(*args, **kwargs)
        except Exception as e:  # of IPython's own, over code that it cannot work with
            error = {"ename": type(e).__name__, "evalue": str(e),
                     "traceback": [f"{type(e).__name__}: {e}"]}
            self.send_response(self.iopub_socket, "error", error)
            return dict(error, status="error", execution_count=self.execution_count)
        finally:
            if os.getpid() != self.own_pid:
                os._exit(0)  # a cell forked: one of the two goes on as the kernel
            mend_streams()  # they are flushed before the reply is sent: if that fails, none is


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


def pack(message):
    """As JSON that everybody can read: Python's own has numbers and characters that are none."""
    try:
        text = json.dumps(message, default=json_default, ensure_ascii=False, allow_nan=False)
    except ValueError:
        plain = json.dumps(message, default=json_default)
        text = json.dumps(json.loads(plain, parse_constant=lambda name: None), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def configuration():
    c = Config()
    c.Application.log_level = logging.ERROR  # what it warns of is nobody's business in a cell
    c.Session.packer = "carrel_kernel.pack"
    c.Kernel._execute_sleep = 0  # there for Jupyter's own streams
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


fork = os.fork


def fork_while_there_is_room():
    """os.fork. A copy of the kernel dies of an interrupt, without a word; and at the limit of processes
    all of them are interrupted: each that is refused would otherwise make room for the next."""
    try:
        pid = fork()
    except OSError:  # whose number is not always EAGAIN
        handle_interrupts(signal.SIG_IGN)
        os.killpg(0, signal.SIGINT)
        if os.getpid() != App.instance().kernel.own_pid:
            os._exit(1)
        handle_interrupts(signal.default_int_handler)
        raise
    if pid == 0:
        handle_interrupts(signal.SIG_DFL)
    return pid


def handle_interrupts(handler):
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:
        pass  # not in the main thread


def embed(*args, **kwargs):
    """IPython.embed, whose module was not imported with the rest."""
    from IPython.terminal import embed as module
    return module.embed(*args, **kwargs)


IPython.embed = embed


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


STANDARD = {}  # name: (stream, its descriptor, a spare for when that is closed)


def standard_stream(name, fd, source):
    os.dup2(source, fd)
    os.set_inheritable(source, False)
    raw = io.FileIO(fd, "w", closefd=False)
    stream = Stream(io.BufferedWriter(raw, 1 << 16), encoding="utf-8", errors="backslashreplace",
                    line_buffering=True)
    STANDARD[name] = (stream, fd, source)
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def mend_streams():
    """A cell may close its standard output or put something useless in its place."""
    for name, (stream, fd, spare) in STANDARD.items():
        try:
            os.fstat(fd)
        except OSError:
            try:
                os.dup2(spare, fd)
            except OSError:
                pass  # that one is closed, too
        try:
            getattr(sys, name).flush()
            usable = not getattr(sys, name).closed
        except Exception:
            usable = False
        if not usable:
            setattr(sys, name, stream)


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
    standard_stream("stdout", 1, fds[0])
    standard_stream("stderr", 2, fds[1])
    os.environ.clear()
    os.environ.update(request["env"])
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.chdir(request["cwd"])
    os.fork = fork_while_there_is_room
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
