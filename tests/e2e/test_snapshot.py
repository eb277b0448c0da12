# SPDX-License-Identifier: Apache-2.0
"""Snapshots, forks, and pauses that keep files only (protocol.md 2.2)."""

import uuid

import pytest
from e2b import NotFoundException, Sandbox, SandboxException, SandboxState, TimeoutException

from harness import eventually

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def state(sandbox):
    return Sandbox.get_info(sandbox.sandbox_id).state


def boot_id(sandbox):
    return uuid.UUID(sandbox.files.read(BOOT_ID).strip())


# All that a layer has to carry: what was changed, removed, replaced and moved of the template, links,
# holes, modes, owners, attributes.
CHANGES = """
set -e
cd /root
mkdir d; echo one > d/one; ln d/one d/two; ln -s one d/three
truncate -s 100M sparse; echo end >> sparse
install -m 4755 -o user -g user /dev/null suid
python3 -c "import os; os.setxattr('d/one', 'user.note', b'kept')"
rm /etc/profile
rm -r /etc/skel; mkdir /etc/skel; echo new > /etc/skel/new
mv /usr/share/perl5 /usr/share/moved
mkfifo pipe
touch -d 2001-02-03 d/one
"""
CHECK = """
set -e
cd /root
cat d/one d/two d/three
stat -c '%h %Y' d/one; stat -c '%a %U' suid; stat -c %s sparse; tail -c4 sparse
[ $(du -k sparse | cut -f1) -lt 1000 ]
python3 -c "import os; print(os.getxattr('d/two', 'user.note').decode())"
[ ! -e /etc/profile ]; ls -A /etc/skel
[ ! -e /usr/share/perl5 ]; ls /usr/share/moved | wc -l
[ -p pipe ]
"""


def expected(sandbox):
    return sandbox.commands.run(CHECK, user="root").stdout


def test_snapshot_holds_the_files(create):
    sandbox = create(envs={"KIND": "source", "BOTH": "old"})
    sandbox.commands.run(CHANGES, user="root")
    before = expected(sandbox)
    process = sandbox.commands.run("sleep 1000", background=True)
    snapshot = sandbox.create_snapshot()
    assert snapshot.names == []
    assert process.pid in {p.pid for p in sandbox.commands.list()}, "the source goes on"
    sandbox.files.write("/root/d/one", "changed", user="root")
    copy = create(template=snapshot.snapshot_id, envs={"BOTH": "new"})
    assert expected(copy) == before
    assert copy.commands.list() == []
    assert copy.commands.run("echo $KIND $BOTH").stdout == "source new\n"
    assert boot_id(copy) != boot_id(sandbox)
    assert copy.get_info().template_id == snapshot.snapshot_id.split(":")[0]
    sandbox.kill()
    copy.commands.run("rm -r /root/d /usr/share/moved", user="root")
    again = create(template=snapshot.snapshot_id)
    assert expected(again) == before, "a snapshot does not change, and outlives its source"
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is True
    assert Sandbox.delete_snapshot(snapshot.snapshot_id) is False
    assert expected(again) == before, "who stands on it keeps it"
    with pytest.raises(SandboxException, match="not found"):
        Sandbox.create(snapshot.snapshot_id)


def test_snapshots_of_snapshots(create):
    ids, sandbox = [], create()
    for i in range(4):
        sandbox.commands.run(f"echo {i} > /root/{i}; rm -f /root/{i - 2}; rm -rf /etc/skel", user="root")
        ids.append(sandbox.create_snapshot().snapshot_id)
        sandbox.kill()
        sandbox = create(template=ids[-1])
        assert sandbox.commands.run("ls /root", user="root").stdout.split() == [
            str(n) for n in (i - 1, i) if n >= 0
        ]
    assert sandbox.commands.run("[ ! -e /etc/skel ] && python3 -c 'print(1)'").stdout == "1\n"
    for snapshot in ids:
        assert Sandbox.delete_snapshot(snapshot) is True
    assert sandbox.commands.run("cat /root/3", user="root").stdout == "3\n"


def test_named_snapshots(create):
    name = "n" + uuid.uuid4().hex[:10]
    sandbox = create()
    sandbox.files.write("v", "1")
    first = sandbox.create_snapshot(name=name)
    assert first.names == [first.snapshot_id] and first.snapshot_id.endswith(f"/{name}:default")
    sandbox.files.write("v", "2")
    tagged = sandbox.create_snapshot(name=f"{name}:two")
    sandbox.files.write("v", "3")
    assert sandbox.create_snapshot(name=name).snapshot_id == first.snapshot_id
    copies = {ref: create(template=ref) for ref in (name, tagged.snapshot_id, f"{name}:default")}
    assert [c.files.read("v") for c in copies.values()] == ["3", "2", "3"]
    assert copies[name].get_info().name == name
    listed = Sandbox.list_snapshots(name=name).next_items()
    assert [s.snapshot_id for s in listed] == [first.snapshot_id, tagged.snapshot_id]
    with pytest.raises(SandboxException, match="there is a template"):
        sandbox.create_snapshot(name="base")
    with pytest.raises(SandboxException, match="not your project"):
        sandbox.create_snapshot(name=f"other/{name}")
    for snapshot in listed:
        assert Sandbox.delete_snapshot(snapshot.snapshot_id) is True
    with pytest.raises(SandboxException):
        Sandbox.create(name)


