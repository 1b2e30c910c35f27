"""Runs the command `poet` as `python -m poet`."""

from poet.cli import main

main()
