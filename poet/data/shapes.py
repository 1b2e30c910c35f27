"""Shapes of rows: poems, documents, answers to prompts, and pairs of answers.

    poems       {"title", "paragraphs"} and other names for these columns
    documents   {"text"} without titles
    answers     {"prompt", "completion"}, {"question", "answer"}, {"instruction", "output"},
                {"messages": [{"role", "content"}, …]} or {"conversations": [{"from", "value"}, …]}
    pairs       {"prompt", "chosen", "rejected"}, or chosen and rejected alone, if both begin with
                the prompt

A prompt or an answer is a text or a list of messages, as in `trl`. This module knows records and
rows. It does not know files, poems or tokens.
"""

from collections.abc import Sequence
from typing import Any

from poet.errors import UserError
from poet_tokenizer import Message

POEMS, DOCUMENTS, ANSWERS, PAIRS = "poems", "documents", "answers", "pairs"
_PROMPTS = ("prompt", "question", "instruction", "query")
_COMPLETIONS = ("completion", "answer", "output", "response")
_CHATS = ("messages", "conversations")
_ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant",
          "gpt": "assistant"}  # fmt: skip
Row = dict[str, list[Message]]


class Unusable(Exception):
    """A record that gives no row. The text is the reason, for the counts of dropped rows."""


def shape_of(record: Any) -> str:
    """Returns pairs, answers or poems, by the columns of a record. A document counts as a poem."""
    names = set(record) if isinstance(record, dict) else set()
    if {"chosen", "rejected"} <= names:
        return PAIRS
    if names & set(_CHATS) or (names & set(_PROMPTS) and names & set(_COMPLETIONS)):
        return ANSWERS
    return POEMS


def answer_row(record: dict[str, Any], place: str) -> Row:
    """Returns {"prompt", "completion"}. Of a conversation, the last answer is the completion.

    Raises:
        Unusable: The prompt or the answer is empty, or a conversation has no answer.
        UserError: A value is neither a text nor a list of messages.
    """
    chat = next((record[name] for name in _CHATS if record.get(name) is not None), None)
    if chat is None:
        prompt, answer = _first(record, _PROMPTS), _first(record, _COMPLETIONS)
        if "input" in record and isinstance(prompt, str) and record["input"]:
            prompt = f"{prompt}\n{record['input']}"
        return _checked(
            prompt=_messages(prompt, "user", place),
            completion=_messages(answer, "assistant", place),
        )
    messages = _messages(chat, "user", place)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise Unusable("without an answer")
    last = answers[-1]
    return _checked(prompt=messages[:last], completion=messages[last : last + 1])


def pair_row(record: dict[str, Any], place: str) -> Row:
    """Returns {"prompt", "chosen", "rejected"}.

    If the record has no prompt, the beginning that both answers share becomes the prompt.

    Raises:
        Unusable: A part is empty, or both answers are equal.
        UserError: A value is neither a text nor a list of messages.
    """
    if record.get("prompt") is None:
        from trl.data_utils import extract_prompt

        record = extract_prompt({key: record[key] for key in ("chosen", "rejected")})
    row = _checked(
        prompt=_messages(record["prompt"], "user", place),
        chosen=_messages(record["chosen"], "assistant", place),
        rejected=_messages(record["rejected"], "assistant", place),
    )
    if row["chosen"] == row["rejected"]:
        raise Unusable("with equal answers")
    return row


def text_of(row: Row) -> str:
    """Returns the texts of a row for pretraining: the prompt and its (chosen) answer."""
    messages = row["prompt"] + row.get("completion", row.get("chosen", []))
    return "\n".join(message["content"] for message in messages)


def _first(record: dict[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), "")


def _checked(**row: list[Message]) -> Row:
    for name, messages in row.items():
        if not messages or not messages[-1]["content"].strip():
            raise Unusable(f"with an empty {name}")
    return row


def _messages(value: Any, role: str, place: str) -> list[Message]:
    """Returns a list of messages that have `role` and `content` only. A text becomes one."""
    if value is None:
        return []
    if isinstance(value, str):
        return [{"role": role, "content": value.strip()}]
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise UserError(f"{place}: a prompt and an answer must each be text or a list of messages.")
    return [_message(message, place) for message in value]


def _message(message: dict[str, Any], place: str) -> Message:
    role = _ROLES.get(str(message.get("role", message.get("from"))))
    content = message.get("content", message.get("value"))
    if isinstance(content, list):  # parts, as in chats with images
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    if role is None:
        raise Unusable("with a role that is not system, user or assistant")
    if not isinstance(content, str):
        raise UserError(f"{place}: the content of a message must be a text.")
    return {"role": role, "content": content.strip()}