def test_list_of_snapshots(create):
    one, two = create(), create()
    ids = [one.create_snapshot().snapshot_id for _ in range(5)]
    other = two.create_snapshot().snapshot_id
    pages = Sandbox.list_snapshots(sandbox_id=one.sandbox_id, limit=2)
    found = []
    while pages.has_next:
        items = pages.next_items()
        assert len(items) <= 2
        found += [s.snapshot_id for s in items]
    assert found == ids[::-1], "the newest first"
    assert {*ids, other} <= {s.snapshot_id for s in Sandbox.list_snapshots().next_items()}
    for snapshot in (*ids, other):
        Sandbox.delete_snapshot(snapshot)
    assert Sandbox.list_snapshots(sandbox_id=one.sandbox_id).next_items() == []


def test_memory_is_not_promised(create):
    sandbox = create()
    with pytest.raises(SandboxException, match="files only"):
        sandbox.create_snapshot(mode="full")
    snapshot = sandbox.create_snapshot(mode="filesystem")
    assert Sandbox.delete_snapshot(snapshot.snapshot_id)


def test_fork(create):
    sandbox = create(metadata={"of": "all"}, envs={"KIND": "parent"})
    sandbox.files.write("seen", "by all")
    children = sandbox.fork(count=10, timeout=120)
    try:
        assert len({c.sandbox_id for c in children} | {sandbox.sandbox_id}) == 11
        for i, child in enumerate(children):
            assert child.files.read("seen") == "by all"
            child.files.write("own", str(i))
            assert child.commands.run("echo $KIND").stdout == "parent\n"
        assert [c.files.read("own") for c in children] == [str(i) for i in range(10)]
        assert not sandbox.files.exists("own")
        info = children[0].get_info()
        assert info.metadata == {"of": "all"} and info.template_id == "base"
        assert Sandbox.list_snapshots(sandbox_id=sandbox.sandbox_id).next_items() == []
        (grandchild,) = children[3].fork()
        children.append(grandchild)
        assert grandchild.files.read("own") == "3"
        sandbox.kill()
        assert children[5].files.read("seen") == "by all"
    finally:
        for child in children:
            child.kill()


def test_fork_of_what_does_not_run(server, create):
    sandbox = create()
    sandbox.pause()
    reply = server.api("POST", f"/sandboxes/{sandbox.sandbox_id}/fork", {})
    assert reply.status == 409, reply.text
    reply = server.api("POST", f"/sandboxes/{sandbox.sandbox_id}/snapshots", {})
    assert reply.status == 409, reply.text
    with pytest.raises(NotFoundException):
        Sandbox.fork("iunknown")


@pytest.mark.parametrize("reboot_on", ["pause", "connect"])
def test_files_only(create, reboot_on):
    sandbox = create(envs={"KEPT": "yes"})
    sandbox.commands.run(CHANGES, user="root")
    before, boot = expected(sandbox), boot_id(sandbox)
    sandbox.commands.run("sleep 1000", background=True)
    assert sandbox.pause(mode="filesystem" if reboot_on == "pause" else "full") is True
    assert sandbox.pause() is False
    assert state(sandbox) == SandboxState.PAUSED and not sandbox.is_running()
    with pytest.raises(TimeoutException):
        sandbox.files.read("x")
    again = Sandbox.connect(
        sandbox.sandbox_id, on_resume="reboot" if reboot_on == "connect" else "restore"
    )
    assert expected(again) == before
    assert again.commands.list() == [] and boot_id(again) != boot
    assert again.commands.run("echo $KEPT").stdout == "yes\n"
    assert again.commands.run("rm -r /root/d; ls /root/d", user="root", background=True)
    # And on, as often as one likes, also as a source.
    boot = boot_id(again)
    assert again.pause(mode="filesystem") is True
    third = Sandbox.connect(sandbox.sandbox_id)
    assert third.commands.run("[ ! -e /etc/profile ] && ls /usr/share/moved | wc -l").stdout
    (child,) = third.fork()
    assert child.commands.run("[ ! -e /etc/profile ] && echo same").stdout == "same\n"
    child.kill()
    assert boot_id(third) != boot
    assert third.kill() is True


def test_files_only_at_the_end_of_life(server, create):
    sandbox = create(lifecycle={"on_timeout": {"action": "pause", "mode": "filesystem"}})
    sandbox.files.write("kept", "kept")
    boot = boot_id(sandbox)
    sandbox.set_timeout(0)
    path = f"/sandboxes/{sandbox.sandbox_id}"
    eventually(lambda: server.api("GET", path).json().get("pauseMode"), what="the pause")
    assert server.api("GET", path).json()["pauseMode"] == "filesystem"
    assert state(sandbox) == SandboxState.PAUSED
    assert not sandbox.is_running(), "traffic does not wake it"
    sandbox.connect()
    assert sandbox.files.read("kept") == "kept" and boot_id(sandbox) != boot


def test_traffic_does_not_wake_what_is_cold(create):
    sandbox = create(lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.pause(mode="filesystem")
    with pytest.raises(TimeoutException):
        sandbox.files.read("/etc/hostname")
    assert state(sandbox) == SandboxState.PAUSED


def test_kill_of_a_cold_one(create):
    sandbox = create()
    sandbox.pause(mode="filesystem")
    assert sandbox.kill() is True
    assert sandbox.kill() is False


def test_strict_pause(create):
    sandbox = create()
    assert sandbox.pause(strict=True) is True
    sandbox.connect()
    assert sandbox.commands.run("echo up").stdout == "up\n"
