"""What the trainers have in common and transformers leaves open: whole checkpoints, true losses, a clean end.

Knows Trainer; knows nothing of where models and data come from. `Stage` goes in front of Trainer, SFTTrainer and
DPOTrainer: `class Pretrainer(Stage, Trainer)`.
"""

import hashlib
import math
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from datasets import DatasetDict
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import rotate_checkpoints

from poet.data import run_data
from poet.errors import UserError, first_line
from poet.generation.adapter import complete_adapter, is_adapter
from poet.generation.load import check_template, generation_defaults, load
from poet.speed import hardware
from poet.training import card, checkpoints, plots
from poet.training.callbacks import SetEpoch, StopOnSignal
from poet.training.clock import UNKNOWN, TrainByTheClock
from poet.training.optimizer import MuonAdamW
from poet.training.options import (
    PretrainArguments,
    SamplingArguments,
    ScoringArguments,
    StageArguments,
)
from poet_tokenizer import ask, build_tokenizer

# What may differ between a run and the run that goes on from it: where it reports, what it says, what it pushes.
_FREE_ARGUMENTS = (
    "output_dir logging_dir report_to run_name project trackio_space_id push_to_hub hub_model_id hub_token hub_strategy "
    "hub_private_repo disable_tqdm log_level log_level_replica deepspeed_plugin distributed_state local_rank "
    "save_total_limit resume_from_checkpoint data_dir model_name_or_path"
).split()


class NonFiniteLoss(RuntimeError):
    """A loss or gradient that is no number: training on would only write weights that are none."""


