# SPDX-License-Identifier: Apache-2.0
"""What a sandbox may reach: addresses, names, changes, and what is left of it after a crash.

The server runs in a network namespace of its own, whose internet is played by another (world.py).
"""

import os
import signal

import pytest
from e2b import CommandExitException, Sandbox, SandboxException

from conftest import finish
from harness import VARIABLES, Server, eventually
from world import PRIVATE, RESOLVER, SECOND, SERVER, Forwarder, World

ALL = "0.0.0.0/0"
CURL = "curl -sk --max-time 10 "


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


@pytest.fixture(scope="module")
def server(world):
    server = Server(extra=["--dns", RESOLVER], prefix=world.host.prefix)
    server.start()
    forwarder = Forwarder(world.host, server.address)
    url = f"http://127.0.0.1:{forwarder.port}"
    for name in ("E2B_API_URL", "E2B_SANDBOX_URL"):
        server.env[name] = url
    saved = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update({name: server.env[name] for name in VARIABLES})
    yield server
    for name, value in saved.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    log = server.log.read_text(errors="replace")
    finish(server)
    forwarder.close()
    # Restarts mend much: each must have been asked for by a test.
    assert log.count("process died") == log.count("signal=9") == 3, log[-4000:]


@pytest.fixture
def make(server):
    made = []

    def make(**options):
        made.append(Sandbox.create(timeout=120, **options))
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.kill()


def run(sandbox, command):
    """Status and output."""
    try:
        done = sandbox.commands.run(command, timeout=30)
        return done.exit_code, done.stdout
    except CommandExitException as error:
        return error.exit_code, error.stdout + error.stderr


def reaches(sandbox, address, port=8080):
    """Whether a TCP connection comes about and passes bytes; False if it is refused."""
    status, said = run(
        sandbox,
        f"""python3 -c '
import socket
s = socket.create_connection(("{address}", {port}), 10)
s.sendall(b"hello"); s.shutdown(1); print(s.makefile().read())'""",
    )
    if status == 0:
        assert said == "hello\n"
        return True
    assert "ConnectionRefusedError" in said or "Network is unreachable" in said, said
    return False


def names(*allowed):
    return {"allow_out": list(allowed), "deny_out": [ALL]}


# ---- addresses ----------------------------------------------------------------------------------


def test_everything_is_open_at_first(make):
    sandbox = make()
    assert reaches(sandbox, SERVER) and reaches(sandbox, SECOND)
    assert run(sandbox, CURL + "https://good.test/") == (0, "https good.test 0\n")


def test_deny_all(make, world):
    for options in ({"network": {"deny_out": [ALL]}}, {"allow_internet_access": False}):
        sandbox = make(**options)
        assert not reaches(sandbox, SERVER)
        assert run(sandbox, CURL + "https://good.test/")[0] == 6  # no name is found either


def test_deny_some(make):
    sandbox = make(network={"deny_out": ["203.0.113.16/28", "2001:db8::/32"]})
    assert reaches(sandbox, SERVER)
    assert not reaches(sandbox, SECOND)
    assert run(sandbox, CURL + "https://second.test/")[0] == 7


def test_allow_wins(make):
    sandbox = make(network={"deny_out": [ALL], "allow_out": [SECOND]})
    assert reaches(sandbox, SECOND)
    assert not reaches(sandbox, SERVER)


def test_private_addresses_stay_closed(make, world):
    sandbox = make(network={"deny_out": [ALL], "allow_out": ["10.0.0.0/8", SERVER]})
    run(sandbox, f"timeout 1 curl -s http://{PRIVATE}:8080/")
    assert reaches(sandbox, SERVER)
    assert f"tcp {PRIVATE}" not in world.seen()


