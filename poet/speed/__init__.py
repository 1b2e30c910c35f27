"""Everything that only makes training or sampling faster. `--plain` switches all of it off."""
