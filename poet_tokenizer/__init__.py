"""Characters to ids and back: one token a character, bytes for what was never seen, a chat template for titles.

Knows Unicode, the special tokens and the shape of a prompt. Knows nothing of poems' rules, of models or of training.

Two decisions are worth a reader's time:

- *Nothing is unknown.* A character outside the vocabulary becomes its UTF-8 bytes, one token a byte (byte fallback,
  as in SentencePiece, https://arxiv.org/abs/1808.06226), and decodes to itself. There is no normalization of text.
- *A title cannot inject a tag.* `<RES>` typed inside a title must stay five characters. The chat template writes the
  noncharacter U+FDD0 behind every `<` of a message, which hides the tag from the search for special tokens; the
  tokenizer then drops that one mark. Unicode keeps U+FDD0 for such internal use ("noncharacters", The Unicode
  Standard, 23.7). Through the template every string is exact; only a raw string that itself holds `<` and U+FDD0
  side by side loses the mark.
"""

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

PAD, END, INSTRUCTION, INPUT, RESPONSE = "<pad>", "<end>", "<INS>", "<INP>", "<RES>"
SPECIAL_TOKENS = (PAD, END, INSTRUCTION, INPUT, RESPONSE)
DEFAULT_INSTRUCTION = "請用以下題目寫一首詩"
Message = dict[str, str]
_INERT = "\ufdd0"

# One line a kind of message: system replaces the instruction, user is a title, assistant a poem and its end mark.
# `generation` encloses what the model itself has to write, which is what a loss mask keeps.
_CHAT_TEMPLATE = (
    "{%- set ns = namespace(instruction='__INSTRUCTION__') -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set text = message['content'] -%}"
    "{%- else -%}{%- set text = message['content'] | map(attribute='text') | join -%}{%- endif -%}"
    "{%- set text = text | replace('<', '<__INERT__') -%}"
    "{%- if message['role'] == 'system' -%}{%- set ns.instruction = text -%}"
    "{%- elif message['role'] == 'user' -%}{{- '<INS>' + ns.instruction + '<INP>' + text + '<RES>' -}}"
    "{%- elif message['role'] == 'assistant' -%}{%- generation -%}{{- text + '<end>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- raise_exception('a message is of the system, the user or the assistant, not: ' + message['role']) -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
)


def build_tokenizer(
    characters: Iterable[str], model_max_length: int, instruction: str = DEFAULT_INSTRUCTION
) -> PreTrainedTokenizerFast:
    """A character tokenizer that plain `transformers` loads (`AutoTokenizer.from_pretrained`, no remote code).

    Args:
        characters: what gets a token of its own, one character each; the rest is written in bytes.
        model_max_length: positions of the model that it is for, in tokens.
        instruction: the prompt's first part where no system message gives another.

    Ids: the special tokens, then the 256 bytes, then the characters in code point order, so the same characters
    always give the same ids.
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
        chat_template=_CHAT_TEMPLATE.replace("__INSTRUCTION__", instruction).replace(
            "__INERT__", _INERT
        ),
        model_max_length=model_max_length,
        padding_side="left",  # poems are written to the right of their prompts
        clean_up_tokenization_spaces=False,
    )


def encode_text(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """The ids of a text of any length, (characters) -> (tokens); tags in it are plain characters.

    In pieces, since one call's cost grows faster than its text; with one token a character the cuts change nothing.
    """
    pieces = [text[start : start + 2000] for start in range(0, len(text), 2000)]
    if not pieces:
        return []
    encoded = tokenizer(pieces, add_special_tokens=False, split_special_tokens=True, verbose=False)
    return [id for ids in encoded["input_ids"] for id in ids]


def byte_token_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """The ids of the 256 byte tokens, parts of characters, which verse has no use for; none in a tokenizer that has no such."""
    ids = tokenizer.get_vocab()
    return [ids[name] for name in (f"<0x{byte:02X}>" for byte in range(256)) if name in ids]


def ask(title: str, instruction: str | None = None) -> list[Message]:
    """The messages that ask for a poem; another instruction than the tokenizer's own is a system message."""
    system = [] if instruction is None else [{"role": "system", "content": instruction}]
    return [*system, {"role": "user", "content": title}]
