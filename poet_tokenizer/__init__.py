"""The tokenizer: one token per character, and a chat template that asks for a poem by its title.

It knows Unicode, the special tokens and the shape of a prompt. It does not know rules of poems,
models or training.

Two decisions:

- *No character is unknown.* A character outside the vocabulary becomes its UTF-8 bytes, with one
  token per byte, and decodes to itself. SentencePiece calls this byte fallback
  (https://arxiv.org/abs/1808.06226). The text is not normalized.
- *A title cannot inject a tag.* A tag is a special token such as `<RES>`. In a title it must stay
  five characters. The chat template therefore writes the noncharacter U+FDD0 after the `<` of a tag
  in a message. This hides the tag from the search for special tokens, and the tokenizer then
  removes the mark. Unicode reserves U+FDD0 for such internal use (The Unicode Standard, 23.7).
  Messages are encoded exactly. Only a raw string that itself contains `<` followed by U+FDD0 loses
  the mark. If an assistant message contains a whole tag, `continue_final_message` fails:
  transformers finds its text changed.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, END, INSTRUCTION, INPUT, RESPONSE = "<pad>", "<end>", "<INS>", "<INP>", "<RES>"
SPECIAL_TOKENS = (PAD, END, INSTRUCTION, INPUT, RESPONSE)
DEFAULT_INSTRUCTION = "請用以下題目寫一首詩"
Message = dict[str, str]
_INERT = "\ufdd0"
_INERT_TAGS = {tag: "<" + _INERT + tag[1:] for tag in ("<" + _INERT, *SPECIAL_TOKENS)}

# A system message replaces the instruction. A user message is the title. An assistant message is
# the poem, and the template adds the end mark. A loss mask keeps only the part in `generation`.
_CHAT_TEMPLATE = "".join(
    (
        "{%- set ns = namespace(instruction=__INSTRUCTION__) -%}",
        "{%- for message in messages -%}",
        "{%- if message['content'] is string -%}{%- set text = message['content'] -%}",
        "{%- else -%}{%- set text = message['content'] | map(attribute='text') | join -%}",
        "{%- endif -%}",
        "{%- set text = text",
        *(f" | replace('{tag}', '{inert}')" for tag, inert in _INERT_TAGS.items()),
        " -%}",
        "{%- if message['role'] == 'system' -%}{%- set ns.instruction = text -%}",
        "{%- elif message['role'] == 'user' -%}",
        "{{- '<INS>' + ns.instruction + '<INP>' + text + '<RES>' -}}",
        "{%- elif message['role'] == 'assistant' -%}",
        "{%- generation -%}{{- text + '<end>' -}}{%- endgeneration -%}",
        "{%- else -%}",
        "{{- raise_exception('unknown role ' + message['role']",
        " + '. Use system, user or assistant.') -}}",
        "{%- endif -%}",
        "{%- endfor -%}",
    )
)


def build_tokenizer(
    characters: Iterable[str], model_max_length: int, instruction: str = DEFAULT_INSTRUCTION
) -> PreTrainedTokenizerFast:
    """Returns a tokenizer that `AutoTokenizer.from_pretrained` loads without remote code.

    The ids are those of the special tokens, then of the 256 bytes, then of the characters in code
    point order. The same characters always get the same ids.

    Args:
        characters: The vocabulary. All other characters become bytes.
        model_max_length: The number of positions of the model.
        instruction: The start of every prompt without a system message.
    """
    names = [
        *SPECIAL_TOKENS,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *sorted(set(characters) | set(instruction)),
    ]
    vocabulary = {name: id for id, name in enumerate(names)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    backend.normalizer = normalizers.Replace("<" + _INERT, "<")
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    special = {name: AddedToken(name, normalized=False, special=True) for name in SPECIAL_TOKENS}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=special[PAD],
        eos_token=special[END],
        additional_special_tokens=[special[name] for name in (INSTRUCTION, INPUT, RESPONSE)],
        chat_template=_CHAT_TEMPLATE.replace("__INSTRUCTION__", _quoted(instruction)),
        model_max_length=model_max_length,
        padding_side="left",  # a model continues a prompt to the right
        clean_up_tokenization_spaces=False,
    )


def _quoted(instruction: str) -> str:
    """Returns the instruction as a Jinja string. Quotes and tags in it stay plain characters."""
    for tag, inert in _INERT_TAGS.items():
        instruction = instruction.replace(tag, inert)
    return json.dumps(instruction, ensure_ascii=False)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Saves a tokenizer so that transformers 4 loads it too, from version 4.43.

    `save_pretrained` of transformers 5 writes names that transformers 4 does not know. It writes
    the chat template into a file that old versions do not read.
    """
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    Path(folder, "chat_template.jinja").unlink(missing_ok=True)
    path = Path(folder, "tokenizer_config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    if config["tokenizer_class"] == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if "extra_special_tokens" in config:
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Returns the ids of a text of any length. Tags in the text are plain characters.

    The text is encoded in pieces, because the time of one call grows faster than its text. The cuts
    change no id: no token spans two characters.
    """
    pieces = [text[start : start + 2000] for start in range(0, len(text), 2000)]
    if not pieces:
        return []
    encoded = tokenizer(pieces, add_special_tokens=False, split_special_tokens=True, verbose=False)
    return [id for ids in encoded["input_ids"] for id in ids]


def byte_token_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Returns the ids of the byte tokens, which stand for parts of characters.

    A poem needs whole characters only. The list is empty for a tokenizer without byte tokens.
    """
    ids = tokenizer.get_vocab()
    return [ids[name] for name in (f"<0x{byte:02X}>" for byte in range(256)) if name in ids]


def ask(title: str, instruction: str | None = None) -> list[Message]:
    """Returns the messages that ask for a poem with this title.

    Args:
        instruction: Replaces the instruction of the chat template, through a system message.
    """
    system = [] if instruction is None else [{"role": "system", "content": instruction}]
    return [*system, {"role": "user", "content": title}]
