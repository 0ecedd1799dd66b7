"""Runs a Kubernetes without nodes for ad-hoc use until Ctrl-C: python -m tests.kube [--version 1.31] [--install]."""

import argparse
import signal
import sys

from tests.kube.installing import install
from tests.kube.programs import NEWEST, VERSIONS
from tests.kube.session import Kubes


def main() -> None:
    """Start it, print how to reach it, and wait for a signal."""
    parser = argparse.ArgumentParser(prog="python -m tests.kube", description=__doc__)
    parser.add_argument("--version", choices=VERSIONS, default=NEWEST)
    parser.add_argument("--install", action="store_true", help="run the README's kubectl commands")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Kubes.opened() as kubes:
        try:
            kube = kubes.shared(arguments.version)
            if arguments.install:
                install(kube)
            print(f"{kubes.used[arguments.version]}, at {kube.url}")
            print(f"export KUBECONFIG={kube.kubeconfig} PATH={kube.kubectl_path.parent}:$PATH", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
