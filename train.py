"""Train a model: `python train.py fit --config configs/train/rooms.yaml`."""

import sys

from video4spatial.cli.errors import exit_code
from video4spatial.cli.train import main

if __name__ == "__main__":
    sys.exit(exit_code(main, sys.argv[1:]))