def test_changes_at_once(make):
    sandbox = make()
    talk = sandbox.commands.run(
        f"""python3 -uc '
import socket, sys
kept = socket.create_connection(("{SERVER}", 8080)); cut = socket.create_connection(("{SECOND}", 8080))
for line in sys.stdin:
    for s in kept, cut:
        try: s.sendall(line.encode()); print(s.recv(100).decode().strip(), flush=True)
        except OSError as error: print(type(error).__name__, flush=True)'""",
        background=True,
        stdin=True,
    )
    said = ""

    def say(text):
        nonlocal said
        sandbox.commands.send_stdin(talk.pid, text + "\n")
        count = said.count("\n") + 2
        for out, _, _ in talk:
            said += out or ""
            if said.count("\n") >= count:
                return said.splitlines()[-2:]

    assert say("one") == ["one", "one"]
    sandbox.update_network({"deny_out": [SECOND]})
    assert say("two") == ["two", "ConnectionResetError"]
    assert not reaches(sandbox, SECOND)
    talk.kill()
    sandbox.update_network({"deny_out": [ALL]})
    assert not reaches(sandbox, SERVER)
    sandbox.update_network({})
    assert reaches(sandbox, SERVER) and reaches(sandbox, SECOND)


def test_a_link_comes_later(make):
    sandbox = make(allow_internet_access=False)
    assert not reaches(sandbox, SERVER)
    sandbox.update_network({})
    assert reaches(sandbox, SERVER)
    sandbox.update_network({"allow_internet_access": False})
    assert not reaches(sandbox, SERVER)


# ---- names --------------------------------------------------------------------------------------


def test_one_name_of_an_address(make, world):
    """good.test and evil.test are one address: the name decides, not where the connection goes."""
    sandbox = make(network=names("good.test", "*.wild.test"))
    assert run(sandbox, CURL + "https://good.test/x") == (0, "https good.test 0\n")
    assert run(sandbox, CURL + "http://good.test/x") == (0, "http good.test 0\n")
    assert run(sandbox, CURL + "https://a.wild.test/") == (0, "https a.wild.test 0\n")
    before = len(world.seen())
    assert run(sandbox, CURL + "https://evil.test/")[0] == 6
    assert run(sandbox, CURL + "https://wild.test/")[0] == 6
    for command in (
        f"--resolve evil.test:443:{SERVER} https://evil.test/",
        f"--connect-to evil.test:443:good.test:443 https://evil.test/",
        f"https://{SERVER}/",
    ):
        assert run(sandbox, CURL + command)[0] == 35, command  # an alert
    for command in (
        "-H 'Host: evil.test' http://good.test/",
        f"http://{SERVER}/",
        "-H 'Host: good.test:8080' http://good.test/",
        "--request-target http://evil.test/ http://good.test/",
        f"--proxy http://{SERVER}:80 --proxytunnel http://good.test/",
    ):
        status, said = run(sandbox, CURL + "-w %{http_code} " + command)
        assert said.endswith("403") or status == 56, (command, status, said)
    assert not reaches(sandbox, SERVER)
    assert world.seen()[before:] == []


def test_addresses_do_not_matter_for_names(make):
    sandbox = make(network=names("good.test"))
    assert run(sandbox, CURL + "--resolve good.test:443:198.51.100.7 https://good.test/") == (
        0,
        "https good.test 0\n",
    )


def test_addresses_beside_names(make):
    sandbox = make(network=names("good.test", SECOND))
    assert reaches(sandbox, SECOND)
    assert run(sandbox, CURL + f"https://{SECOND}/")[0] == 0
    assert run(sandbox, CURL + "https://good.test/")[0] == 0
    assert not reaches(sandbox, SERVER)


def test_a_name_does_not_lead_inside(make, world):
    sandbox = make(network=names("rebind.test"))
    assert run(sandbox, CURL + "https://rebind.test/")[0] == 6
    forced = CURL + f"--resolve rebind.test:443:{SERVER} https://rebind.test/"
    assert run(sandbox, forced)[0] == 35
    assert "sni rebind.test" not in world.seen()


def test_questions_for_other_names_stay_inside(make, world):
    sandbox = make(network=names("good.test"))
    ask = "python3 -c 'import socket,sys; print(socket.gethostbyname(sys.argv[1]))' "
    assert run(sandbox, ask + "good.test") == (0, SERVER + "\n")
    for name in ("secret.evil.test", "evil.test", "good.test.evil.test", "x.good.test"):
        assert run(sandbox, ask + name)[0] == 1
        assert not any(name in line for line in world.seen())


