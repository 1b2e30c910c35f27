"""Writes poems with the models of `make run`, and shows how each character is drawn.

python book/code/ch00_one_poem.py
"""

from collections.abc import Iterator
from pathlib import Path

import lesson
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    pipeline,
    set_seed,
)
from transformers.utils import logging

from poet import errors
from poet.data.run_data import load_summary, training_poems
from poet.text import line_length, poem_lines

TITLE = "春夜喜雨"  # joyful rain on a spring night
MOMENTS = {  # the last training, and the folder of its model in a run
    "random weights": None,
    "pretraining": "pretrain",
    "fine-tuning": "sft",
    "alignment": "dpo",
}


def load(run: Path, stage: str | None, top_k: int = 0) -> PreTrainedModel:
    """Returns the model after a stage. Without a stage, its weights are random."""
    folder = run / (stage or "pretrain")
    if stage:
        model = AutoModelForCausalLM.from_pretrained(folder)
    else:
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
        model.generation_config = GenerationConfig.from_pretrained(folder)
    model.generation_config.top_k = top_k
    return model.eval()


def start(tokenizer: PreTrainedTokenizerBase, stage: str | None, title: str) -> Tensor:
    """Returns the ids before the poem, of shape (1, tokens).

    Before fine-tuning, a model can only continue a text. It gets the title and a line break.
    """
    if stage in (None, "pretrain"):
        return tokenizer(f"{title}\n", return_tensors="pt")["input_ids"]
    request = [{"role": "user", "content": title}]
    return tokenizer.apply_chat_template(request, return_tensors="pt")["input_ids"]


@torch.no_grad()
def draw(model: PreTrainedModel, ids: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields one id after the other, with the probabilities that it was drawn from.

    Args:
        ids: The tokens before the poem, of shape (1, tokens).
    """
    settings = model.generation_config
    while ids.shape[1] < settings.max_length:
        scores = model(ids).logits[0, -1]  # (vocabulary,): one score per token
        scores[settings.suppress_tokens] = -torch.inf  # tags and bytes are no part of a poem
        if settings.top_k:
            scores[scores < scores.topk(settings.top_k).values[-1]] = -torch.inf
        probabilities = (scores / settings.temperature).softmax(0)  # (vocabulary,): sum 1
        id = torch.multinomial(probabilities, 1)  # (1,): the draw
        yield id.item(), probabilities
        if id == settings.eos_token_id:
            return
        ids = torch.cat([ids, id[None]], dim=1)  # (1, tokens + 1)


def likeliest(tokenizer: PreTrainedTokenizerBase, p: Tensor, count: int) -> dict[str, float]:
    """Returns the likeliest tokens with their probabilities."""
    top = p.topk(count)
    names = [tokenizer.decode(id).replace("\n", "⏎") for id in top.indices]
    return dict(zip(names, top.values.tolist(), strict=True))


def first_poem(text: str) -> str:
    """Returns a text up to its first blank line, after which a new poem begins."""
    return text.partition("\n\n")[0]


def first_row(text: str) -> str:
    return text.partition("\n")[0]


def write(model: PreTrainedModel, tokenizer, ids: Tensor, count: int) -> list[str]:
    """Returns `count` poems at once."""
    written = model.generate(ids, num_return_sequences=count)
    texts = tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
    return [first_poem(text) for text in texts]


def write_figure(tokenizer: PreTrainedTokenizerBase, run: Path, seed: int) -> None:
    """Writes the poems of four moments of training, with the candidates that lost, as a figure."""
    poems = {}
    for moment, stage in MOMENTS.items():
        set_seed(seed)
        draws = []
        for id, p in draw(load(run, stage), start(tokenizer, stage, TITLE)):
            rivals = [[token, round(q, 4)] for token, q in likeliest(tokenizer, p, 5).items()]
            draws.append([tokenizer.decode(id), round(p[id].item(), 5), rivals])
            if len(draws) == 48 and stage is None:
                break
        poems[moment] = draws[: len(first_poem("".join(token for token, _, _ in draws)))]
    lesson.write_data(__file__, POEMS=poems)


def main() -> None:
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # `generate` warns of padding that is not there
    chosen = lesson.options(__doc__, poems=100, top_k=0, figure=0)

    lesson.part("poem")
    poet = pipeline("text-generation", model=str(chosen.run / "dpo"))
    poet.model.generation_config.top_k = chosen.top_k
    tokenizer = poet.tokenizer
    set_seed(chosen.seed)
    poem = poet([{"role": "user", "content": TITLE}])[0]["generated_text"][-1]["content"]
    print(poem)

    lesson.part("draws")
    set_seed(chosen.seed)  # so that the same poem is drawn again
    drawn = list(draw(poet.model, start(tokenizer, "dpo", TITLE)))
    assert tokenizer.decode([id for id, _ in drawn], skip_special_tokens=True) == poem
    for id, p in drawn[:6]:
        best = "  ".join(f"{token} {q:.2f}" for token, q in likeliest(tokenizer, p, 4).items())
        print(f"{tokenizer.decode(id)} {p[id]:.3f}   likeliest: {best}")

    lesson.part("moments")
    poems = {}
    for moment, stage in MOMENTS.items():
        model, ids = load(chosen.run, stage, chosen.top_k), start(tokenizer, stage, TITLE)
        set_seed(chosen.seed)
        text = tokenizer.decode([id for id, _ in draw(model, ids)], skip_special_tokens=True)
        print(f"{moment:15} {first_row(text)[:24]}")
        poems[moment] = write(model, tokenizer, ids, chosen.poems)

    lesson.part("forms")
    lengths = {moment: [line_length(poem) for poem in poems[moment]] for moment in MOMENTS}
    print(f"Of {chosen.poems} poems, all lines have")
    print("five characters  seven  anything else")
    for moment, found in lengths.items():
        five, seven = found.count(5), found.count(7)
        print(f"{five:15} {seven:6} {len(found) - five - seven:14}  {moment}")

    lines = [line for poem in poems["alignment"] for line in poem_lines(poem)]
    training = {line for poem in training_poems(chosen.run) for line in poem_lines(poem.text)}
    lesson.keep(
        vocabulary=len(tokenizer),
        corpus=load_summary(chosen.run)["kept"],
        five_before=lengths["fine-tuning"].count(5),
        five=lengths["alignment"].count(5),
        seven_before=lengths["fine-tuning"].count(7),
        seven=lengths["alignment"].count(7),
        lines=len(lines),
        copied=sum(line in training for line in lines),
    )
    lesson.end(chosen)
    if chosen.figure:
        write_figure(tokenizer, chosen.run, chosen.seed)


if __name__ == "__main__":
    errors.run(main)
