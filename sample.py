"""Generate a video: `python sample.py` runs the demo, `python sample.py navigate --help` explains your own."""

import sys
from importlib import import_module

from video4spatial.cli.errors import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(lambda arguments: import_module("video4spatial.cli.sample").main(arguments), sys.argv[1:]))
