"""The `v4s` command line: one module per verb, registered in `main.py`."""
