"""Scores: equal to those from which `generate` samples."""

import torch
from helpers import make_checkpoint

from poet.alignment.scores import sampling_scores
from poet.generation.load import load


def test_scores_are_those_of_generate(tmp_path):
    model, tokenizer = load(make_checkpoint(tmp_path, temperature=0.7))
    ids = tokenizer("春夜", return_tensors="pt")["input_ids"]
    limit = ids.shape[1] + 1
    generated = model.generate(
        ids, max_length=limit, output_scores=True, return_dict_in_generate=True
    )
    with torch.no_grad():
        logits = model(ids).logits[:, -1]
    scores = sampling_scores(logits, model.generation_config)
    torch.testing.assert_close(scores, generated.scores[0])
    suppressed = model.generation_config.suppress_tokens
    assert suppressed and scores[0, suppressed].isneginf().all()
