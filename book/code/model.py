"""GPT-2 in one file of plain PyTorch: the model, its loss and one training step.

    python book/code/model.py    # reads runs/sample/pretrain; or name another checkpoint

The training scripts build the same model with `GPT2LMHeadModel` from transformers. A test compares
the two: their logits differ by less than 1e-5 (tests/book/test_model.py).

Comments give the shape of each tensor. A batch has B rows of T tokens, and each token has C numbers
(n_embd). There are H heads with D = C / H numbers each. V is the size of the vocabulary.

The design is GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners". It
is the decoder of the Transformer (https://arxiv.org/abs/1706.03762), with each norm moved to the
front of its layer (https://arxiv.org/abs/2002.04745).
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Config:
    """The sizes of a model. The names are those of `GPT2Config`."""

    vocab_size: int
    n_positions: int = 128
    n_embd: int = 128
    n_layer: int = 3
    n_head: int = 4
    layer_norm_epsilon: float = 1e-5


class Attention(nn.Module):
    """Lets each token read from itself and the tokens before it.

    Each token has a query, a key and a value. It reads the values of the tokens whose keys match
    its query. Several heads do so at once (https://arxiv.org/abs/1706.03762, section 3.2).
    """

    def __init__(self, config: Config):
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        H, D = self.n_head, C // self.n_head
        query, key, value = (
            part.view(B, T, H, D).transpose(1, 2)  # (B, H, T, D)
            for part in self.c_attn(x).split(C, dim=2)  # (B, T, C)
        )

        scores = query @ key.transpose(2, 3) / math.sqrt(D)  # (B, H, T, T)
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)  # (T, T)
        scores = scores.masked_fill(future, -math.inf)  # a weight of 0 after the softmax
        weights = scores.softmax(dim=-1)  # (B, H, T, T): row t says where token t looks
        assert weights.shape == (B, H, T, T)

        heads = weights @ value  # (B, H, T, D)
        return self.c_proj(heads.transpose(1, 2).reshape(B, T, C))  # (B, T, C)


class MLP(nn.Module):
    """Computes on each token alone: up to four times the width, GELU, and down again.

    GELU (https://arxiv.org/abs/1606.08415) is a smooth max(x, 0), here approximated by tanh.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))  # (B, T, 4C), then (B, T, C)


class Block(nn.Module):
    """Adds to each token what attention reads, then what the MLP computes.

    The sums are residual connections: they keep deep models trainable
    (https://arxiv.org/abs/1512.03385). Layer norm scales the numbers of a token to mean 0 and
    variance 1 (https://arxiv.org/abs/1607.06450).
    """

    def __init__(self, config: Config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))  # (B, T, C)
        return x + self.mlp(self.ln_2(x))  # (B, T, C)


class GPT(nn.Module):
    """Gives a score to each token of the vocabulary as the next token, at each position.

    The input embeddings are also the output weights (https://arxiv.org/abs/1608.05859).
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # one row per token
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)  # one row per position
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        for name, weight in self.named_parameters():
            if name.endswith("c_proj.weight"):  # these add to the residual stream, 2 per block
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.n_layer))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
            elif "ln_" not in name:
                nn.init.normal_(weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        assert len(positions) <= self.config.n_positions, "the text has more tokens than positions"
        x = self.wte(ids) + self.wpe(positions)  # (B, T, C)
        for block in self.h:
            x = block(x)  # (B, T, C)
        logits = self.ln_f(x) @ self.wte.weight.T  # (B, T, V)
        assert logits.shape == (*ids.shape, self.config.vocab_size)
        return logits


def load(folder: str | Path) -> GPT:
    """Returns the model of a checkpoint that the training scripts saved."""
    settings = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    assert settings["activation_function"] in ("gelu_pytorch_tanh", "gelu_new")
    assert settings.get("tie_word_embeddings", True), "this file has no separate output weights"
    model = GPT(Config(**{name: settings[name] for name in Config.__dataclass_fields__}))
    weights = {}
    for name, weight in load_file(Path(folder, "model.safetensors")).items():
        if name.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight")):
            weight = weight.T  # GPT-2 saves them as (in, out). nn.Linear has (out, in).
        weights[name.removeprefix("transformer.")] = weight.float()
    model.load_state_dict(weights)
    return model.eval()


def loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Returns the mean of -log p(next token), in nats per token. Logits: (B, T, V), ids: (B, T)."""
    predictions = logits[:, :-1].flatten(0, 1)  # (B * (T - 1), V): the last one has no next token
    targets = ids[:, 1:].flatten()  # (B * (T - 1),): nothing predicts the first token
    return F.cross_entropy(predictions, targets)  # ()


def training_step(model: GPT, optimizer: torch.optim.Optimizer, ids: Tensor) -> float:
    """Moves each weight a little down the slope of the loss. Returns the loss before the step."""
    value = loss(model(ids), ids)  # ()
    optimizer.zero_grad()
    value.backward()  # fills `weight.grad`, which has the shape of the weight
    # A gradient that is too long is shortened to length 1 (https://arxiv.org/abs/1211.5063).
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return value.item()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "sample" / "pretrain"
    if not (folder / "tokenizer.json").is_file():
        print(f"there is no checkpoint in {folder}. Type `make run` first.", file=sys.stderr)
        sys.exit(2)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = (ROOT / "poet" / "sample" / "poems.jsonl").read_text(encoding="utf-8").splitlines()
    poems = ["\n".join([row["title"], *row["paragraphs"]]) for row in map(json.loads, rows)]

    model = load(folder)
    ids = torch.tensor([tokenizer.encode(poems[-1]).ids[: model.config.n_positions]])  # (1, T)
    logits = model(ids)  # (1, T, V)
    print(f"{poems[-1]}\nlogits {tuple(logits.shape)}, loss {loss(logits, ids):.3f} nats per token")

    print("\nThe same model with random weights learns:")
    torch.manual_seed(0)
    model = GPT(model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)  # https://arxiv.org/abs/1711.05101
    text = torch.tensor(tokenizer.encode("\n\n".join(poems[:1500])).ids)  # (tokens,)
    blocks = text.unfold(0, model.config.n_positions, model.config.n_positions)  # (blocks, T)
    for step in range(20):
        ids = blocks[16 * step : 16 * step + 16]  # (B, T)
        print(f"step {step + 1:2}  loss {training_step(model, optimizer, ids):.3f}")


if __name__ == "__main__":
    main()
