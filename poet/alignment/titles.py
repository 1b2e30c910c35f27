"""Chooses the titles for which the model writes poems in alignment by rewards.

It knows prompts and their tokens. It does not know models.
"""

from datasets import DatasetDict
from transformers import PreTrainedTokenizerFast

from poet.errors import UserError


def drop_long_titles(
    rows: DatasetDict, tokenizer: PreTrainedTokenizerFast, room: int
) -> DatasetDict:
    """Drops prompts longer than `room` tokens, and all columns but "prompt".

    Raises:
        UserError: no prompt is left.
    """

    def fits(row: dict) -> bool:
        chat = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)
        return len(chat["input_ids"]) <= room

    kept = rows.select_columns("prompt").filter(
        fits, keep_in_memory=True, load_from_cache_file=False
    )
    if not all(len(part) for part in kept.values()):
        raise UserError(
            f"no title fits into the {room} tokens that max_completion_length leaves. Lower "
            "max_completion_length."
        )
    return kept
