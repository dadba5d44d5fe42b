"""Steps of curation, one module each."""
