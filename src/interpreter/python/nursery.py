# SPDX-License-Identifier: Apache-2.0
"""Forks Python kernels out of one process that has imported what they need.

Descriptor 3 is a packet socket to the service. A packet is a JSON request with two descriptors, the
kernel's standard output and error; the kernel answers for itself when its sockets are bound. While
nothing is asked, one library after another is imported; then the service is told that we are warm.
A kernel that is asked for before that is forked at once and gets what is there by then.
Nothing here may start a thread or an event loop before the fork.
"""
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import types

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path[:] = [p for p in sys.path if p]
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

# What IPython imports and a kernel never uses: it would cost as much time and memory as all the rest.
# Whoever wants them imports them as ever.
WITHOUT = {"debugpy": None, "jedi": None, "IPython.terminal.embed": types.SimpleNamespace(embed=None)}
sys.modules.update(WITHOUT)
import carrel_kernel  # noqa: E402
for name in WITHOUT:
    del sys.modules[name]

SOCKET_FD = 3
ATTEMPTS, ATTEMPT_S = 50, 0.1
PRELOAD = [
    "numpy", "pandas", "PIL.Image", "PIL.PngImagePlugin", "PIL.ImageShow", "matplotlib",
    "matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib_inline.config", "carrel_charts",
]


def serve(sock, service):
    todo = list(PRELOAD)
    warm = False
    while True:
        readable, _, _ = select.select([sock], [], [], None if warm else 0)
        if readable:
            text, fds, _, _ = socket.recv_fds(sock, 4 << 20, 2)
            if not text:
                return
            fork(sock, service, dict(json.loads(text), warm=warm), fds)
            # Somebody could not wait: memory and time are better left to that kernel now.
            todo.clear()
        elif todo:
            name = todo.pop(0)
            try:
                importlib.import_module(name)
            except Exception:  # a template without it
                pass
        else:
            # What is there now is never freed: the collector need not touch, and so copy, it.
            gc.collect()
            gc.freeze()
            warm = True
            sock.send(b'{"warm":true}')


def fork(sock, service, request, fds):
    child = try_fork(sock, request)
    if child == 0:
        # A grandchild becomes the service's own child, which hears of its end.
        if try_fork(sock, request) != 0:
            os._exit(0)
        try:
            carrel_kernel.run(sock, service, request, fds)
        except BaseException:
            import traceback
            os.write(2, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    for fd in fds:
        os.close(fd)
    if child:
        os.waitpid(child, 0)


def try_fork(sock, request):
    """As os.fork, with patience: what was just killed still counts. None, which the service is told,
    when the sandbox stays full."""
    for _ in range(ATTEMPTS):
        try:
            return os.fork()
        except OSError:
            time.sleep(ATTEMPT_S)
    carrel_kernel.tell(sock, request, -1)
    return None


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=SOCKET_FD) as s:
        os.set_inheritable(SOCKET_FD, False)
        serve(s, os.getppid())
