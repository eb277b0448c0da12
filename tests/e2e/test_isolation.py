# SPDX-License-Identifier: Apache-2.0
"""What a sandbox can see and do, looked at from inside (the attack suite proper is tests/box)."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid

import pytest
from e2b import CommandExitException, Sandbox

from harness import eventually


@pytest.fixture
def sh(shared):
    """Output of a command in the shared sandbox, as root unless told otherwise."""
    return lambda command, user="root", **options: (
        shared.commands.run(command, user=user, **options).stdout
    )


def refused(sandbox, command, user="root"):
    with pytest.raises(CommandExitException):
        sandbox.commands.run(command, user=user)


# ---- processes, users, names --------------------------------------------------------------------


def test_only_own_processes(shared, sh):
    word = f"marker{uuid.uuid4().hex}"
    mine = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", word], stdin=subprocess.PIPE
    )
    try:
        assert word not in sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        pids = sh("ls /proc | grep -E '^[0-9]+$' | wc -l")
        assert int(pids) < 20
        assert "init" in sh("cat /proc/1/comm") or sh("cat /proc/1/comm").strip()
    finally:
        mine.stdin.close()
        mine.wait()


def test_root_inside_is_nobody_outside(sh):
    inside, outside, count = sh("cat /proc/self/uid_map").split()
    assert inside == "0" and int(outside) >= 65536 and int(count) <= 1 << 20
    gid = sh("cat /proc/self/gid_map").split()
    assert int(gid[1]) >= 65536


def test_init_and_agent_are_closed(shared, sh):
    for what in ("mem", "environ", "exe", "root", "fd", "cwd"):
        refused(shared, f"cat /proc/1/{what} >/dev/null 2>&1 || ls /proc/1/{what}/ >/dev/null 2>&1")
    assert sh("kill -9 1; kill -TERM 1; echo alive") == "alive\n"
    assert shared.is_running()


def test_commands_inherit_no_descriptor(sh):
    for user in ("user", "root"):
        assert sh("ls /proc/self/fd", user=user).split() == ["0", "1", "2", "3"]


def test_names_are_its_own(shared, sh):
    assert sh("hostname").strip() not in ("", socket.gethostname())
    assert sh("hostname", user="user") == sh("hostname")
    refused(shared, "hostname other")


def test_capabilities_and_kernel_doors(shared, sh):
    assert sh("grep NoNewPrivs /proc/self/status").split() == ["NoNewPrivs:", "0"], "sudo needs it"
    for command in (
        "mount -t tmpfs none /mnt",
        "mount --bind /tmp /mnt",
        "umount /proc",
        "dmesg",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        "mknod /tmp/sda b 8 0",
        "mknod /tmp/mem c 1 1",
        "swapon /tmp",
        "date -s 2001-01-01",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "echo 10 > /proc/sys/vm/swappiness",
        "ip link add d0 type dummy",
        "ip addr add 10.99.0.1/24 dev lo",
        "nsenter -t 1 -m true",
        "sysctl -w vm.swappiness=1",
    ):
        refused(shared, command)


def test_no_socket_families_but_the_usual(shared):
    program = """
import socket
for family, kind in ((17, 3), (40, 1), (38, 5), (2, 3), (10, 3), (31, 3), (16, 3)):
    try:
        socket.socket(family, kind, 0 if family != 16 else 9)
        print("open", family, kind)
    except OSError:
        pass
for family in (1, 2, 10):
    socket.socket(family, 1)
"""
    shared.files.write("/tmp/families.py", program)
    assert shared.commands.run("python3 /tmp/families.py", user="root").stdout == ""


def test_devices_are_few(sh):
    names = set(sh("ls /dev").split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"} <= names
    assert not names & {"mem", "kmsg", "kvm", "fuse", "sda", "vda", "loop-control", "net", "mapper"}
    assert sh("echo x > /dev/null; head -c 4 /dev/zero | wc -c") == "4\n"


def test_files_of_the_host_are_not_there(server, shared, sh, tmp_path):
    mark = tmp_path / f"host-{uuid.uuid4().hex}"
    mark.write_text("secret")
    refused(shared, f"cat {mark}")
    refused(shared, f"ls {server.directory}")
    assert sh(f"find / -xdev -name '{mark.name}' 2>/dev/null") == ""


def test_our_paths_and_secrets_stay_outside(server, sh):
    seen = sh(
        "cat /proc/*/environ /proc/*/cmdline /proc/self/mountinfo /proc/self/cgroup 2>/dev/null "
        "| tr '\\0' '\\n'; env"
    )
    assert server.key not in seen
    assert str(server.directory) not in seen, "a path of the host shows inside"


def test_writing_to_the_template_stays_inside(create):
    first = create()
    first.commands.run(
        "echo spoiled > /usr/bin/env && rm -f /bin/ls && echo x > /etc/passwd.new", user="root"
    )
    second = create()
    assert (
        second.commands.run(
            "env true && ls / >/dev/null && test ! -e /etc/passwd.new && echo clean"
        ).stdout
        == "clean\n"
    )


# ---- sandboxes among each other -----------------------------------------------------------------


def test_two_sandboxes_do_not_meet(create):
    one, two = create(), create()
    word = f"secret{uuid.uuid4().hex}"
    one.files.write(f"/tmp/{word}", word)
    running = one.commands.run(f"exec -a {word} sleep 300", background=True)
    assert word in one.commands.run("cat /proc/[0-9]*/cmdline", user="root").stdout
    assert word not in two.commands.run("cat /proc/[0-9]*/cmdline", user="root").stdout
    assert not two.files.exists(f"/tmp/{word}")
    assert two.commands.kill(running.pid + 100000) is False
    ipc = one.commands.run("ipcmk -M 4096", user="root")
    assert "id" in ipc.stdout
    assert "0x" not in two.commands.run("ipcs -m", user="root").stdout


def addresses(sandbox):
    return re.findall(r"inet (\d+\.\d+\.\d+\.\d+)/", sandbox.commands.run("ip -4 addr").stdout)


CONNECT = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
        print("reached", target)
    except OSError:
        pass
print("done")
"""


