# SPDX-License-Identifier: Apache-2.0
"""Other servers of files, on the host: nginx with dav, and E2B's own agent where $ENVD names it."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

CONFIG = """
worker_processes 2;
daemon off;
pid {directory}/pid;
error_log {directory}/error;
events {{ }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/p;
    fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u;
    scgi_temp_path {directory}/s;
    server {{
        listen 127.0.0.1:{port};
        root {directory};
        location / {{
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
    }}
}}
user root;
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.02)
    return False


def find_nginx(directory):
    """The one that is installed, or the distribution's package unpacked: no service is started."""
    found = shutil.which("nginx")
    if found:
        return found
    done = subprocess.run(["apt-get", "download", "nginx"], cwd=directory, capture_output=True)
    packages = list(directory.glob("nginx_*.deb"))
    if done.returncode or not packages:
        return None
    subprocess.run(["dpkg-deb", "-x", packages[0], directory / "package"], check=True)
    program = directory / "package/usr/sbin/nginx"
    return program if program.exists() else None


@contextlib.contextmanager
def running(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield (port, process) if wait_for(port, process) else None
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def nginx(directory):
    """(port, process), or None. Serves `directory`."""
    directory.mkdir()
    program, port = find_nginx(directory), free_port()
    if not program:
        yield None
        return
    (directory / "config").write_text(CONFIG.format(directory=directory, port=port))
    with running([program, "-p", directory, "-c", directory / "config"], port) as found:
        yield found


@contextlib.contextmanager
def envd():
    """(port, process), or None."""
    program, port = os.environ.get("ENVD"), free_port()
    if not program:
        yield None
        return
    with running([program, "-isnotfc", "-no-cgroups", "-port", str(port)], port) as found:
        yield found
