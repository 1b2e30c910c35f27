"""Adds to Trainer what every stage needs: true losses, whole checkpoints, a stop at NaN, Muon.

`PoetTrainerMixin` goes in front of Trainer, SFTTrainer, DPOTrainer or GRPOTrainer:
`class Pretrainer(PoetTrainerMixin, Trainer)`. It does not know where models and data come from.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.data_loader import BatchSamplerShard
from transformers.trainer_pt_utils import LengthGroupedSampler

from poet import device
from poet.errors import UserError, first_line
from poet.training import card
from poet.training.callbacks import CheckBestMetric, SetEpoch
from poet.training.refusals import build_optimizer, refusing
from poet.training.saving import WholeCheckpoints, changed

if TYPE_CHECKING:
    from poet.training.stage import Stage

UNKNOWN_STEPS = 1_000_000
"""`max_steps` of a run with --minutes, until its first steps have been timed."""


class NonFiniteLoss(RuntimeError):
    """A loss or a gradient is NaN or infinite, so further training would only spoil the weights."""

    def __str__(self) -> str:
        return f"{super().__str__()}. Lower the learning rates, and pass another --output_dir."


class PoetTrainerMixin(WholeCheckpoints):
    """Goes in front of a trainer class of transformers or TRL.

    - Builds its optimizer at once: what a library refuses is refused before the folder is claimed.
    - Saves whole checkpoints (saving.py).
    - Weights evaluation losses by tokens instead of by batches (transformers#39241).
    - Evaluates the likelihood of held-out text, also where training has another loss.
    - Stops at the first loss or gradient that is not finite.
    - Logs the seconds of training, including those before an interruption.
    - Groups rows by length in an order that a resumed run repeats.
    - Trains the hidden matrices with Muon where `muon_learning_rate` is set.

    Args:
        stage: the stage that this trainer trains. It must have begun (`Stage.begin`).
    """

    def __init__(self, *args, stage: "Stage", **kwargs):
        self.stage = stage
        self._started_at = 0.0
        self._seconds_before: float | None = None
        # The sum of gradient norms not checked yet. It is not finite if one of them is not.
        self._norms: float | torch.Tensor = 0.0
        self.tokens_trained = 0  # in this process, prompts and padding included
        with refusing(stage):
            super().__init__(*args, **kwargs)
            self.add_callback(SetEpoch)
            self.add_callback(CheckBestMetric)
            build_optimizer(self)

    def train(self, *args, **kwargs):
        self._started_at, self._seconds_before = time.perf_counter(), None
        return super().train(*args, **kwargs)

    def log(self, logs, *args, **kwargs):
        if self.is_in_train:
            self._check_norms(self.state.global_step)
            logs["seconds"] = round(self.seconds_so_far(), 2)
        super().log(logs, *args, **kwargs)

    def seconds_so_far(self) -> float:
        """Returns the seconds of training, including those before an interruption."""
        if self._seconds_before is None:  # Trainer reads the log of a resumed run inside `train`
            self._seconds_before = card.seconds_trained(self.state.log_history)
        return self._seconds_before + time.perf_counter() - self._started_at

    # ---------------------------------------------------- finite losses

    def _save_checkpoint(self, model, trial):
        self._check_norms(self.state.global_step)
        super()._save_checkpoint(model, trial)

    def training_step(self, model, inputs, *args, **kwargs):
        loss = super().training_step(model, inputs, *args, **kwargs)
        if "input_ids" in inputs:
            self.tokens_trained += inputs["input_ids"].numel()
        # On a GPU, reading each loss would make each step wait, so `_check_norms` reads gradient
        # norms at logs and saves. In float16 each loss is read there too, instead of the norms:
        # gradients overflow now and then, and Trainer lowers their scale.
        if (loss.device.type == "cpu" or self.args.fp16) and not torch.isfinite(loss):
            raise NonFiniteLoss(f"the loss at step {self.state.global_step + 1} is {loss.item()}")
        return loss

    def _get_grad_norm(self, model, grad_norm=None):
        """Returns the norm, and adds it up for `_check_norms`. Runs also without clipping."""
        norm = super()._get_grad_norm(model, grad_norm)
        if norm is not None and not self.args.fp16:
            self._norms = self._norms + norm
            if self.args.device.type == "cpu":
                self._check_norms(self.state.global_step + 1)
        return norm

    def _check_norms(self, step: int) -> None:
        """Raises NonFiniteLoss if a gradient norm is NaN or infinite.

        On a GPU it runs only at logs and saves, because each check waits for the GPU.
        """
        total, self._norms = float(self._norms), 0.0
        if not math.isfinite(total):
            place = "at" if self.args.device.type == "cpu" else "up to"
            raise NonFiniteLoss(f"the gradient norm {place} step {step} is {total}")

    # ---------------------------------------------------- optimizer, order of rows

    def create_optimizer(self, model=None):
        options = self.stage.options
        if self.optimizer is None and options.muon_learning_rate is not None:
            from poet.training.optimizer import MuonAdamW

            self.optimizer = MuonAdamW(
                self.model,
                lr=self.args.learning_rate,
                muon_lr=options.muon_learning_rate,
                betas=(self.args.adam_beta1, self.args.adam_beta2),
                eps=self.args.adam_epsilon,
                weight_decay=self.args.weight_decay,
                embedding_weight_decay=options.embedding_weight_decay,
                bf16=self.args.bf16,
            )
        return super().create_optimizer(model)

    def get_train_dataloader(self):
        loader = super().get_train_dataloader()
        if self.args.dataloader_persistent_workers:
            # Workers get a seed when they start, which is once per run. Drawn from the generator
            # of dropout, it would shift the random numbers of a resumed run.
            loader.base_dataloader.generator = torch.Generator()
        return loader

    def _get_train_sampler(self, train_dataset=None):
        rows = train_dataset if train_dataset is not None else self.train_dataset
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        return _RepeatableLengthGroups(self.args.train_batch_size, _lengths(rows), self.args.seed)

    def _get_eval_sampler(self, eval_dataset):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_eval_sampler(eval_dataset)
        return _RepeatableLengthGroups(
            self.args.eval_batch_size, _lengths(eval_dataset), self.args.seed
        )

    # ---------------------------------------------------- true evaluation losses

    def get_eval_dataloader(self, eval_dataset=None):
        """Reads all held-out rows: `dataloader_drop_last` is only meant for training."""
        with changed(self.args, dataloader_drop_last=False):
            loader = super().get_eval_dataloader(eval_dataset)
        batches = loader.batch_sampler
        if self.stage.name == "dpo" and isinstance(batches, BatchSamplerShard):
            # Each process evaluates all pairs: TRL's means would count repeated rows too.
            batches.num_processes, batches.process_index, batches.even_batches = 1, 0, False
        return loader

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        if "labels" not in inputs:  # pairs and rewards have losses of their own
            result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
            if self.stage.name == "dpo":
                pairs = len(inputs["input_ids"]) // 2
                self._eval_sum += float(result[0]) * pairs
                self._eval_count += pairs
            return result
        inputs, has_new_rows = self._without_repeated_rows(inputs)
        tokens = int(inputs["labels"][:, 1:].ne(-100).sum()) * has_new_rows
        with self._plain_likelihood():
            result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if tokens:
            self._eval_sum += float(result[0]) * tokens
            self._eval_count += tokens
        return result

    @contextmanager
    def _plain_likelihood(self) -> Iterator[None]:
        """Turns off the losses that are only meant for training: label smoothing, and TRL's own."""
        has_losses = hasattr(self.args, "loss_type")
        with (
            changed(self.args, loss_type="nll") if has_losses else nullcontext(),
            # With loss kwargs, the loss is divided by the tokens of all processes instead of this
            # process.
            changed(self, label_smoother=None, model_accepts_loss_kwargs=False),
        ):
            yield

    def _without_repeated_rows(self, inputs: dict) -> tuple[dict, bool]:
        """Returns the batch without rows that accelerate repeats, and whether new rows are left.

        accelerate repeats rows at the end, so that all processes have the same number.
        """
        state = self.accelerator.gradient_state
        single = self.accelerator.num_processes == 1
        if single or not state.end_of_dataloader or state.remainder <= 0:
            return inputs, True
        new = state.remainder - len(inputs["labels"]) * self.accelerator.process_index
        kept = max(new, 1)  # all processes must run the forward pass
        return {name: value[:kept] for name, value in inputs.items()}, new > 0

    def evaluation_loop(self, *args, metric_key_prefix: str = "eval", **kwargs):
        self._eval_sum, self._eval_count = 0.0, 0
        # A data loader draws from the generator that dropout uses.
        with device.undisturbed_random_numbers(self.args.device):
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        # Every process takes part, also one that only had repeated rows. The others would wait.
        sums = torch.tensor([self._eval_sum, self._eval_count], device=self.args.device)
        total, count = self.accelerator.reduce(sums, reduction="sum").tolist()
        if count:
            output.metrics[f"{metric_key_prefix}_loss"] = total / count
        return output

    # ---------------------------------------------------- the Hub

    def init_hf_repo(self, *args, **kwargs):
        try:
            super().init_hf_repo(*args, **kwargs)
        except Exception as error:  # network, account, name: each library has its own error
            name = self.args.hub_model_id or "the repository"
            raise UserError(
                f"--push_to_hub: the hub refused {name} or was not reached ({first_line(error)}). "
                "Log in with `hf auth login`, or train without --push_to_hub and push later."
            ) from error

    def create_model_card(self, *args, **kwargs):
        """Writes our card after training. TRL would write its own at every checkpoint."""
        if not self.is_in_train:
            from poet.training.publishing import write_card

            write_card(self.stage, self, Path(self.args.output_dir))


def _lengths(rows: Any) -> list[int]:
    """Returns tokens per row. A pair counts its prompt and the longer of its two poems."""
    if "chosen_ids" not in rows.column_names:
        return list(map(len, rows["input_ids"]))
    sides = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
    return [len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in sides]


class _RepeatableLengthGroups(LengthGroupedSampler):
    """Batches rows of similar length, in an order that depends only on seed and epoch."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.generator = torch.Generator().manual_seed(self.seed + epoch)
