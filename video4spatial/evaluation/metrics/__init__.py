"""Metrics, a module per family; `registry` lists them with what they declare."""
