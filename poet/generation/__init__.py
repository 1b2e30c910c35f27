"""From a checkpoint folder and titles to poems."""
