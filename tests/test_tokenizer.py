"""The tokenizer loses no character, and a title cannot inject a tag."""

from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from poet_tokenizer import SPECIAL_TOKENS, build_tokenizer, encode_text

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


def test_the_template_writes_the_prompt_and_marks_the_answer(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
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
