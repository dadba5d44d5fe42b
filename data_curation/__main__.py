"""`python -m data_curation inspect SOURCE`: the same as `v4s curate`."""

import sys
from importlib import import_module

from video4spatial.cli.errors import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(lambda arguments: import_module("video4spatial.cli.curate").main(arguments), sys.argv[1:]))
