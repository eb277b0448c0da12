# SPDX-License-Identifier: Apache-2.0
"""What the tests of files share: uploads, downloads and filesystem calls on an Agent."""
import json
import os
from urllib.parse import quote

OCTETS = {"Content-Type": "application/octet-stream"}
BOUNDARY = "----formdata-carrel-0123456789"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def url(path=None, **query):
    parts = {} if path is None else {"path": path}
    parts.update(query)
    return "/files" + ("?" if parts else "") + "&".join(
        f"{k}={quote(v, safe='')}" for k, v in parts.items())


def part(filename, data, name="file"):
    filename = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"'
            f"\r\nContent-Type: application/octet-stream\r\n\r\n").encode() + data + b"\r\n"


def form(*parts):
    return b"".join(part(*p) for p in parts) + f"--{BOUNDARY}--\r\n".encode()


def answer(response, body):
    """(status, JSON body) with the shape of errors checked."""
    body = json.loads(body)
    if response.status >= 300:
        assert body["code"] == response.status and body["message"], body
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    return response.status, body


def upload(agent, path, data, headers=None, connection=None, **query):
    return answer(*agent.request("POST", url(path, **query), data, {**OCTETS, **(headers or {})},
                                 connection))


def upload_form(agent, body, headers=None, path=None, **query):
    return answer(*agent.request("POST", url(path, **query), body, {**FORM, **(headers or {})}))


def download(agent, path, headers=None, **query):
    return agent.request("GET", url(path, **query), None, headers)


def fs(agent, method, headers=None, **message):
    return agent.unary(method, message, headers, "filesystem.Filesystem")


def peak_kib(agent):
    """The most memory the agent ever had; 0 under a sanitizer, which keeps what was freed."""
    with open(f"/proc/{agent.process.pid}/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    return 0 if "ASAN_OPTIONS" in os.environ else peak


def snapshot(directory):
    """Every name below with its content (None for a directory, the target for a link)."""
    found = {}
    for root, dirs, files in os.walk(directory):
        for name in dirs + files:
            path = os.path.join(root, name)
            key = os.path.relpath(path, directory)
            if os.path.islink(path):
                found[key] = "-> " + os.readlink(path)
            elif os.path.isdir(path):
                found[key] = None
            else:
                with open(path, "rb") as f:
                    found[key] = f.read()
    return found
