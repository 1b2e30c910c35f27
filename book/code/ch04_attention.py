"""Shows what the attention heads of the trained model look at, and measures it on held-out poems.

python book/code/ch04_attention.py
"""

import math
import re

import lesson
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from poet import errors
from poet.data.rows import content
from poet.data.run_data import load_stage
from poet_tokenizer import ask

COUPLETS = [  # the model wrote these for the titles before them
    (
        "冬夜",
        "昨夜明月靜，燈明夜月秋。",
        "Last night, the bright moon, quiet; / lamp bright, night, moon, autumn.",
    ),
    (
        "山中",
        "江連江水寺，行暮雨底風。",
        "River joins river water, temple; / walking at dusk, under the rain, wind.",
    ),
    (
        "春夜",
        "酒醒花葉後，離離人間柳。",
        "Sober after flowers and leaves; / thick, thick, willows of the human world.",
    ),
    (
        "秋江",
        "西風猶在海雲鳥，青山水更多餘餘。",
        "West wind still in sea, clouds, birds; / green hills, water, even more left, left.",
    ),
]


def one_head(x: Tensor, attention: nn.Module, head: int) -> tuple[Tensor, Tensor]:
    """Returns the weights (tokens, tokens) and the result (tokens, size) of one head.

    Args:
        x: The vectors of the tokens, of shape (tokens, width).
        attention: The attention layer of a GPT-2, which holds the trained matrices.
    """
    size = attention.head_dim  # width / number of heads
    mine = slice(head * size, (head + 1) * size)
    query, key, value = (part[:, mine] for part in attention.c_attn(x).chunk(3, dim=1))
    scores = query @ key.T / math.sqrt(size)  # (tokens, tokens)
    future = torch.ones_like(scores).triu(1).bool()
    weights = scores.masked_fill(future, -math.inf).softmax(dim=1)
    return weights, weights @ value


def check_heads(model: nn.Module, ids: Tensor) -> int:
    """Compares `one_head` with every head of the model. Returns how many heads there are."""
    seen = model(ids[None], output_attentions=True, output_hidden_states=True)
    hidden = torch.full((len(ids), len(ids)), -math.inf).triu(1)  # what comes later
    for layer, block in enumerate(model.transformer.h):
        weights = seen.attentions[layer]  # (1, heads, tokens, tokens)
        x = block.ln_1(seen.hidden_states[layer][0])  # (tokens, width): what this layer reads
        results = []
        for head in range(model.config.n_head):
            mine, result = one_head(x, block.attn, head)
            assert mine.shape == (len(ids), len(ids))
            assert torch.allclose(mine, weights[0, head], atol=1e-5)
            results.append(result)
        whole = block.attn.c_proj(torch.cat(results, dim=1))  # (tokens, width)
        assert torch.allclose(whole, block.attn(x[None], attention_mask=hidden)[0][0], atol=1e-4)
    return model.config.n_layer * model.config.n_head


def change_last(model: nn.Module, ids: Tensor, place: int) -> tuple[float, float]:
    """Changes one token. Returns how far the scores before it move, and those from it on."""
    changed = ids.clone()
    changed[place] = ids[place - 1]
    assert changed[place] != ids[place]
    move = (model(ids[None]).logits - model(changed[None]).logits)[0].abs()  # (tokens, vocabulary)
    return move[:place].max().item(), move[place:].max().item()


def encode(tokenizer, title: str, poem: str) -> Tensor:
    """Returns the ids of a prompt and its poem, of shape (tokens,)."""
    chat = [*ask(title), {"role": "assistant", "content": poem}]
    return torch.tensor(tokenizer.apply_chat_template(chat)["input_ids"])


def find_couplets(tokenizer, rows, length: int) -> list[tuple[Tensor, int]]:
    """Returns the ids of each poem in lines of `length`, and where a couplet begins in it."""
    found = []
    for row in rows:
        poem = content(row["completion"])
        if all(re.fullmatch(f"\\w{{{length}}}，\\w{{{length}}}。", c) for c in poem.split("\n")):
            ids = encode(tokenizer, content(row["prompt"]), poem)
            start = ids.tolist().index(tokenizer.convert_tokens_to_ids("<RES>")) + 1
            found += [(ids, start + i * (2 * length + 3)) for i in range(poem.count("\n") + 1)]
    return found


