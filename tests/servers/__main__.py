"""Runs servers for ad-hoc use until Ctrl-C: python -m tests.servers 15 16 18."""

import argparse
import signal
import sys

from tests.servers.builds import MAJORS
from tests.servers.session import Servers


def main() -> None:
    """Start the servers named on the command line, print how to log in, and wait for a signal."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("majors", nargs="*", type=int, default=MAJORS, metavar="MAJOR")
    majors = parser.parse_args().majors
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Servers.opened() as servers:
        for major in majors:
            server = servers.shared(major)
            print(f"PostgreSQL {server.version} ({server.build.source})")
            print(f"  superuser  {server.dsn()}")
            print(f"  rds admin  {server.dsn(server.admin.user, server.admin.password)}")
            print(f"  log        {server.log}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
