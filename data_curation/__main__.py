"""`python -m data_curation inspect SOURCE`: the same as `v4s curate`."""

import sys

from video4spatial.cli.curate import main
from video4spatial.cli.errors import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))
