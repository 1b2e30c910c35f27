"""Turns files of poems into the rows and blocks that models train on.

Read `poems.py`, `rows.py` and `run_data.py`, then `blocks.py`. `show.py` prints a batch.
"""
