# SPDX-License-Identifier: Apache-2.0
"""What answers in the world: HTTPS, HTTP, a DNS for names below .test, and datagrams. Each thing that
arrives is a line in a file. Arguments: certificate, key, file."""

import asyncio
import ssl
import struct
import sys

CERT, KEY, SEEN = sys.argv[1:]
NAMES = {"second.test": "203.0.113.20", "rebind.test": "10.1.2.3"}
seen = open(SEEN, "a", buffering=1)


def note(*words):
    print(*words, file=seen)


async def read_head(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return first, fields


async def read_body(reader, fields):
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    return await reader.readexactly(int(fields.get("content-length", 0)))


async def http(reader, writer, what):
    """Keeps connections alive, so that a second request would be answered if it came."""
    try:
        while True:
            first, fields = await read_head(reader)
            body = await read_body(reader, fields)
            note(what, first.split()[0], first.split()[1], "host=" + fields.get("host", "none"),
                 "body=%d" % len(body))  # fmt: skip
            if fields.get("upgrade") == "websocket":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             b"Connection: Upgrade\r\n\r\n")  # fmt: skip
                while data := await reader.read(65536):
                    writer.write(b"echo " + data)
                break
            if first.split()[1] == "/large":
                answer = b"x" * 20_000_000
            elif first.split()[1] == "/stay":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while data := await reader.readline():
                    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
                break
            else:
                answer = f"{what} {fields.get('host')} {len(body)}\n".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    writer.close()


async def https(reader, writer):
    await http(reader, writer, "https")


async def plain(reader, writer):
    await http(reader, writer, "http")


async def echo(reader, writer):
    note("tcp", writer.get_extra_info("sockname")[0])
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


def dns_answer(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
        at += query[at] + 1
    question = query[12 : at + 5]
    name, kind = ".".join(labels), struct.unpack("!H", query[at + 1 : at + 3])[0]
    note("dns", name, kind)
    if not name.endswith(".test"):
        return query[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + question
    if kind != 1:
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 0, 0, 0) + question
    address = bytes(int(n) for n in NAMES.get(name, "203.0.113.10").split("."))
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + address
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + question + record


class Dns(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(dns_answer(data), address)


class Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data, address):
        note("udp", data.decode("latin-1"))


async def main():
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)
    context.sni_callback = lambda sock, name, _: note("sni", name)
    await asyncio.start_server(https, "0.0.0.0", 443, ssl=context)
    await asyncio.start_server(plain, "0.0.0.0", 80)
    await asyncio.start_server(echo, "0.0.0.0", 8080)
    await loop.create_datagram_endpoint(Dns, local_addr=("10.9.9.53", 53))
    for port in (443, 7777):
        await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", port))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