def test_one_request_a_connection(make, world):
    sandbox = make(network=names("good.test"))
    sandbox.files.write(
        "/tmp/two.py",
        """
import socket
s = socket.create_connection(("good.test", 80))
for host in "good.test", "evil.test", "good.test":
    s.sendall(f"POST /{host} HTTP/1.1\\r\\nHost: {host}\\r\\nContent-Length: 3\\r\\n\\r\\nabc".encode())
s.shutdown(1)
print(s.makefile("rb").read().count(b"HTTP/1.1"))
""",
    )
    before = len(world.seen())
    # The server keeps the connection open, so the end comes from the relay's idea of it: read what
    # is there, then give up.
    assert run(sandbox, "timeout 5 python3 /tmp/two.py")[1] in ("1\n", "")
    assert [line for line in world.seen()[before:] if line.startswith("http ")] == [
        "http POST /good.test host=good.test body=3"
    ]


def test_bodies_and_web_sockets(make, world):
    sandbox = make(network=names("good.test"))
    sandbox.commands.run("head -c 5000000 /dev/zero > /tmp/body")
    post = CURL + "-H 'Expect:' --data-binary @/tmp/body http://good.test/p"
    assert run(sandbox, post) == (0, "http good.test 5000000\n")
    chunked = CURL + "-H 'Transfer-Encoding: chunked' -T /tmp/body http://good.test/p"
    assert run(sandbox, chunked) == (0, "http good.test 5000000\n")
    for scheme in ("http", "https"):
        assert run(sandbox, CURL + f"{scheme}://good.test/large | wc -c") == (0, "20000000\n")
    sandbox.files.write(
        "/tmp/ws.py",
        """
import socket
s = socket.create_connection(("good.test", 80))
s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: good.test\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
data = b""
while not data.endswith(b"\\r\\n\\r\\n"): data += s.recv(1000)
s.sendall(b"hello"); print(s.recv(100).decode())
""",
    )
    assert run(sandbox, "python3 /tmp/ws.py") == (0, "echo hello\n")


def test_a_greeting_in_pieces(make):
    """Cut into single bytes, and into records of a few bytes."""
    sandbox = make(network=names("good.test"))
    sandbox.files.write(
        "/tmp/pieces.py",
        """
import socket, ssl, sys
context = ssl._create_unverified_context()
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=sys.argv[1])
try: tls.do_handshake()
except ssl.SSLWantReadError: pass
hello = outgoing.read()
if sys.argv[2] == "records":
    body, hello = hello[5:], b""
    for i in range(0, len(body), 40):
        part = body[i:i + 40]
        hello += b"\\x16\\x03\\x01" + len(part).to_bytes(2, "big") + part
s = socket.create_connection(("good.test", 443))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for i in range(0, len(hello), int(sys.argv[3])): s.sendall(hello[i:i + int(sys.argv[3])])
data = s.recv(5)
print(data[0])
""",
    )
    for how in ("whole 1", "records 1000", "records 7"):
        assert run(sandbox, "python3 /tmp/pieces.py good.test " + how) == (0, "22\n"), how
        assert run(sandbox, "python3 /tmp/pieces.py evil.test " + how) == (0, "21\n"), how


def test_names_change_at_once(make):
    sandbox = make(network=names("good.test", "other.test"))
    sandbox.files.write(
        "/tmp/stay.py",
        """
import socket, ssl, sys
ends = []
for name in "good.test", "other.test":
    s = ssl._create_unverified_context().wrap_socket(socket.create_connection((name, 443)), server_hostname=name)
    s.sendall(f"GET /stay HTTP/1.1\\r\\nHost: {name}\\r\\n\\r\\n".encode()); s.recv(1000)
    ends.append(s)
print("open", flush=True)
sys.stdin.readline()
for s in ends:
    try:
        s.sendall(b"again\\n"); print("kept" if b"again" in s.recv(100) else "cut", flush=True)
    except OSError: print("cut", flush=True)
""",
    )
    talk = sandbox.commands.run("python3 -u /tmp/stay.py", background=True, stdin=True)
    for out, _, _ in talk:
        if "open" in (out or ""):
            break
    sandbox.update_network(names("good.test"))
    sandbox.commands.send_stdin(talk.pid, "\n")
    assert talk.wait().stdout.endswith("kept\ncut\n")
    assert run(sandbox, CURL + "https://other.test/")[0] == 6
    sandbox.update_network({})
    assert run(sandbox, CURL + "https://evil.test/") == (0, "https evil.test 0\n")


