"""Judges poems by the rules of regulated verse, and steers a model with a mask.

python book/code/ch11_steering.py
python book/code/ch11_steering.py --blind              # which poem was written without a mask?
python book/code/ch11_steering.py --blind FOLDER       # which poem was written by a person?
"""

import argparse
import re
import sys
from collections.abc import Callable

import blind
import lesson
import torch
from blind import with_tones
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from transformers.utils import logging

from poet import errors
from poet.data.rows import content
from poet.data.run_data import load_stage
from poet.evaluation.rates import rates_of_form
from poet.generation.load import load
from poet.generation.write import mean_log_probabilities, write_ids
from poet.prosody.judge import judge
from poet.prosody.mask import FormLogitsProcessor
from poet.prosody.request import FormRequest, explain, read_form
from poet_tokenizer import ask

QUATRAIN, LONGER = "五言絕句", "七言絕句"  # four lines of five characters, or of seven
POEM = "旭日高峰對，秋風動故山。\n青衣看竹影，明月就松間。"  # a model wrote it (docs/verse.md)
WORKS = (  # the poems of the figure: titles, their meanings and rhyme groups
    ("冬日對酒", "Over Wine on a Winter Day", "zhi"),
    ("春日村居", "Living in a Village in Spring", "yang"),
    ("秋夜松下", "Under Pines on an Autumn Night", "geng"),
)
# The glosses of the figures: one sense of each frequent character, in English.
GLOSSES = dict(
    re.findall(
        r"(\S) ([a-zA-Z][a-zA-Z -]*)",
        (lesson.ROOT / "book/figures/glosses.js").read_text(encoding="utf-8"),
    )
)


def write_step_by_step(
    model: GPT2LMHeadModel, prompt: list[int], choose: Callable[[Tensor, Tensor], int], end: int
) -> list[int]:
    """Writes one poem. `choose` gets the tokens so far and the probabilities of the next one."""
    ids = torch.tensor([prompt])  # (1, tokens)
    while ids[0, -1] != end:
        with torch.no_grad():
            probabilities = model(ids).logits[:, -1].softmax(-1)  # (1, vocabulary)
        ids = torch.cat([ids, torch.tensor([[choose(ids, probabilities)]])], dim=1)
    return ids[0, len(prompt) :].tolist()


def steer(mask: FormLogitsProcessor, ids: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the probabilities under the mask, (1, vocabulary), and its cost in nats.

    The forbidden tokens get the probability zero. The others are divided by their sum, so that
    they add up to one. The smaller that sum was, the more the mask costs.
    """
    scores = mask(ids, before.log())  # (1, vocabulary): -inf where the form would break
    return scores.softmax(-1), -scores.logsumexp(-1)


def record(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    title: str,
    request: FormRequest,
    shown: int = 6,
) -> dict:
    """Writes one poem under the mask, and returns each step with its candidates."""
    mask, vocabulary, steps = FormLogitsProcessor(tokenizer, request), tokenizer.get_vocab(), []
    prompt = tokenizer.apply_chat_template(ask(title), add_generation_prompt=True)["input_ids"]

    def choose(ids: Tensor, before: Tensor) -> int:
        after, cost = steer(mask, ids, before)
        chosen = int(torch.multinomial(after, 1))
        forbidden = int(before.masked_fill(after > 0, 0).argmax())  # the likeliest of them
        top = [*before[0].topk(shown).indices.tolist(), *after[0].topk(3).indices.tolist()]
        text = tokenizer.decode(ids[0, len(prompt) :])
        candidates = []
        for id in sorted({*top, forbidden, chosen}, key=lambda id: -before[0, id]):
            sign = tokenizer.decode([id])
            allowed = bool(after[0, id] > 0)
            why = "" if allowed else refusal(request, text + sign, vocabulary)
            candidates.append([sign, *(round(p[0, id].item(), 5) for p in (before, after)), why])
        steps.append(
            {
                "chosen": tokenizer.decode([chosen]),
                "allowed": int((after > 0).sum()),
                "cost": round(cost.item(), 4),
                "candidates": candidates,
            }
        )
        return chosen

    ids = write_step_by_step(model, prompt, choose, tokenizer.eos_token_id)
    return {"title": title, "poem": tokenizer.decode(ids, skip_special_tokens=True), "steps": steps}


def refusal(request: FormRequest, text: str, vocabulary: dict) -> str:
    """Returns the rule that the last token of an unfinished poem breaks."""
    if text.endswith("<end>"):
        return "The poem ends only after its last line."
    broken = explain(request, text, vocabulary, finished=False)
    return broken[-1] if broken else "The form has another token here."


def show(token: str) -> str:
    """Returns a token as two columns of the terminal."""
    return {"\n": "⏎ ", "<end>": "■ "}.get(token, token)


def gloss(token: str) -> str:
    """Returns one English sense of a character, or "…" for one that is not in the list."""
    names = {"\n": "new line", "<end>": "the end", "，": "comma", "。": "full stop"}
    return names.get(token) or GLOSSES.get(token, "…")


def read_options() -> tuple[argparse.Namespace, argparse.Namespace]:
    """Returns the options of the blind test, and those that all chapters have."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--blind", nargs="?", const="", metavar="FOLDER")
    test, sys.argv[1:] = parser.parse_known_args()
    return test, lesson.options(__doc__, poems=64, seven=0, figure=0)


