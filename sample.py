"""Generate a video: `python sample.py` runs the demo, `python sample.py navigate --help` explains your own."""

import sys

from video4spatial.cli.errors import exit_code
from video4spatial.cli.sample import main

if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))
