"""From raw scene captures to clips: readers, stages, executors."""