def main() -> None:
    test, chosen = read_options()
    logging.disable_progress_bar()
    set_seed(chosen.seed)
    model, tokenizer = load(chosen.run / "dpo")
    rows = load_stage(chosen.run, "sft")["test"]
    titles = list(dict.fromkeys(content(row["prompt"]) for row in rows))
    if test.blind:
        pairs = blind.pairs_with_a_person(model, tokenizer, test.blind, 20, chosen.seed)
        return blind.ask_all(pairs, "Which one did a person write?", tones=False)
    if test.blind is not None:
        pairs = blind.pairs_without_a_person(model, tokenizer, titles, 20, chosen.seed)
        return blind.ask_all(pairs, "Which one breaks a rule?", tones=True)

    lesson.part("judge")
    print(with_tones(POEM))
    print("rules broken:", len(judge(POEM).faults))
    lesson.part("broken")
    changed = POEM.replace("秋風", "石風").replace("松間", "松城")
    print(with_tones(changed))
    for fault in judge(changed).faults:
        print(fault)

    request = read_form(LONGER if chosen.seven else QUATRAIN)
    work = record(model, tokenizer, titles[0], request)
    lesson.part("mask")
    print("   written        allowed   cost   likeliest of the forbidden")
    for step in work["steps"][len(work["steps"]) // 2 :]:
        sign, allowed, cost = step["chosen"], step["allowed"], step["cost"]
        other, share, _, _ = next(c for c in step["candidates"] if c[3])
        print(
            f"{show(sign)} {gloss(sign):12} {allowed:7,} {cost:6.2f}   {show(other)} {share:.3f} "
            f"{gloss(other)}".rstrip()
        )
    lesson.part("poem")
    for line in (work["title"], *work["poem"].split("\n")):
        print(f"{line}  {' · '.join(map(gloss, filter(str.isalpha, line)))}")
    lesson.keep(step_cost=sum(s["cost"] for s in work["steps"]) / len(work["steps"]))

    asked = (titles * 100)[: chosen.poems]
    mask = [FormLogitsProcessor(tokenizer, request)]
    masked = {"seed": chosen.seed, "logits_processor": mask}
    untrained = GPT2LMHeadModel(model.config)  # the same shape, with random weights
    untrained.generation_config = model.generation_config
    ways = {
        "without the mask": write_ids(model, tokenizer, asked, seed=chosen.seed),
        "under the mask": write_ids(model, tokenizer, asked, **masked),
        "untrained, masked": write_ids(untrained, tokenizer, asked, **masked),
    }
    lesson.part("rates")
    print("poems               well formed   rhymed   regulated   loss per token")
    for (name, poems), key in zip(ways.items(), ("free", "masked", "untrained"), strict=True):
        rates = rates_of_form(tokenizer.batch_decode(poems, skip_special_tokens=True))
        means = [
            mean_log_probabilities(model, tokenizer, title, [ids])[0] * len(ids)
            for title, ids in zip(asked, poems, strict=True)
        ]
        loss = -sum(means) / sum(map(len, poems))
        shares = [rates.well_formed.value, rates.rhymed.value, rates.regulated.value]
        print(f"{name:18} {shares[0]:12.2f} {shares[1]:8.2f} {shares[2]:11.2f} {loss:16.2f}")
        lesson.keep(**{f"{key}_regulated": shares[2], f"{key}_loss": loss})
    lesson.part("nonsense")
    print(with_tones(tokenizer.decode(ways["untrained, masked"][0], skip_special_tokens=True)))
    if chosen.figure:
        works = [
            record(model, tokenizer, title, read_form(QUATRAIN, rhyme=rhyme)) | {"meaning": meaning}
            for title, meaning, rhyme in WORKS
        ]
        data = {"vocabulary": len(tokenizer), "works": works}
        lesson.write_data(__file__, STEERING=data)
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
