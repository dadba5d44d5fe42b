"""Scores: metrics (one module per family), reference rows, scorecard, report."""
