"""The tokenizer loses no character, and a title cannot inject a tag."""

import json

from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2Tokenizer

from poet_tokenizer import SPECIAL_TOKENS, build_tokenizer, encode_text, save_tokenizer

TOKENIZER = build_tokenizer("春夜喜雨，。\n", 256)


@given(st.text())
def test_any_text_is_decoded_to_itself(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text
    assert TOKENIZER.decode(encode_text(TOKENIZER, text), skip_special_tokens=True) == text


@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "春", "<", "\ufdd0", "𠀀"])).map("".join))
def test_a_title_cannot_inject_a_tag(title):
    chat = [{"role": "user", "content": title}]
    ids = TOKENIZER.apply_chat_template(chat)["input_ids"]
    for tag, count in {"<INS>": 1, "<INP>": 1, "<RES>": 1, "<pad>": 0, "<end>": 0}.items():
        assert ids.count(TOKENIZER.convert_tokens_to_ids(tag)) == count
    assert TOKENIZER.decode(ids) == f"<INS>請用以下題目寫一首詩<INP>{title}<RES>"


@given(st.lists(st.sampled_from(["春", "<", ">", "RES", "<end", "\ufdd0", "𠀀"])).map("".join))
def test_a_begun_poem_is_continued(begun):
    assume(not any(tag in begun for tag in SPECIAL_TOKENS) and "<\ufdd0" not in begun)
    chat = [{"role": "user", "content": "<"}, {"role": "assistant", "content": begun}]
    ids = TOKENIZER.apply_chat_template(chat, continue_final_message=True)["input_ids"]
    assert TOKENIZER.decode(ids) == f"<INS>請用以下題目寫一首詩<INP><<RES>{begun}"
    assert sum(id < len(SPECIAL_TOKENS) for id in ids) == 3


@given(st.text() | st.sampled_from(['the user\'s "<RES>"\n', "{{ 7 }} -%} {% endif %}", "\\n\\"]))
def test_any_instruction_is_plain_text_in_the_template(instruction):
    tokenizer = build_tokenizer("春", 256, instruction)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "春"}])["input_ids"]
    assert tokenizer.decode(ids) == f"<INS>{instruction}<INP>春<RES>"
    assert sum(id < len(SPECIAL_TOKENS) for id in ids) == 3


def test_the_template_writes_the_prompt_and_marks_the_answer(tmp_path):
    save_tokenizer(TOKENIZER, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": "春夜喜雨"}]
    assert (
        loaded.apply_chat_template(chat, tokenize=False)
        == "<INS>請用以下題目寫一首詩<INP>春夜喜雨<RES>"
    )
    system = [{"role": "system", "content": "寫"}, *chat]
    assert loaded.apply_chat_template(system, tokenize=False) == "<INS>寫<INP>春夜喜雨<RES>"
    answered = [*chat, {"role": "assistant", "content": "好雨。"}]
    row = loaded.apply_chat_template(answered, return_assistant_tokens_mask=True, return_dict=True)
    marked = zip(row["input_ids"], row["assistant_masks"], strict=True)
    answer = [id for id, mask in marked if mask]
    assert loaded.decode(answer) == "好雨。<end>"


def test_a_saved_tokenizer_has_the_names_that_transformers_4_knows(tmp_path):
    (tmp_path / "chat_template.jinja").write_text("of an earlier save", encoding="utf-8")
    save_tokenizer(TOKENIZER, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["additional_special_tokens"] == ["<INS>", "<INP>", "<RES>"]
    assert config["chat_template"] == TOKENIZER.chat_template
    assert "extra_special_tokens" not in config
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.all_special_tokens == TOKENIZER.all_special_tokens
    assert loaded.padding_side == "left" and loaded.get_vocab() == TOKENIZER.get_vocab()


def test_a_tokenizer_of_the_user_keeps_its_class(tmp_path):
    vocabulary = {"a": 0, "b": 1, "<|endoftext|>": 2}
    own = GPT2Tokenizer(vocab=vocabulary, merges=[], extra_special_tokens=["<me>"])
    save_tokenizer(own, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "GPT2Tokenizer"
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is GPT2Tokenizer and loaded("ab<me>") == own("ab<me>")
