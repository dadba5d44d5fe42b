"""A self-contained HTML page about a curated data set: what was kept, what was not and why, how it scores, what it looks like."""

from data_curation.report.page import write_report

__all__ = ["write_report"]