def looks(model: nn.Module, couplets: list[tuple[Tensor, int]], length: int) -> dict[str, Tensor]:
    """Returns the weight that line 2 gives to several places, each (couplets, layers, heads).

    `comma` is the mark after line 1. `line 1` is the sum over the characters of line 1. `twin` is
    the character at the same place of line 1, and `next` is the twin of the character that is
    guessed. Both are shares of the weight on line 1. By chance, each would be 1 / length.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name in ("comma", "line 1", "twin", "next")}
    for ids, start in couplets:
        maps = torch.cat(model(ids[None], output_attentions=True).attentions)  # (L, heads, T, T)
        first, comma = slice(start, start + length), start + length
        line = maps[:, :, comma + 1 : comma + 1 + length]  # (L, heads, length, T): line 2 looks
        before = maps[:, :, comma : comma + length, first]  # from the comma on: it guesses line 2
        rows["comma"].append(line[..., comma].mean(-1))
        rows["line 1"].append(line[..., first].sum(-1).mean(-1))
        for name, part in (("twin", line[..., first]), ("next", before)):
            share = part.diagonal(dim1=-2, dim2=-1) / part.sum(-1)  # (L, heads, length)
            rows[name].append(share.mean(-1))
    return {name: torch.stack(row) for name, row in rows.items()}


def strongest(looked: Tensor) -> tuple[int, int, Tensor]:
    """Returns layer, head and values of the head with the largest mean weight.

    One half of the couplets chooses the head, and the other half gives the values: a head chosen by
    luck would not keep its lead.
    """
    half = len(looked) // 2
    layer, head = divmod(looked[:half].mean(0).argmax().item(), looked.shape[2])
    return layer, head, looked[half:, layer, head]


def second_line_loss(model: nn.Module, couplets: list, length: int, first: str) -> Tensor:
    """Returns the loss of each second line in nats per character: shape (couplets,).

    Args:
        first: `own` keeps line 1. `shuffled` mixes its characters. `other` takes line 1 of another
            poem.
    """
    losses = []
    for number, (ids, start) in enumerate(couplets):
        ids, line = ids.clone(), slice(start, start + length)
        if first == "shuffled":
            ids[line] = ids[line][torch.randperm(length)]
        if first == "other":
            other, place = couplets[number - len(couplets) // 2]
            ids[line] = other[place : place + length]
        logits = model(ids[None]).logits[0, :-1]  # (tokens - 1, vocabulary)
        second = slice(start + length, start + 2 * length)  # these places guess line 2
        losses.append(F.cross_entropy(logits[second], ids[1:][second]))
    return torch.stack(losses)


def write_figure(model: nn.Module, tokenizer) -> None:
    """Writes the weights of all heads for a few couplets, for the figure of this chapter."""
    data = []
    for title, couplet, gloss in COUPLETS:
        ids = encode(tokenizer, title, couplet)
        start = len(ids) - len(couplet) - 1
        maps = torch.cat(model(ids[None], output_attentions=True).attentions)
        prompt = maps[..., :start].sum(-1, keepdim=True)  # the whole prompt is one cell
        cells = torch.cat([prompt, maps[..., start:-1]], dim=-1)[:, :, start:-1]
        percents = (100 * cells).round().int().tolist()
        rows = [[[row[: i + 2] for i, row in enumerate(h)] for h in layer] for layer in percents]
        data.append({"title": title, "couplet": couplet, "gloss": gloss, "percent": rows})
    lesson.write_data(__file__, ATTENTION=data)


@torch.no_grad()
def main() -> None:
    chosen = lesson.options(__doc__, figure=0)
    torch.manual_seed(chosen.seed)
    logging.disable_progress_bar()
    folder = chosen.run / "sft"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    untrained = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager").eval()
    title, couplet, _ = COUPLETS[0]
    ids = encode(tokenizer, title, couplet)

    lesson.part("head")
    print(f"one_head gives the weights of the model in all {check_heads(model, ids)} heads.")
    lesson.part("future")
    last = len(ids) - 3  # the last character before the full stop and the end mark
    earlier, later = change_last(model, ids, last)
    assert earlier < 1e-5 < later
    print(f"Change token {last}: earlier scores move by {earlier:.5f}, later ones by {later:.2f}.")

    numbers: dict[str, float] = {}
    test = load_stage(chosen.run, "sft")["test"]
    for length in (5, 7):
        couplets = find_couplets(tokenizer, test, length)
        trained, random = looks(model, couplets, length), looks(untrained, couplets, length)
        lesson.part(f"looks {length}")
        print(f"{len(couplets)} couplets. Percent of the weight, and the spread over couplets")
        print("                  chance   random weights   all heads   strongest head")
        places = [start + length + 1 + i for ids, start in couplets for i in range(length)]
        one = sum(1 / (place + 1) for place in places) / len(places)  # of all earlier tokens
        chance = {"comma": one, "line 1": length * one, "twin": 1 / length, "next": 1 / length}
        for name, looked in trained.items():
            layer, head, values = strongest(looked)
            by_chance, by_random = chance[name], strongest(random[name])[2].mean()
            print(
                f"{name:16} {100 * by_chance:7.1f} {100 * by_random:13.1f} "
                f"{100 * looked.mean():13.1f} {100 * values.mean():9.1f} ± {100 * values.std():.1f}"
                f"  (layer {layer + 1}, head {head + 1})"
            )
            key = f"{name.replace(' ', '_')}_{length}"
            seen = {"": values.mean(), "_sd": values.std(), "_all": looked.mean()}
            seen |= {"_chance": by_chance, "_random": by_random}
            numbers |= {f"{key}{end}": 100 * share for end, share in seen.items()}
        lesson.part(f"first line {length}")
        print("line 1 is            loss of line 2    more than for own ± standard error")
        own = second_line_loss(model, couplets, length, "own")
        for first in ("own", "shuffled", "other"):
            loss = second_line_loss(model, couplets, length, first)
            more, error = (loss - own).mean(), (loss - own).std() / math.sqrt(len(couplets))
            print(f"{first:12} {loss.mean():22.3f} {more:20.3f} ± {error:.3f}")
            numbers |= {f"{first}_{length}": loss.mean(), f"{first}_{length}_more": more}
        numbers[f"couplets_{length}"] = len(couplets)
    if chosen.figure:
        write_figure(model, tokenizer)
    lesson.keep(earlier=earlier, later=later, **numbers)
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
