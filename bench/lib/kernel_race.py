# SPDX-License-Identifier: Apache-2.0
"""Runs inside a sandbox: the same cell in turn through the interpreter's service and through
jupyter_client with the distribution's own kernel. Prints "NAME SECONDS" for each."""

import http.client
import json
import sys
import time

from jupyter_client.manager import start_new_kernel


def main(rounds):
    manager, client = start_new_kernel(kernel_name="python3")
    connection = http.client.HTTPConnection("127.0.0.1", 49999)
    body = json.dumps({"code": "1+1"})

    def ours():
        connection.request("POST", "/execute", body, {"Content-Type": "application/json"})
        assert b'"text":"2"' in connection.getresponse().read()

    def theirs():
        results = []
        client.execute_interactive("1+1", output_hook=results.append)
        assert any(r["msg_type"] == "execute_result" for r in results)

    for _ in range(20):
        ours()
        theirs()
    for _ in range(rounds):
        for name, run in (("live", ours), ("jupyter_client", theirs)):
            start = time.perf_counter()
            run()
            print(name, time.perf_counter() - start)
    manager.shutdown_kernel(now=True)


main(int(sys.argv[1]))
