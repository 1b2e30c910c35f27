"""What Trainer costs: pretraining by its own command, and ten steps of a bare loop after every ten of Trainer's.

    python benchmarks/overhead.py --config configs/tang/pretrain.yaml --max_steps 100 --output_dir runs/tang/overhead

The options are those of train_pretrain.py (with `optimizer: muon`, on a CPU), which is run as it is, in this process: what is compared is measured within seconds, because
the machine's own speed moves by more in a minute than Trainer costs. Leaves OUTPUT_DIR/in_turn.json, the median block of either
(`trainer`, `bare`, seconds a step) and the median of their ratios (`ratio`); the first blocks, which compile, are left out.
"""

import json
import runpy
import statistics
import sys
import time
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel, TrainerCallback, TrainingArguments, trainer

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 10  # steps


class BareLoop:
    """The same model, optimizer, precision, compilation and clipping without Trainer, on blocks of the same text."""

    def __init__(self, model: GPT2LMHeadModel, args, optimizer: torch.optim.Optimizer, rows):
        from poet.speed.gelu import patch_gelu
        from poet.speed.scoring import patch_forward_to_return_loss
        from poet.training.optimizer import MuonAdamW

        self.args, self.rows, self.next = args, rows, 0
        self.model = GPT2LMHeadModel(model.config).train()
        self.model.loss_type = model.loss_type
        self.model.set_attn_implementation(model.config._attn_implementation)
        patch_forward_to_return_loss(self.model, in_tiles=not args.bf16)
        muon, adamw = optimizer.param_groups
        self.optimizer = MuonAdamW(
            self.model, adamw["initial_lr"], muon["initial_lr"], muon["momentum"],
            adamw["betas"], muon["weight_decay"], args.bf16,
        )  # fmt: skip
        if args.torch_compile:
            patch_gelu(self.model)
            self.model.compile()

    def step(self) -> None:
        size = self.args.per_device_train_batch_size
        block = torch.stack(
            [self.rows[(self.next + i) % len(self.rows)]["input_ids"] for i in range(size)]
        )
        self.next += size
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.bf16):
            loss = self.model(input_ids=block, labels=block).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss.item()


class InTurn(TrainerCallback):
    """Lets the bare loop have a block of steps behind each of Trainer's, and times both."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.bare: BareLoop | None = None
        self.trainers: list[float] = []
        self.bares: list[float] = []
        self.begun = time.perf_counter()

    def on_step_begin(self, args, state, control, model, optimizer, train_dataloader, **kwargs):
        """Behind the log of the block's last step, and the reading of the next one's rows."""
        if state.global_step % BLOCK or not state.global_step:
            return
        self.trainers.append(self._lap())
        if self.bare is None:
            inner = getattr(optimizer, "optimizer", optimizer)
            self.bare = BareLoop(
                getattr(model, "_orig_mod", model), args, inner, train_dataloader.dataset
            )
        for _ in range(BLOCK):
            self.bare.step()
        self.bares.append(self._lap())

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self.begun = (now - self.begun) / BLOCK, now
        return seconds

    def on_train_end(self, args, state, control, **kwargs):
        trainers, bares = self.trainers[1:], self.bares[1:]
        found = {
            "trainer": statistics.median(trainers),
            "bare": statistics.median(bares),
            "ratio": statistics.median(a / b for a, b in zip(trainers, bares, strict=True)),
        }
        (Path(args.output_dir) / "in_turn.json").write_text(json.dumps(found), encoding="utf-8")


def main() -> None:
    from poet.errors import UserError
    from poet.training.options import PretrainArguments, given, parse

    stage_args, args = parse(PretrainArguments, TrainingArguments)
    if stage_args.optimizer != "muon" or args.device.type != "cpu" or args.max_steps <= 3 * BLOCK:
        raise UserError(
            f"the bare loop is that of a recipe with `optimizer: muon`, without a GPU, for more than {3 * BLOCK} steps"
        )
    if "output_dir" not in given():
        raise UserError(
            "pass --output_dir with a folder beside the run's data: the recipe's own is for what is kept"
        )
    trainer.DEFAULT_CALLBACKS.append(InTurn)
    runpy.run_path(str(ROOT / "train_pretrain.py"))["main"]()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from poet import errors

    errors.run(main)
