"""The model in JavaScript gives the logits and the attention weights of PyTorch."""

import json
import shutil
import subprocess

import pytest
import torch
from helpers import ROOT
from transformers import AutoTokenizer, GPT2LMHeadModel

from book.code.export_weights import export
from poet_tokenizer import ask, encode_text

TOLERANCE = 1e-4  # in logits
TEXTS = ["春夜", "白雨，山中。\n雨", "喜", "é春𠮷<RES>", "夜雨山中，春山。" * 7]
RUN = """
const [gpt, weights, asked] = process.argv.slice(1);
const GPT = require(gpt);
const model = GPT.load(require(weights));
const result = JSON.parse(asked).map((text) => {
  const ids = GPT.encode(model, text);
  const { logits, attention } = GPT.forward(model, ids);
  return { ids, text: GPT.decode(model, ids), logits: logits.map((row) => [...row]), attention };
});
const dice = { suppressed: [3] };
const draws = [1, 1, 2].map((seed) => {
  const next = GPT.random(seed);
  return Array.from({ length: 4000 }, () => GPT.sample(dice, [0, 1, 2, 9], next, 2));
});
console.log(JSON.stringify({ result, draws, prompt: GPT.prompt(model, "春夜", "雨") }));
"""


@pytest.fixture(scope="module")
def weights(checkpoint, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "weights.js"
    assert export(checkpoint, file) == file.stat().st_size
    return file


@pytest.fixture(scope="module")
def answer(weights):
    if shutil.which("node") is None:
        pytest.skip("node is not installed: it runs the JavaScript of the figures")
    gpt = ROOT / "book" / "figures" / "gpt.js"
    done = subprocess.run(
        ["node", "-e", RUN, str(gpt), str(weights), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@torch.no_grad()
def test_logits_and_attention_equal_those_of_pytorch(answer, checkpoint):
    model = GPT2LMHeadModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    for weight in model.parameters():
        weight.copy_(weight.half())  # as the file has them
    for text, found in zip(TEXTS, answer["result"], strict=True):
        expected = model(torch.tensor([found["ids"]]), output_attentions=True)
        logits = torch.tensor(found["logits"])
        assert logits.std() > 0.5, text
        torch.testing.assert_close(logits, expected.logits[0], rtol=0, atol=TOLERANCE)
        for layer, heads in enumerate(found["attention"]):
            for head, rows in enumerate(heads):
                for position, row in enumerate(rows):
                    weights = expected.attentions[layer][0, head, position, : position + 1]
                    found_row = torch.tensor(row, dtype=torch.float32)
                    torch.testing.assert_close(found_row, weights, rtol=0, atol=1e-5)


def test_texts_become_the_ids_of_the_tokenizer(answer, checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    for text, found in zip(TEXTS, answer["result"], strict=True):
        assert found["ids"] == encode_text(tokenizer, text)
        assert found["text"] == text
    asked = tokenizer.apply_chat_template(ask("春夜"), add_generation_prompt=True)["input_ids"]
    assert answer["prompt"] == asked + encode_text(tokenizer, "雨")


def test_draws_are_as_frequent_as_the_temperature_says(answer):
    first, again, other = answer["draws"]
    assert first == again != other  # two draws have one seed
    frequencies = torch.bincount(torch.tensor(first), minlength=4) / len(first)
    expected = torch.tensor([0.0, 1.0, 2.0, -torch.inf]).div(2).softmax(0)  # token 3 is suppressed
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.03)
    assert frequencies[3] == 0