class Stage(Trainer):
    """A mixin in front of Trainer.

    - A checkpoint is written under `unfinished/` and renamed: a killed save is never taken for a whole one.
    - Evaluation losses are weighted by tokens, not by batches (transformers#39241).
    - The first loss or gradient that is not finite ends the run.
    - Each log says how many seconds of training came before it, those before an interruption too.
    - On a CPU, bfloat16 attention in plain products, which torch's own kernel is slower than.
    - `optimizer: muon`, and rows grouped by length in an order that a resumed run repeats.
    """

    stage_args: StageArguments
    _begun = 0.0
    _seconds_before: float | None = None
    _norms: float | torch.Tensor = (
        0.0  # the sum of gradients' norms not looked at yet: no number where one is none
    )

    def train(self, *args, **kwargs):
        for model in filter(None, (self.model, getattr(self, "ref_model", None))):
            choose_attention(model, self.args)
        self._begun, self._seconds_before = time.perf_counter(), None
        self.remove_callback(SetEpoch)
        self.add_callback(SetEpoch)
        return super().train(*args, **kwargs)

    def log(self, logs, *args, **kwargs):
        if self.is_in_train:
            self._check_norms(self.state.global_step)
            logs["seconds"] = round(self.seconds_so_far(), 2)
        super().log(logs, *args, **kwargs)

    def seconds_so_far(self) -> float:
        """Seconds of training, those before an interruption too."""
        if (
            self._seconds_before is None
        ):  # a resumed run's log history is read after `train` has begun
            self._seconds_before = card.seconds_trained(self.state.log_history)
        return self._seconds_before + time.perf_counter() - self._begun

    def is_over(self, state: TrainerState | None) -> bool:
        """Whether a checkpoint's state is that of the last step, and its weights are in one piece to be taken as they are."""
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        return state is not None and 0 < state.max_steps <= state.global_step and not sharded

    def take(self, state: TrainerState, checkpoint: Path) -> None:
        """The weights of a training that was over, or its best ones where these are asked for."""
        best = state.best_model_checkpoint if self.args.load_best_model_at_end else None
        self._load_from_checkpoint(best if best and Path(best).is_dir() else str(checkpoint))
        state.is_local_process_zero, state.is_world_process_zero = (
            self.is_local_process_zero(),
            self.is_world_process_zero(),
        )
        self.state = state

    def _save_checkpoint(self, model, trial):
        self._check_norms(self.state.global_step)
        folder = Path(self.args.output_dir)
        self.args.output_dir = str(folder / checkpoints.UNFINISHED)
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
        finally:
            self.args.output_dir = str(folder)
        name, best = (
            f"checkpoint-{step}" for step in (self.state.global_step, self.state.best_global_step)
        )
        if (
            best == name or (folder / best).is_dir()
        ):  # where it will be, and not where it was written
            self.state.best_model_checkpoint = str(folder / best)
            if self.args.should_save:
                self.state.save_to_json(
                    str(folder / checkpoints.UNFINISHED / name / "trainer_state.json")
                )
        if self.args.should_save:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / checkpoints.UNFINISHED / name).replace(folder / name)
            (folder / checkpoints.UNFINISHED).rmdir()
            rotate_checkpoints(
                output_dir=str(folder),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir=None, _internal_call=False):
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            # A pickle, with paths of this machine in it; the arguments stand in a JSON file.
            (folder / "training_args.bin").unlink(missing_ok=True)
            if is_adapter(folder):
                complete_adapter(folder, self.model)

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        # On a GPU the gradient's norm tells; but float16's gradients overflow now and then, and are scaled anew.
        if (loss.device.type == "cpu" or self.args.fp16) and not torch.isfinite(loss):
            raise NonFiniteLoss(f"the loss at step {self.state.global_step + 1} is {loss.item()}")
        return loss

    def _get_grad_norm(self, model, grad_norm=None):
        """Asked for whether or not gradients are clipped."""
        norm = super()._get_grad_norm(model, grad_norm)
        if norm is not None and not self.args.fp16:
            self._norms = self._norms + norm
            if self.args.device.type == "cpu":
                self._check_norms(self.state.global_step + 1)
        return norm

    def _check_norms(self, step: int) -> None:
        """On a GPU with a log or a checkpoint, since each look waits for all that was begun."""
        total, self._norms = float(self._norms), 0.0
        if not math.isfinite(total):
            at = "at" if self.args.device.type == "cpu" else "up to"
            raise NonFiniteLoss(f"the gradient's norm {at} step {step} is {total}")

    def create_optimizer(self, model=None):
        if self.optimizer is None and self.stage_args.optimizer == "muon":
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                print(
                    "muon needs whole matrices, which a sharded run does not have: AdamW takes its place, for which a recipe's "
                    f"learning_rate, {self.args.learning_rate:g} here, may be too high",
                    flush=True,
                )
            else:
                self.optimizer = MuonAdamW(
                    self.model,
                    lr=self.args.learning_rate,
                    muon_lr=self.stage_args.muon_learning_rate,
                    momentum=self.stage_args.muon_momentum,
                    betas=(self.args.adam_beta1, self.args.adam_beta2),
                    eps=self.args.adam_epsilon,
                    weight_decay=self.args.weight_decay,
                    bf16=self.args.bf16,
                )
        return super().create_optimizer(model)

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

    def get_eval_dataloader(self, eval_dataset=None):
        """All of the evaluation part: `dataloader_drop_last` is meant for training, and would cut this one too."""
        dropping, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = dropping

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        tokens = 0
        if "labels" in inputs:
            inputs, new = self._without_repeats(inputs)
            tokens = int(inputs["labels"][:, 1:].ne(-100).sum()) * new
        # Else the loss is a share of what all processes have read, and not the mean over this one's tokens.
        accepts, self.model_accepts_loss_kwargs = self.model_accepts_loss_kwargs, False
        try:
            result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        finally:
            self.model_accepts_loss_kwargs = accepts
        self._eval_sum += float(result[0]) * tokens
        self._eval_tokens += tokens
        return result

    def _without_repeats(self, inputs: dict) -> tuple[dict, bool]:
        """A batch less the rows that accelerate repeats so that each process has as many, and whether anything new is left."""
        state = self.accelerator.gradient_state
        if (
            self.accelerator.num_processes == 1
            or not state.end_of_dataloader
            or state.remainder <= 0
        ):
            return inputs, True
        own = state.remainder - len(inputs["labels"]) * self.accelerator.process_index
        kept = max(own, 1)  # processes wait for each other's forward pass
        return {name: value[:kept] for name, value in inputs.items()}, own > 0

    def evaluation_loop(self, *args, metric_key_prefix: str = "eval", **kwargs):
        self._eval_sum, self._eval_tokens = 0.0, 0
        # A data loader draws a number too, from the generator that dropout uses.
        with hardware.undisturbed_random_numbers(self.args.device):
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._eval_tokens:
            sums = torch.tensor([self._eval_sum, self._eval_tokens], device=self.args.device)
            total, tokens = self.accelerator.reduce(sums, reduction="sum").tolist()
            output.metrics[f"{metric_key_prefix}_loss"] = total / tokens
        return output

    def init_hf_repo(self, *args, **kwargs):
        try:
            super().init_hf_repo(*args, **kwargs)
        except (
            Exception
        ) as error:  # of the network, of the account, of the name: each library has its own
            raise UserError(
                f"--push_to_hub: the hub refused {self.args.hub_model_id or 'it'} or was not reached "
                f"({first_line(error)}); log in by `hf auth login`, or train without it and push later"
            ) from error

    def create_model_card(self, *args, **kwargs):
        """Ours, once training is over; trl would write its own at every checkpoint."""
        if not self.is_in_train:
            card.write_card(Path(self.args.output_dir), self.state.log_history, self.card_facts)

    card_facts: dict = {}


