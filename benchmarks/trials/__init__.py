"""What benchmarks/robustness.py is made of: inputs and what is wrong with them, reading them under limits, and killing commands."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
