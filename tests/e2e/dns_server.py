# SPDX-License-Identifier: Apache-2.0
"""Runs a command that finds one domain, and all names below it, at 127.0.0.1; no other names.

usage: dns_server.py DOMAIN COMMAND [ARG]...

The command has a mount namespace of its own, in which this process is the only name server.
"""
import ctypes
import os
import socket
import subprocess
import sys
import tempfile
import threading

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
A, NO_SUCH_NAME = 1, 3


def answer(query, domain):
    name, at = [], 12
    while query[at]:
        name.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    kind = int.from_bytes(query[at + 1:at + 3], "big")
    name = ".".join(name)
    ours = name == domain or name.endswith("." + domain)
    found = ours and kind == A
    head = query[:2] + bytes([0x84, 0x80 | (0 if ours else NO_SUCH_NAME), 0, 1, 0, found, 0, 0, 0, 0])
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("127.0.0.1") if found else b""
    return head + query[12:at + 5] + record


def serve(sock, domain):
    while True:
        query, peer = sock.recvfrom(2048)
        if len(query) > 16:
            sock.sendto(answer(query, domain), peer)


def must(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main():
    domain, command = sys.argv[1], sys.argv[2:]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    address = f"127.{os.getpid() >> 16 & 255 or 1}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
    sock.bind((address, 53))
    threading.Thread(target=serve, args=(sock, domain), daemon=True).start()
    libc = ctypes.CDLL(None, use_errno=True)
    must(libc.unshare(CLONE_NEWNS))
    must(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    with tempfile.NamedTemporaryFile("w") as conf:
        conf.write(f"nameserver {address}\noptions timeout:5\n")
        conf.flush()
        must(libc.mount(conf.name.encode(), b"/etc/resolv.conf", None, MS_BIND, None))
        sys.exit(subprocess.run(command).returncode)


main()