# ---- what a crash leaves ------------------------------------------------------------------------


def test_policies_outlive_the_launcher(make, server):
    listed = make(network={"deny_out": [SECOND]})
    named = make(network=names("good.test"))
    updated = make()
    updated.update_network({"deny_out": [ALL], "allow_out": [SERVER]})

    def holds():
        assert reaches(listed, SERVER) and not reaches(listed, SECOND)
        assert run(named, CURL + "https://good.test/")[0] == 0
        assert run(named, CURL + f"--resolve evil.test:443:{SERVER} https://evil.test/")[0] == 35
        assert not reaches(named, SERVER)
        assert reaches(updated, SERVER) and not reaches(updated, SECOND)

    for victim in ("launcher", "egress", "server"):
        pid = server.children()[victim]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.children().get(victim) not in (None, pid), 15, "another one")
        eventually(lambda: Sandbox.get_info(named.sandbox_id), 15, "an answer")
        eventually(lambda: run(named, CURL + "https://good.test/")[0] == 0, 15, "the relay")
        holds()
    named.update_network({"deny_out": [SERVER]})
    assert not reaches(named, SERVER) and reaches(named, SECOND)


# ---- the interface ------------------------------------------------------------------------------


def test_what_is_shown(make, server):
    sandbox = make(network={"deny_out": [ALL], "allow_out": [SERVER], "allow_public_traffic": False})
    shown = server.api("GET", f"/sandboxes/{sandbox.sandbox_id}").json()
    assert shown["network"] == {
        "denyOut": [ALL],
        "allowOut": [SERVER],
        "allowPublicTraffic": False,
    }
    sandbox.update_network({"deny_out": [SECOND], "allow_internet_access": True})
    shown = server.api("GET", f"/sandboxes/{sandbox.sandbox_id}").json()
    assert shown["network"] == {"denyOut": [SECOND], "allowPublicTraffic": False}
    assert shown["allowInternetAccess"] is True


@pytest.mark.parametrize(
    "body, why",
    [
        ({"denyOut": ["example.com"]}, '"denyOut"[0]: "example.com"'),
        ({"allowOut": ["example.com"]}, "0.0.0.0/0"),
        ({"allowOut": ["exa mple"], "denyOut": [ALL]}, '"allowOut"[0]: "exa mple"'),
        ({"allowOut": "1.1.1.1"}, '"allowOut" must be an array'),
        ({"denyOut": ["10.0.0.0/33"]}, '"denyOut"[0]: "10.0.0.0/33"'),
        ({"rules": {"a.test": [{"transform": {"headers": {"X": "y"}}}]}}, '"rules" is not supported'),
        ({"egressProxy": {"address": "a.test:1080"}}, '"egressProxy" is not supported'),
        ({"allow_internet_access": "no"}, '"allow_internet_access"'),
        ({"denyOut": ["1.2.3.4"] * 257}, "257 entries"),
    ],
)
def test_bad_rules_are_refused(make, server, body, why):
    sandbox = make()
    answer = server.api("PUT", f"/sandboxes/{sandbox.sandbox_id}/network", body)
    assert answer.status == 400 and why in answer.json()["message"], answer.body
    allow = body.pop("allow_internet_access", None)
    create = {"templateID": "base", "network": body}
    if allow is not None:
        create["allow_internet_access"] = allow
    answer = server.api("POST", "/v2/sandboxes", create)
    assert answer.status == 400 and why.split('"')[-1] in answer.json()["message"], answer.body


def test_who_has_no_network_to_change(make, server):
    assert server.api("PUT", "/sandboxes/inosuchsandbox/network", {}).status == 404
    sandbox = make()
    sandbox.pause()
    assert server.api("PUT", f"/sandboxes/{sandbox.sandbox_id}/network", {}).status == 409
    with pytest.raises(SandboxException):
        sandbox.update_network({"deny_out": ["no address"]})
