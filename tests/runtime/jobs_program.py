"""A program that jobs of tests run: `jobs_program.py job ACTION FOLDER --result FILE`."""

import signal
import sys
import time
from pathlib import Path

_, _, action, folder, _, result = sys.argv
print(f"given {Path(folder, 'word').read_text()}", flush=True)
match action:
    case "say":
        Path(result).write_text("done")
    case "fail":
        Path(result).write_text("failed")
        sys.exit(1)
    case "die":
        sys.exit(3)
    case "stay":
        print("staying", flush=True)
        time.sleep(60)
    case "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("staying", flush=True)
        time.sleep(60)
