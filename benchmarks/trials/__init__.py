"""Parts of benchmarks/robustness.py: inputs and what is wrong with them, reading under limits, killed commands, large inputs."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = [sys.executable, "-c", "import sys; from video4spatial.cli.main import main; sys.exit(main())"]
"""The command `v4s`, wherever it is installed."""
