# SPDX-License-Identifier: Apache-2.0
"""
Requests into a sandbox that runs, through server and agent, on a kept connection.
"""

from lib.bench import main
from lib.samples import table

MIB = 1 << 20
SIZE = 256 * MIB

SMALL = [
    ("health", "the shortest request, GET /health", []),
    ("put", "upload of 1 KiB", ["/tmp/k", "1024"]),
    ("get", "download of 1 KiB", ["/tmp/k"]),
]


def run(bench):
    samples = {}
    with bench.server() as server:
        bench.clock(server, [[n, n, *words] for n, _, words in SMALL], bench.rounds(1000), samples)
        large = [["put large", "put", "/tmp/m", str(SIZE)], ["get large", "get", "/tmp/m"]]
        bench.clock(server, large, bench.rounds(10), samples)
    bench.times(samples, [(name, text) for name, text, _ in SMALL])
    rows = [
        [text, f"{SIZE / samples[name].percentile(50) / 1e9:.2f}"]
        for name, text in (("put large", "upload"), ("get large", "download"))
    ]
    bench.keep(large={name: samples[name].as_json() for name in ("put large", "get large")})
    bench.text(*table(["256 MiB", "GB/s at p50"], rows))


main(run, "Requests and files")