def _lengths(rows) -> list[int]:
    """Tokens a row: those of a text, or of a prompt and the longer of its two sides, which both are padded to."""
    if "chosen_ids" not in rows.column_names:
        return list(map(len, rows["input_ids"]))
    sides = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"])
    return [len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in sides]


class _RepeatableLengthGroups(LengthGroupedSampler):
    """Rows of similar length in one batch, in an order that depends on seed and epoch alone."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self.generator = torch.Generator().manual_seed(self.seed + epoch)


@dataclass(frozen=True)
class Run:
    """Where a stage finds things: the run's folder, of which it writes one part."""

    folder: Path  # has data/ in it, and a folder for each stage
    samples: Path


def locate(args: TrainingArguments) -> Run:
    output = Path(args.output_dir)
    return Run(folder=output.parent, samples=output / "samples.jsonl")


def tokenizer_for(stage_args: PretrainArguments, run: Run) -> PreTrainedTokenizerBase:
    """A tokenizer of the corpus's own characters, or the one that was asked for."""
    if stage_args.tokenizer_name_or_path is not None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(stage_args.tokenizer_name_or_path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no tokenizer could be loaded from {stage_args.tokenizer_name_or_path}; "
                "--tokenizer_name_or_path takes a folder or the id of a repository on the Hub"
            ) from error
        if tokenizer.pad_token is None:  # as of gpt2
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer
    return build_tokenizer(run_data.characters(run.folder), stage_args.n_positions)


def load_model(
    path: str | Path, sampling: SamplingArguments | TrainingArguments, title: str = ""
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, str]:
    """A checkpoint to train on: model, tokenizer, and a fingerprint of the weights.

    Args:
        sampling: whose temperature, top_k and top_p are saved with what training makes of it.
        title: which there must be room for, with a poem.
    """
    if not Path(path, "config.json").is_file() and Path(path).name in ("pretrain", "sft"):
        stage = Path(path).name
        raise UserError(
            f"there is no checkpoint in {path}; make it by `python train_{stage}.py --config configs/RECIPE/{stage}.yaml`, "
            "or name another with --model_name_or_path"
        )
    if is_adapter(Path(path)):
        raise UserError(
            f"{path} holds an adapter, and training starts from a whole model: pass --model_name_or_path"
        )
    model, tokenizer = load(path)
    check_template(tokenizer, path)
    model.loss_type = (
        "ForCausalLM"  # else Trainer's losses are (n-1)/n of the truth (transformers#46204)
    )
    model.generation_config = generation_defaults(
        tokenizer, model.config.n_positions, sampling.temperature, sampling.top_k, sampling.top_p
    )
    prompt = tokenizer.apply_chat_template(ask(title), add_generation_prompt=True)["input_ids"]
    if len(prompt) >= model.config.n_positions:
        raise UserError(
            f"sample_title leaves no room for a poem in the model's {model.config.n_positions} positions"
        )
    weights = Path(path, "model.safetensors")
    if not weights.is_file():
        raise UserError(
            f"{path} has its weights in several files, and training starts from one model.safetensors"
        )
    with weights.open("rb") as file:
        return model, tokenizer, hashlib.file_digest(file, "sha256").hexdigest()


