"""Takes one stage of training from its options to a published folder.

The five scripts share `Stage`. It finds the data and the start model. It claims the output folder,
and trains from the last whole checkpoint. It does not know how a loss is computed.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import DatasetDict
from torch import Tensor
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import get_reporting_integration_callbacks

from poet import device, interrupts
from poet.data import run_data
from poet.errors import UserError, first_line, shorten
from poet.files import lock
from poet.generation.adapter import is_adapter
from poet.generation.load import check_template, generation_defaults, load, refuse_code
from poet.text import visible
from poet.training import checkpoints, progress, publishing
from poet.training.callbacks import StopOnSignal, has_own_metric, owes_evaluation
from poet.training.checks import check_room
from poet.training.options import Options
from poet.training.record import make_record
from poet.training.refusals import refusing
from poet.training.stages import STAGES
from poet.training.trainer import UNKNOWN_STEPS, PoetTrainerMixin
from poet_tokenizer import ask

if TYPE_CHECKING:
    from poet.speed.apply import SpeedUps

TEMPERATURE = 0.8  # of a model that answers titles: it draws less freely than at 1.0
COMPILE_FROM = 3_000  # sequences; with fewer, compiling the scores takes longer than it saves


class Stage:
    """One stage of a run, in the folder `output_dir`. The other stages of the run lie next to it.

    Args:
        name: pretrain, sft, author, dpo, grpo or distill.
        is_last_round: whether no other training follows in this process.

    Raises:
        UserError: the run has no data, or the options do not fit this machine.
    """

    def __init__(
        self, name: str, options: Options, args: TrainingArguments, is_last_round: bool = True
    ):
        self.name, self.options, self.args = name, options, args
        self.is_last_round = is_last_round
        self.folder = Path(args.output_dir)
        self.run_folder = self.folder.parent
        self.samples = self.folder / "samples.jsonl"
        summary = run_data.load_summary(self.run_folder)
        self.data = summary["made_from"]
        rows = STAGES[name].rows
        if reason := summary.get("left_out", {}).get(rows):
            raise UserError(f"{self.run_folder} has no data for this stage. {reason}")
        self.sample_title = run_data.sample_title(self.run_folder)
        self.inputs: dict[str, Any] = {"data": self.data}  # the result depends on them
        self.record: dict[str, Any] = {}  # what the folder is claimed with
        self.is_new = False  # whether this command makes the folder
        self.base_model: str | None = None
        self.speedups: SpeedUps | None = None
        self._row_count = summary["rows"][rows]["train"]
        if args.process_index == 0:
            interrupts.kept = lambda: checkpoints.kept(self.folder)
        device.check_world_size(args.world_size)
        _start_reporters(args)
        progress.silence_libraries()
        if options.minutes is not None:
            args.max_steps = UNKNOWN_STEPS
        if args.load_best_model_at_end and args.save_total_limit == 1:
            args.save_total_limit = 2  # the best checkpoint, and the last one to resume from

    # ---------------------------------------------------- model and tokenizer

    def load_tokenizer(self, path: str | None, n_positions: int) -> PreTrainedTokenizerBase:
        """Returns the tokenizer in `path`, or a new one for the characters of the corpus."""
        if path is None:
            return run_data.make_tokenizer(self.run_folder, n_positions)
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        except (OSError, ValueError) as error:
            refuse_code(path, error)
            raise UserError(
                f"no tokenizer could be loaded from {path}. --tokenizer_name_or_path takes a "
                "folder or the id of a repository on the Hub."
            ) from error
        if tokenizer.pad_token is None:  # the tokenizer of gpt2 has none
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    def load_model(self, default: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """Returns the model to start from and its tokenizer.

        The model is `model_name_or_path`, or else the stage `default` of this run.

        Raises:
            UserError: there is no such checkpoint, or training cannot start from it.
        """
        path = Path(self.options.model_name_or_path or self.run_folder / default)
        if path == self.run_folder / default and not (path / "config.json").is_file():
            raise UserError(
                f"there is no checkpoint in {path}. Make it with `python train_{default}.py "
                f"--config configs/RECIPE/{default}.yaml`, or pass --model_name_or_path."
            )
        if is_adapter(path):
            raise UserError(
                f"{path} holds an adapter. Training starts from a whole model: pass its folder as "
                "--model_name_or_path."
            )
        model, tokenizer = load(path)
        check_template(tokenizer, path)
        self.prepare_model(model, tokenizer)
        prompt = tokenizer.apply_chat_template(ask(self.sample_title), add_generation_prompt=True)[
            "input_ids"
        ]
        if len(prompt) >= model.config.n_positions:
            raise UserError(
                f"the prompt {shorten(self.sample_title)} fills the model's "
                f"{model.config.n_positions} positions. Shorten it, or train with a larger "
                "n_positions."
            )
        weights = path / "model.safetensors"
        if not weights.is_file():
            raise UserError(
                f"{path} has its weights in several files. Save them as one model.safetensors."
            )
        with weights.open("rb") as file:
            self.inputs["model"] = hashlib.file_digest(file, "sha256").hexdigest()
        self.base_model = checkpoints.hub_id_of(path)
        return model, tokenizer

    def prepare_model(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        ids: Sequence[int] | Tensor = (),
    ) -> None:
        """Gives the model its generation defaults and, unless --plain, the speed-ups.

        `ids` is the text of pretraining, or a part of it, as token ids.

        A reference model is a copy of a prepared model: both then round in the same way.
        """
        # Without it Trainer's losses are (n - 1) / n of the true loss (transformers#46204).
        model.loss_type = "ForCausalLM"
        if model.config.tie_word_embeddings:  # else loading a checkpoint warns of a missing key
            model._keys_to_ignore_on_save = set(model.all_tied_weights_keys)
        model.generation_config = generation_defaults(
            tokenizer, model.config.n_positions, self._temperature()
        )
        if self.options.plain:
            if self.args.torch_compile:
                from poet.speed import compile_cache

                if not compile_cache.ready(plain=True):
                    self.args.torch_compile = False
                    self.args.torch_compile_backend = "no"  # accelerate reads only this one
        else:
            from poet.speed.apply import apply_speedups

            self.speedups = apply_speedups(
                model,
                self.args,
                stage=self.name,
                compile_scoring=self._compile_scoring(),
                sampled_vocabulary=self.options.sampled_vocabulary,
                ids=ids,
            )

    def _temperature(self) -> float:
        if self.name == "pretrain":
            return 1.0
        return getattr(self.args, "temperature", TEMPERATURE)  # GRPO has a number of its own

    def _compile_scoring(self) -> bool:
        args = self.args
        batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        sequences = args.max_steps * batch
        if args.max_steps <= 0:
            sequences = int(args.num_train_epochs * self._row_count)
        return sequences * (2 if self.name == "dpo" else 1) >= COMPILE_FROM

    def compile(self, function: Callable) -> Callable:
        """Returns a loss function compiled, where the speed-ups compile the loss."""
        return self.speedups.compile(function) if self.speedups else function

    # ---------------------------------------------------- rows

    def drop_long_rows(
        self, rows: DatasetDict, tokenizer: PreTrainedTokenizerFast, max_length: int
    ) -> DatasetDict:
        """Drops rows longer than `max_length` tokens, and prints how many.

        TRL would cut them off. The model would then not learn to write the end mark.

        Raises:
            UserError: no row is left.
        """
        sides = [s for s in ("completion", "chosen", "rejected") if s in rows["train"].column_names]

        def fits(row: dict) -> bool:
            chats = (row["prompt"] + row[side] for side in sides)
            return all(
                len(tokenizer.apply_chat_template(c)["input_ids"]) <= max_length for c in chats
            )

        kept = rows.filter(fits, keep_in_memory=True, load_from_cache_file=False)
        for name in rows:
            dropped = len(rows[name]) - len(kept[name])
            if dropped:
                self.say(
                    f"dropped {dropped} of {len(rows[name])} {name} rows: longer than "
                    f"{max_length} tokens"
                )
            if not len(kept[name]):
                raise UserError(
                    f"no {name} row fits into the model's {max_length} tokens. Use shorter texts "
                    "or a larger n_positions."
                )
        return kept

    # ---------------------------------------------------- begin, train, publish

    def begin(self) -> bool:
        """Returns whether there is work to do. If so, keeps other commands out of the folder.

        All checks that take little time come before this call. The folder is not made here. So if
        a library refuses an option when the trainer is built, no folder is left.

        Raises:
            UserError: the folder holds another run, or another command writes it.
        """
        self.record = make_record(self.name, self.options, self.args, self.inputs)
        if self.args.process_index == 0:
            checkpoints.refuse_another(self.folder, self.record)
        if checkpoints.is_finished(self.folder):
            if self.args.push_to_hub:
                raise UserError(
                    f"{self.folder} is already finished, and --push_to_hub pushes only what this "
                    f"command trains. To push it now: {publishing.push_command(self.folder)}."
                )
            step = checkpoints.log_history(self.folder)[-1]["step"]
            self.say(f"already finished: {self.folder} (step {step})")
            return False
        if self.args.process_index == 0:
            lock(self.folder)
        self.is_new = not self.folder.exists()
        self.say(f"{self.name}: {self.device}{device.unused_gpus()}")
        return True

    def train(self, trainer: PoetTrainerMixin) -> None:
        """Claims the folder, trains from the last whole checkpoint, and publishes the result.

        The folder then loads with `from_pretrained`.

        Raises:
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once a checkpoint is saved.
            NonFiniteLoss: the last evaluation loss is NaN or infinite.
            UserError: no step was trained, the disk is full, or a push failed.
        """
        with refusing(self, trainer):
            checkpoint = checkpoints.last_checkpoint(self.folder)
            if self.args.process_index == 0:
                check_room(self.folder, trainer.model, self.args, kept=int(checkpoint is not None))
                checkpoints.claim(self.folder, self.record)
        stop = StopOnSignal()
        trainer.add_callback(stop)
        state = None
        if checkpoint is not None:
            state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
            self.say(f"resuming from {checkpoint}{checkpoints.upgraded(self.folder)}")
        if self.options.minutes is not None:
            from poet.training.clock import TrainByTheClock

            planned = state and state.max_steps
            trainer.add_callback(TrainByTheClock(trainer, self.options.minutes, planned))
        with refusing(self, trainer), checkpoints.writing(self.folder), progress.shown(trainer):
            if checkpoint and state and 0 < state.max_steps <= state.global_step:
                trainer.restore(state, checkpoint)  # Trainer would train one step more
            else:
                # An evaluation at the start refuses a wrong metric_for_best_model before any work.
                trainer.args.eval_on_start |= has_own_metric(trainer.args)
                if state is not None:
                    trainer.args.eval_on_start = owes_evaluation(trainer.args, state)
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if stop.requested:
            raise KeyboardInterrupt
        if not trainer.state.global_step:
            raise UserError(
                "no step was trained: the set has fewer rows than a batch. "
                "Add rows, or lower per_device_train_batch_size."
            )
        publishing.evaluate_last_weights(trainer)
        with checkpoints.writing(self.folder):
            publishing.publish(self, trainer)
        if self.args.push_to_hub:
            publishing.push(self.folder, trainer)
        trainer.accelerator.wait_for_everyone()
        if self.is_last_round:
            trainer.accelerator.end_training()

    @property
    def device(self) -> str:
        """The device, the precision and the speed-ups that are really on, in one line."""
        speed = self.speedups.describe() if self.speedups else "plain, no speed-ups"
        return f"{device.describe(self.args.bf16)}; {speed}"

    def say(self, text: str) -> None:
        """Prints a line, in the main process only."""
        if self.args.process_index == 0:
            print(visible(text), flush=True)


def _start_reporters(args: TrainingArguments) -> None:
    try:
        for reporter in get_reporting_integration_callbacks(args.report_to):
            reporter()
    except (ValueError, RuntimeError, ImportError) as error:
        reporters = ", ".join(args.report_to)
        raise UserError(
            f"report_to {reporters}: {first_line(error)} Correct the name, or install the package."
        ) from error
