# SPDX-License-Identifier: Apache-2.0
"""Make a data frame by code, and download its CSV."""

from carrel import Sandbox

with Sandbox() as sandbox:
    sandbox.run_code("""
import numpy as np
import pandas as pd

df = pd.DataFrame({
    "x": np.random.randn(1000),
    "y": np.random.randn(1000),
})
df.to_csv("/home/user/results.csv", index=False)
""")
    content = sandbox.files.read("/home/user/results.csv")
    with open("downloaded_results.csv", "w") as f:
        f.write(content)

    # The same in one call, which streams; directories go the same way.
    sandbox.files.download("/home/user/results.csv", "again.csv")

with open("downloaded_results.csv") as one, open("again.csv") as other:
    lines = one.read().splitlines()
    print(
        f"{lines[0]}: {len(lines) - 1} rows, the same twice: {lines == other.read().splitlines()}"
    )