def choose_attention(model: PreTrainedModel, args: TrainingArguments) -> None:
    """Attention in plain products where that is faster: torch's own for CPUs is fast in float32 alone.

    The two are rounded apart in bfloat16, so what is compared with one another has to attend alike: a reference, whose scores
    trl may compute before training, is copied from a model that has chosen already.
    """
    if args.bf16 and args.use_cpu:
        model.set_attn_implementation("eager")


def fit_lengths(
    rows: DatasetDict, tokenizer: PreTrainedTokenizerFast, args: TrainingArguments, positions: int
) -> DatasetDict:
    """Leaves out the rows that do not fit the model's positions, and says how many.

    trl would cut them, and with the end of the poem the end mark, which the model then never learns to write.
    """
    args.max_length = positions = min(positions, args.max_length or positions)
    answers = [
        name for name in ("completion", "chosen", "rejected") if name in rows["train"].column_names
    ]

    def fits(row: dict) -> bool:
        return all(
            len(tokenizer.apply_chat_template(row["prompt"] + row[name])["input_ids"]) <= positions
            for name in answers
        )

    kept = rows.filter(fits, keep_in_memory=True, load_from_cache_file=False)
    for name in rows:
        lost = len(rows[name]) - len(kept[name])
        if lost and args.process_index == 0:
            print(
                f"{lost} of {len(rows[name])} {name} rows are longer than {positions} tokens and are left out",
                flush=True,
            )
        if not len(kept[name]):
            raise UserError(
                f"no {name} row fits into the model's {positions} tokens; use shorter poems or a larger n_positions"
            )
    return kept


def fit_titles(
    rows: DatasetDict, tokenizer: PreTrainedTokenizerFast, args: TrainingArguments, positions: int
) -> DatasetDict:
    """Titles whose prompt leaves the model room for a whole poem of `max_completion_length`; their poems are left out.

    What the checkpoint never writes by its own defaults, half a character say, is not drawn here either.
    """
    if args.max_completion_length is None or args.max_completion_length >= positions:
        raise UserError(
            f"max_completion_length {args.max_completion_length} leaves no room in {positions} positions"
        )
    room = positions - args.max_completion_length

    def fits(row: dict) -> bool:
        return (
            len(
                tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)[
                    "input_ids"
                ]
            )
            <= room
        )

    titles = rows.select_columns("prompt").filter(
        fits, keep_in_memory=True, load_from_cache_file=False
    )
    if not all(len(part) for part in titles.values()):
        raise UserError(
            f"no title leaves room for {args.max_completion_length} tokens; lower max_completion_length"
        )
    defaults = generation_defaults(tokenizer, positions, 1.0, 0, 1.0)
    args.generation_kwargs = {
        "suppress_tokens": defaults.suppress_tokens,
        **(args.generation_kwargs or {}),
    }
    return titles


