"""Times every step of a whole run on MovieLens 100K, from files on disk, with one layer stack.

    MOVIELENS_100K=ml-100k.zip python tests/benchmarks/steps.py

A step's time is that of its process: interpreter and imports ("start-up"), then
its work. Prints a table in Markdown; asserts nothing.
"""

import os
import platform
import sys
import tempfile

from pipeline.config.loading import load_config
from pipeline.local.runner import run_locally


def main() -> None:
    archive = os.environ.get("MOVIELENS_100K")
    if not archive:
        sys.exit("MOVIELENS_100K does not name the ml-100k.zip archive")
    config = load_config("movielens-100k", [f"source.path={archive}", "layer_stacks=[[]]"])
    with tempfile.TemporaryDirectory() as output:
        result = run_locally(config, output)
    print(f"\n{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    print("| step | seconds | start-up | work |\n|---|---:|---:|---:|")
    for step in result.steps:
        work = step.seconds - step.startup_seconds
        print(f"| {step.step} | {step.seconds:.1f} | {step.startup_seconds:.1f} | {work:.1f} |")
    steps = sum(step.seconds for step in result.steps)
    startup = sum(step.startup_seconds for step in result.steps)
    print(f"| all steps | {steps:.1f} | {startup:.1f} | {steps - startup:.1f} |")
    data = sum(step.seconds for step in result.steps if step.step in ("ingest", "adapt"))
    slowest = max(result.steps, key=lambda step: step.seconds)
    print(f"\ningest and adapt together: {data:.1f} s")
    print(f"the whole run: {result.seconds:.1f} s")
    print(f"slowest step: {slowest.step}, {slowest.seconds / steps:.0%} of all")


if __name__ == "__main__":
    main()
