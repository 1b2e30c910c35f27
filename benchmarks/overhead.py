"""Measures the cost of Trainer: ten steps of Trainer and ten steps of a bare loop take turns.

    python benchmarks/overhead.py --config configs/tang/pretrain.yaml --max_steps 100 \\
        --sampled_vocabulary 0 --output_dir runs/tang/overhead

It runs train_pretrain.py in this process and takes its options. It needs a recipe with
`muon_learning_rate`, and a CPU. The two loops take turns because the speed of the machine changes
by more in a minute than Trainer costs.

It leaves OUTPUT_DIR/in_turn.json. There, `trainer` and `bare` are the median seconds per step.
`ratio` is the median of their ratios. `first_step` is the time from the start of the process to the
first step. The first turn compiles and is left out.
"""

import json
import runpy
import statistics
import sys
import time
from pathlib import Path

import psutil
import torch
from transformers import GPT2LMHeadModel, TrainerCallback, TrainingArguments, trainer

ROOT = Path(__file__).resolve().parent.parent
STEPS_PER_TURN = 10


class BareLoop:
    """Trains a copy of the model on the same blocks without Trainer.

    Optimizer, precision, compilation and gradient clipping are the same.
    """

    def __init__(self, model: GPT2LMHeadModel, args, optimizer: torch.optim.Optimizer, blocks):
        from poet.speed.apply import apply_speedups
        from poet.training.optimizer import MuonAdamW

        self.args, self.blocks, self.next_block = args, blocks, 0
        self.model = GPT2LMHeadModel(model.config).train()
        self.model.loss_type = model.loss_type
        apply_speedups(self.model, args, stage="pretrain")
        muon, adamw = optimizer.param_groups
        self.optimizer = MuonAdamW(
            self.model,
            lr=adamw["initial_lr"],
            muon_lr=muon["initial_lr"],
            betas=adamw["betas"],
            weight_decay=muon["weight_decay"],
            bf16=args.bf16,
        )
        if args.torch_compile:
            self.model.compile()

    def step(self) -> None:
        batch = self.next_batch()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.args.bf16):
            loss = self.model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss.item()

    def next_batch(self) -> torch.Tensor:
        """Returns the ids of the next blocks, (batch, context)."""
        size = self.args.per_device_train_batch_size
        indices = [(self.next_block + i) % len(self.blocks) for i in range(size)]
        self.next_block += size
        return torch.stack([self.blocks[index]["input_ids"] for index in indices])


class TakeTurns(TrainerCallback):
    """Runs a turn of the bare loop after each turn of Trainer, and times both."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.first_step = time.time() - psutil.Process().create_time()
        self.bare: BareLoop | None = None
        self.trainer_seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self.turn_start = time.perf_counter()

    def on_step_begin(self, args, state, control, model, optimizer, train_dataloader, **kwargs):
        """Ends a turn of Trainer. The last step is logged by then, and the next batch is loaded."""
        if state.global_step % STEPS_PER_TURN or not state.global_step:
            return
        self.trainer_seconds.append(self.end_turn())
        if self.bare is None:
            inner = getattr(optimizer, "optimizer", optimizer)
            uncompiled = getattr(model, "_orig_mod", model)
            self.bare = BareLoop(uncompiled, args, inner, train_dataloader.dataset)
        for _ in range(STEPS_PER_TURN):
            self.bare.step()
        self.bare_seconds.append(self.end_turn())

    def end_turn(self) -> float:
        """Returns the seconds per step since the last turn ended."""
        now = time.perf_counter()
        seconds = (now - self.turn_start) / STEPS_PER_TURN
        self.turn_start = now
        return seconds

    def on_train_end(self, args, state, control, **kwargs):
        trainer_seconds, bare_seconds = self.trainer_seconds[1:], self.bare_seconds[1:]
        if not bare_seconds:  # training was stopped early
            return
        ratios = [t / b for t, b in zip(trainer_seconds, bare_seconds, strict=True)]
        figures = {
            "first_step": self.first_step,
            "trainer": statistics.median(trainer_seconds),
            "bare": statistics.median(bare_seconds),
            "ratio": statistics.median(ratios),
        }
        text = json.dumps(figures)
        (Path(args.output_dir) / "in_turn.json").write_text(text, encoding="utf-8")


def patch_default_callbacks(callback: type[TrainerCallback]) -> None:
    """Adds a callback to every Trainer of this process.

    train_pretrain.py builds its own trainer, so the callback cannot be passed as an argument.
    """
    trainer.DEFAULT_CALLBACKS.append(callback)


def main() -> None:
    from poet.errors import UserError
    from poet.training.command_line import given, parse
    from poet.training.options import PretrainOptions

    options, args = parse(PretrainOptions, TrainingArguments)
    least = 3 * STEPS_PER_TURN
    if options.muon_learning_rate is None:
        raise UserError("the bare loop needs muon_learning_rate. Take the recipe `tang`.")
    if args.device.type != "cpu" or args.max_steps <= least:
        raise UserError(
            f"the bare loop needs a CPU and more than {least} steps. Pass --max_steps, and "
            "--use_cpu true on a machine with a GPU."
        )
    if options.sampled_vocabulary:
        raise UserError("the bare loop scores all characters. Pass --sampled_vocabulary 0.")
    if "output_dir" not in given():
        raise UserError(
            "--output_dir is missing. Pass a folder next to the run's data, such as "
            "runs/tang/overhead. The recipe's own folder is for a real checkpoint."
        )
    patch_default_callbacks(TakeTurns)
    runpy.run_path(str(ROOT / "train_pretrain.py"))["main"]()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from poet import errors

    errors.run(main)