def begin(stage: str, args: TrainingArguments, stage_args: StageArguments, inputs: dict) -> bool:
    """Says what runs where and claims the stage's folder; False where the stage is finished already.

    Called when all that a person may have got wrong has been looked at, so that a mistake leaves no folder behind.

    Args:
        inputs: what the result depends on besides the arguments, such as fingerprints of data and of the model.
    """
    hardware.check_world_size(args.world_size)
    hardware.use_all_cores()
    memory = hardware.keep_freed_memory()
    _check_fit(stage, args, stage_args)
    try:
        for reports in get_reporting_integration_callbacks(args.report_to):
            reports()
    except (ValueError, RuntimeError, ImportError) as error:
        raise UserError(f"report_to {', '.join(args.report_to)}: {first_line(error)}") from error
    if args.torch_compile and not hardware.has_compiler():
        args.torch_compile = False
        args.torch_compile_backend = "no"  # which is what accelerate looks at
    if stage_args.minutes is not None:
        if not stage_args.minutes > 0:
            raise UserError(f"minutes must be above 0, not {stage_args.minutes}")
        args.max_steps = UNKNOWN
    folder = Path(args.output_dir)
    if args.process_index == 0:
        given = {**args.to_dict(), **asdict(stage_args), **inputs}
        kept = {key: value for key, value in given.items() if key not in _FREE_ARGUMENTS}
        checkpoints.claim(folder, {"stage": stage, "processes": args.world_size, **kept})
        fast = hardware.describe(args.bf16, args.torch_compile, _scores_compiled(stage_args))
        print(f"{stage}: {fast}; {memory}{hardware.unused_gpus()}", flush=True)
    finished = checkpoints.is_finished(folder)
    if finished and args.push_to_hub:
        raise UserError(
            f"{folder} is finished, and training pushes what it has trained; {_push_later(folder)}"
        )
    if finished and args.process_index == 0:
        print(f"done already: {folder}", flush=True)
    return not finished


def _scores_compiled(stage_args: StageArguments) -> bool:
    return (
        isinstance(stage_args, ScoringArguments)
        and stage_args.compile_scoring
        and not hardware.has_accelerator()
    )


def _check_fit(stage: str, args: TrainingArguments, stage_args: StageArguments) -> None:
    """Refuses options of the libraries that a stage, or another option, leaves without a meaning."""
    if args.hub_strategy != "end":
        raise UserError(
            f"hub_strategy {args.hub_strategy.value}: a stage is pushed when it is whole, which is `end`"
        )
    if args.save_only_model:
        raise UserError(
            "save_only_model leaves checkpoints that no run can go on from; a finished stage is such a folder anyway"
        )
    if str(args.resume_from_checkpoint).lower() not in ("none", "true"):
        raise UserError(
            f"resume_from_checkpoint {args.resume_from_checkpoint}: a run goes on from the last whole checkpoint in its output_dir by "
            "itself; to go on from an earlier one, delete those behind it"
        )
    if args.train_sampling_strategy == "group_by_length" and stage in ("pretrain", "grpo"):
        raise UserError(
            f"train_sampling_strategy group_by_length: the rows of {stage} have no lengths to group by"
        )
    if stage_args.optimizer == "muon":
        for name in ("optim", "optim_args"):
            if getattr(args, name) != TrainingArguments.__dataclass_fields__[name].default:
                raise UserError(
                    f"{name} chooses an optimizer and the recipe another: pass --optimizer adamw with it"
                )
    if stage_args.minutes is not None and args.lr_scheduler_type in (
        "reduce_lr_on_plateau",
        "greedy",
    ):
        raise UserError(
            f"minutes plans the learning rate to the end, which lr_scheduler_type {args.lr_scheduler_type.value} does not know"
        )
    if stage_args.minutes is not None:
        for name in ("logging_steps", "eval_steps", "save_steps"):
            if 0 < (getattr(args, name) or 0) < 1:
                raise UserError(
                    f"{name} {getattr(args, name)} is a share of the steps, and minutes does not know how many: pass a number"
                )
    if getattr(args, "padding_free", False):
        raise UserError(
            "padding_free packs rows without a limit of their length, and this model has one, its n_positions: leave it out"
        )
    if stage == "distill":
        _check_distillation(args)
    if (
        getattr(stage_args, "streaming", False)
        and stage_args.minutes is None
        and args.max_steps <= 0
    ):
        raise UserError("a stream has no end: pass --max_steps or --minutes with streaming")
    if args.load_best_model_at_end and args.save_total_limit == 1:
        args.save_total_limit = 2  # the best, and the last to go on from


def _check_distillation(args: TrainingArguments) -> None:
    """Refuses what trl's own loss would do, and that of distillation does not."""
    fields = type(args).__dataclass_fields__
    for name in ("loss_type", "label_smoothing_factor", "packing", "average_tokens_across_devices"):
        if getattr(args, name) != fields[name].default:
            raise UserError(
                f"{name} {getattr(args, name)}: distillation has a loss of its own, which knows no such option"
            )
    if args.completion_only_loss is False:
        raise UserError(
            "completion_only_loss false: the teacher speaks of the poem alone, and not of its title"
        )


