# SPDX-License-Identifier: Apache-2.0
"""Other ways to run a command in a sandbox, over the same root file system: argument vectors."""

import json
import os
import shutil
import subprocess

MIB = 1 << 20


def hybrid(argv):
    """crun refuses hosts with both cgroup versions; hide the second one in a private namespace."""
    if os.path.ismount("/sys/fs/cgroup/unified"):
        script = 'umount /sys/fs/cgroup/unified && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *argv]
    return argv


def bwrap(rootfs, argv):
    return ["bwrap", "--unshare-all", "--ro-bind", str(rootfs), "/", "--proc", "/proc", "--dev",
            "/dev", "--tmpfs", "/tmp", *argv]  # fmt: skip


def crun(rootfs, directory, name, argv, limits):
    """A bundle of its own; with limits like those of a sandbox."""
    bundle = directory / name
    bundle.mkdir()
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(rootfs), "readonly": True}
    config["process"].update(args=argv, terminal=False, cwd="/")
    # A mount of the whole hybrid tree is not what is compared here.
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    if limits:
        config["linux"]["resources"] = {
            "memory": {"limit": 512 * MIB},
            "cpu": {"quota": 200000, "period": 100000},
            "pids": {"limit": 1024},
        }
    else:
        config["linux"].pop("resources", None)
    (bundle / "config.json").write_text(json.dumps(config))
    manager = "cgroupfs" if limits else "disabled"
    return ["crun", "--root", str(directory / "crun"), f"--cgroup-manager={manager}", "run",
            "--bundle", str(bundle), f"bench-{os.getpid()}-{name}"]  # fmt: skip


def runsc(rootfs, directory, argv):
    """gVisor, on ptrace: its KVM platform wants the hardware, and systrap is newer than Debian 12."""
    return ["runsc", "--root", str(directory / "runsc"), "--platform=ptrace", "--network=none",
            "do", "--root", str(rootfs), "--cwd", "/", *argv]  # fmt: skip


def nspawn(rootfs, argv):
    return ["systemd-nspawn", "--quiet", "--keep-unit", "--register=no", "--private-network",
            "--volatile=overlay", "--machine", f"bench-{os.getpid()}", "-D", str(rootfs),
            *argv]  # fmt: skip


def missing(argv):
    """None if the command works here, else why not, in a few words."""
    if not shutil.which(argv[0]):
        return "not installed"
    try:
        done = subprocess.run(
            hybrid(argv), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20
        )
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return None


def version(*command):
    if not shutil.which(command[0]):
        return "none"
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.strip().splitlines() or ["unknown"])[0]
