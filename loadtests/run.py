"""`make loadtest`: a Serval of its own in a fresh folder, and Locust's scenarios against it, one after the other."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.models import iris
from serving import serving

LOCUST = Path(sys.prefix) / "loadtests" / "bin" / "locust"
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
SCENARIOS = ("single", "batch", "mixed", "repeated", "spike", "soak")
CACHE_TTL_SECONDS = 3600
"""Longer than any scenario, so that the hit rate can be computed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="loadtest", description=__doc__)
    parser.add_argument("--seconds", type=int, default=15, help="of each scenario; twice as many of soak")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    options = parser.parse_args()
    missed = []
    with TemporaryDirectory() as folder, serving(Path(folder), {"cache_ttl_seconds": str(CACHE_TTL_SECONDS)}) as server:
        server.upload("iris", iris())
        for scenario in options.scenarios or SCENARIOS:
            seconds = options.seconds * (2 if scenario == "soak" else 1)
            command = [str(LOCUST), "-f", str(LOCUSTFILE), "--headless", "--only-summary", "--host", server.url]
            command += ["--users", str(options.users), "--spawn-rate", str(options.users), "--run-time", f"{seconds}s"]
            environ = os.environ | {"SCENARIO": scenario, "SECONDS": str(seconds), "SERVAL_KEY": server.key}
            if subprocess.run(command, env=environ, check=False).returncode != 0:
                missed.append(scenario)
    sys.stdout.write(f"missed: {', '.join(missed)}\n" if missed else "every threshold holds\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