def train(trainer: Stage, facts: dict, is_last_round: bool = True) -> None:
    """Trains from the last whole checkpoint to the end and leaves a folder that `from_pretrained` takes as it is.

    Args:
        facts: what the model card says beside what is measured here: `stage`, and `corpus`.
        is_last_round: whether nothing is trained after it, so that processes which train together go apart.
    """
    folder = Path(trainer.args.output_dir)
    stop = StopOnSignal()
    trainer.add_callback(stop)
    checkpoint = checkpoints.last_checkpoint(folder)
    state = (
        TrainerState.load_from_json(str(checkpoint / "trainer_state.json")) if checkpoint else None
    )
    if trainer.stage_args.minutes is not None:
        planned = state and state.max_steps
        trainer.add_callback(TrainByTheClock(trainer, trainer.stage_args.minutes, planned))
    if checkpoint is not None and trainer.args.process_index == 0:
        print(f"going on from {checkpoint}", flush=True)
    with checkpoints.writing(folder):
        if checkpoint is not None and trainer.is_over(state):  # else it would be trained a step on
            trainer.take(state, checkpoint)
        else:
            trainer.args.eval_on_start &= (
                checkpoint is None
            )  # a run that is gone on with has had its first evaluation
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.asked and trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt
    if not trainer.state.global_step:
        raise UserError(
            "not one step was trained: the set has fewer rows than a batch, or max_steps is 0"
        )
    last = card.last_evaluation(trainer.state.log_history)
    # The best weights are those of an earlier step, and the card speaks of them.
    best_is_earlier = (
        trainer.args.load_best_model_at_end
        and trainer.state.best_global_step != trainer.state.global_step
    )
    if last is None or last["step"] < trainer.state.global_step or best_is_earlier:
        trainer.evaluate()
        last = card.last_evaluation(trainer.state.log_history)
    if last is not None and not math.isfinite(last["eval_loss"]):
        raise NonFiniteLoss(f"the evaluation loss is {last['eval_loss']}: nothing is saved")
    trainer.card_facts = {
        **facts,
        "parameters": trainer.model.num_parameters(),
        "seconds": card.seconds_trained(trainer.state.log_history)
        + card.of_earlier_rounds(folder)[0],
        "device": hardware.describe(
            trainer.args.bf16, trainer.args.torch_compile, _scores_compiled(trainer.stage_args)
        ),
    }
    with checkpoints.writing(folder):
        _publish(trainer, folder)
    if trainer.args.push_to_hub:
        try:
            trainer.push_to_hub()
        except Exception as error:
            raise UserError(
                f"the push failed ({first_line(error)}), and the folder is whole; {_push_later(folder)}"
            ) from error
    trainer.accelerator.wait_for_everyone()
    if is_last_round:
        trainer.accelerator.end_training()  # processes say goodbye to each other
    if stop.asked:
        raise KeyboardInterrupt


def _push_later(folder: Path) -> str:
    return f"`hf upload NAME {folder} --exclude '_*' --exclude 'checkpoint-*'` pushes it"


def _publish(trainer: Stage, folder: Path) -> None:
    """The finished stage, written beside and moved into place."""
    unfinished = folder / checkpoints.UNFINISHED
    trainer.save_model(
        str(unfinished), _internal_call=True
    )  # else it pushes, before the rest is there
    if not trainer.args.should_save:
        return
    if not checkpoints.has_weights(unfinished):
        raise RuntimeError(
            f"{unfinished} has no model.safetensors: the weights were saved in shards"
        )
    trainer.state.save_to_json(str(unfinished / "trainer_state.json"))
    plots.draw_curves(trainer.state.log_history, unfinished / "curves.png")
    card.write_card(unfinished, trainer.state.log_history, trainer.card_facts)
    checkpoints.publish(unfinished, folder)
    print(f"saved {folder}", flush=True)
