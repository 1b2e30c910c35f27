"""The rows of chapter 8 are the rows that SFTTrainer trains on."""

import importlib.util

from datasets import Dataset
from helpers import ROOT
from transformers import GPT2Config, GPT2LMHeadModel
from trl import SFTConfig, SFTTrainer

from poet_tokenizer import ask, build_tokenizer


def test_a_row_by_hand_equals_a_row_of_trl(tmp_path):
    spec = importlib.util.spec_from_file_location("solution", ROOT / "book/solutions/ch08.py")
    solution = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(solution)
    poems = {"秋夜": "秋風滿夜月。", "山居": "山中一夜雨，落日不堪別。"}
    tokenizer = build_tokenizer("".join([*poems, *poems.values()]), 64)
    rows = [
        {"prompt": ask(title), "completion": [{"role": "assistant", "content": poem}]}
        for title, poem in poems.items()
    ]
    sizes = {"vocab_size": len(tokenizer), "n_positions": 64, "n_embd": 8, "n_layer": 1}
    model = GPT2LMHeadModel(GPT2Config(**sizes, n_head=1, bos_token_id=1, eos_token_id=1))
    args = SFTConfig(tmp_path, max_length=64, use_cpu=True, bf16=False, report_to="none")
    data = Dataset.from_list(rows)
    trainer = SFTTrainer(model, args, train_dataset=data, processing_class=tokenizer)
    made = trainer.data_collator(list(trainer.train_dataset))
    length = made["input_ids"].shape[1]
    for place, (title, poem) in enumerate(poems.items()):
        prompt = tokenizer.apply_chat_template(ask(title), add_generation_prompt=True)["input_ids"]
        ids = tokenizer(poem)["input_ids"]
        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        expected = solution.make_row(prompt, ids, end, pad, length)
        assert (made["input_ids"][place].tolist(), made["labels"][place].tolist()) == expected