def test_two_sandboxes_cannot_connect(create):
    one, two = create(), create()
    listener = one.commands.run("echo up; exec python3 -u -m http.server 8099", background=True)
    eventually(lambda: ":8099" in one.commands.run("ss -Htln").stdout, what="a listener")
    two.files.write("/tmp/c.py", CONNECT)
    targets = [f"{a}:8099" for a in addresses(one) if not a.startswith("127.")]
    gateway = two.commands.run("ip route show default").stdout.split()
    assert (
        two.commands.run(f"python3 /tmp/c.py {' '.join(targets)} {gateway[2]}:8099").stdout
        == "done\n"
    )
    listener.kill()


def test_the_host_cannot_be_reached(server, shared):
    """A listener on every address of the host, one of them private, is out of reach."""
    with socket.create_server(("0.0.0.0", 0), backlog=8) as listener:
        port = listener.getsockname()[1]
        own = re.findall(
            r"inet (\d+\.\d+\.\d+\.\d+)/",
            subprocess.run(["ip", "-4", "addr"], capture_output=True, text=True).stdout,
        )
        gateway = shared.commands.run("ip route show default").stdout.split()
        hosts = [a for a in own if not a.startswith("127.")] + gateway[2:3]
        assert hosts
        ports = [port, server.address[1]]
        shared.files.write("/tmp/c.py", CONNECT)
        targets = " ".join(f"{host}:{p}" for host in hosts[:8] for p in ports)
        assert shared.commands.run(f"python3 /tmp/c.py {targets}").stdout == "done\n"
        local = f"127.0.0.1:{port} 127.0.0.1:{server.address[1]}"
        assert shared.commands.run(f"python3 /tmp/c.py {local}").stdout == "done\n"


# ---- limits -------------------------------------------------------------------------------------


class Answering:
    """Uses another sandbox again and again meanwhile; worst() is its slowest answer."""

    def __init__(self, sandbox):
        self.sandbox, self.times, self.stop = sandbox, [], threading.Event()
        self.error = None

    def __enter__(self):
        self.thread = threading.Thread(target=self.use, daemon=True)
        self.thread.start()
        return self

    def use(self):
        try:
            while not self.stop.is_set():
                start = time.monotonic()
                assert self.sandbox.commands.run("echo ok").stdout == "ok\n"
                self.times.append(time.monotonic() - start)
        except Exception as error:
            self.error = error

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)

    def check(self, limit):
        assert self.error is None and self.times
        assert max(self.times) < limit, f"slowest answer {max(self.times):.2f} s"


def test_memory_bomb_ends_inside(create):
    victim, other = create(), create()
    size = victim.get_info().memory_mb
    program = f"b = [bytearray(1 << 20) for _ in range({size * 2})]"
    with Answering(other) as answering:
        with pytest.raises(CommandExitException) as failure:
            victim.commands.run(f"python3 -c '{program}'")
        assert failure.value.exit_code in (-1, 137, 1)
    answering.check(5)
    assert victim.commands.run("echo alive").stdout == "alive\n"


def test_fork_bomb_ends_inside(create):
    victim, other = create(), create()
    bomb = victim.commands.run("echo lit; b() { b | b & }; b; sleep 300", background=True)
    assert next(iter(bomb))[0] == "lit\n"
    with Answering(other) as answering:
        eventually(lambda: len(answering.times) > 10 or answering.error, 30, "answers")
        assert Sandbox.get_info(victim.sandbox_id).sandbox_id == victim.sandbox_id
        assert victim.is_running()
        fresh = create()
        assert fresh.commands.run("echo new").stdout == "new\n"
    answering.check(10)
    assert victim.kill() is True


def test_open_files_run_out_inside(create):
    victim, other = create(), create()
    program = (
        "import os\nl = []\ntry:\n  while True: l.append(os.open('/dev/null', 0))\n"
        "except OSError as e: print(e.errno)"
    )
    victim.files.write("/tmp/f.py", program)
    assert victim.commands.run("python3 /tmp/f.py").stdout == "24\n"
    assert other.commands.run("echo ok").stdout == "ok\n"


def test_limits_are_what_info_says(create):
    sandbox = create()
    info = sandbox.get_info()
    nproc = int(sandbox.commands.run("nproc").stdout)
    assert nproc >= 1 and info.cpu_count >= 1
    assert os.cpu_count() >= 1
