"""Rows of the three stages."""

from hypothesis import given
from hypothesis import strategies as st

from poet.data.rows import hold_out, pretraining_rows

TEXT = st.text("春\n夏", min_size=2)
SHARE = st.floats(0.01, 0.99)


@given(TEXT, SHARE)
def test_rows_restore_the_text_exactly(text, share):
    train, test = (
        "\n\n".join(row["text"] for row in half) for half in pretraining_rows(text, share)
    )
    assert train + test == text and train and test


@given(st.lists(st.integers(), min_size=2), SHARE)
def test_something_is_always_held_out(items, share):
    train, test = hold_out(items, share)
    assert train and test and train + test == items
