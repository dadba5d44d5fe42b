"""Train a model: `python train.py fit --config configs/train/rooms.yaml`."""

import sys
from importlib import import_module

from video4spatial.cli.errors import exit_code

if __name__ == "__main__":
    sys.exit(exit_code(lambda arguments: import_module("video4spatial.cli.train").main(arguments), sys.argv[1:]))
