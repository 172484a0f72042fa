"""Runs the benchmarks and writes ``bench/results.json``: ``python -m bench [NAME ...]``, all by default."""

import json
import platform
import sys
from pathlib import Path

from bench import operator_overhead

BENCHMARKS = {"operator": operator_overhead}


def main() -> None:
    """Run what is named, print each table, and keep the figures."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"bench: no benchmark is named {', '.join(unknown)}; there is {', '.join(BENCHMARKS)}")
    file = Path(__file__).with_name("results.json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results["machine"] = platform.platform()
    for name in names:
        results[name] = BENCHMARKS[name].measure()
        file.write_text(json.dumps(results, indent=2), encoding="utf-8")
        print(BENCHMARKS[name].table(results[name]), flush=True)


if __name__ == "__main__":
    main()
