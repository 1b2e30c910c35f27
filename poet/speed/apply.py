"""Switches on everything that only makes training faster, in one place.

It knows which speed-up serves which stage. It does not know data.
A plain run (`--plain`) never imports this file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainingArguments

from poet.speed import compile_cache, dropout, gelu, hardware, scoring
from poet.speed.sampled_softmax import CannotSample, SampledVocabulary
from poet.speed.versions import CannotPatch

NO_COMPILER = "no working compiler with Python's headers. With one, training is a third faster"


@dataclass(frozen=True)
class SpeedUps:
    """The speed-ups of one training.

    Attributes:
        on: the speed-ups that were really switched on.
        off: the speed-ups that are not on, each with its reason.
        compiles_scoring: whether the loss over the vocabulary is compiled.
        sampled: draws the characters that a step of pretraining scores.
    """

    on: list[str]
    off: list[str]
    compiles_scoring: bool = False
    sampled: SampledVocabulary | None = None

    def describe(self) -> str:
        """Returns one line for the log and the model card."""
        line = f"speed-ups: {', '.join(self.on) or 'none'}"
        return f"{line}; off: {'; '.join(self.off)}" if self.off else line

    def compile(self, function: Callable) -> Callable:
        """Returns a loss function compiled, or unchanged if scoring is not compiled."""
        return torch.compile(function, dynamic=True) if self.compiles_scoring else function


def apply_speedups(
    model: PreTrainedModel,
    args: TrainingArguments,
    *,
    stage: str,
    compile_scoring: bool = False,
    sampled_vocabulary: int = 0,
    ids: Sequence[int] | Tensor = (),
) -> SpeedUps:
    """Switches on the speed-ups of one stage. Returns those that are really on.

    Call it when the model exists, before the model is copied, before `begin` records the options
    and before the trainer is built. Calling it again is harmless.

    Args:
        stage: pretrain, sft, author, dpo, grpo or distill.
        compile_scoring: whether the loss over the vocabulary should be compiled.
        sampled_vocabulary: the number of characters that a step of pretraining scores. 0: all.
        ids: the training text as token ids. The frequencies of the characters come from it.
    """
    on: list[str] = []
    off: list[str] = []
    on_cpu = args.device.type == "cpu"
    if hardware.use_all_cores():
        on.append(f"{torch.get_num_threads()} threads")
    if hardware.keep_memory():
        on.append("freed memory kept")
    if choose_attention(model, args):
        on.append("attention in plain products")
    if args.torch_compile:
        if compile_cache.ready():
            on.append("torch.compile")
            if on_cpu:
                hardware.add_in_one_order()
            try:
                compile_cache.keep_traces()
                on.append("traced steps cached")
            except CannotPatch as reason:
                off.append(f"traced steps cached ({reason})")
        else:
            args.torch_compile = False
            args.torch_compile_backend = "no"  # accelerate reads only this one
            off.append(f"torch.compile ({NO_COMPILER})")
    compiled, sampled = False, None
    if stage == "pretrain":
        _speed_up_pretraining(model, args, on, off)
        if sampled_vocabulary and scoring.returns_loss(model):
            sampled = _sample_vocabulary(model, args, ids, sampled_vocabulary, on, off)
    elif on_cpu:
        compiled = compile_scoring and _can_compile_scoring(args, off)
        compiled = _speed_up_trl(stage, compiled, on, off)
    return SpeedUps(on, off, compiled, sampled)


def choose_attention(model: PreTrainedModel, args: TrainingArguments) -> bool:
    """Computes attention in plain matrix products if that is faster. Returns whether it does.

    On a CPU, torch's own kernel for attention is fast only in float32. In bfloat16 the two round
    differently. Models that are compared, such as a policy and its reference, must therefore use
    the same one.
    """
    if not (args.bf16 and args.use_cpu):
        return False
    model.set_attn_implementation("eager")
    return True


def _speed_up_pretraining(
    model: PreTrainedModel, args: TrainingArguments, on: list[str], off: list[str]
) -> None:
    tiles = f"tiles of {scoring.TOKENS_PER_TILE} tokens"
    in_tiles = not args.bf16  # in bfloat16 the whole product is faster than tiles
    if in_tiles:
        try:
            scoring.check_tiled_loss()
        except CannotPatch as reason:
            in_tiles = False
            off.append(f"loss in {tiles} ({reason})")
    name = f"loss without logits in {tiles}" if in_tiles else "loss without logits"
    try:
        scoring.patch_forward_to_return_loss(model, in_tiles)
        on.append(name)
    except CannotPatch as reason:
        off.append(f"{name} ({reason})")
    if args.torch_compile and args.use_cpu:  # uncompiled, it would take six kernels instead of one
        try:
            gelu.patch_gelu(model)
            on.append("GELU by a sigmoid")
        except CannotPatch as reason:
            off.append(f"GELU by a sigmoid ({reason})")
        try:
            if dropout.patch_dropout(model):
                on.append("dropout by bytes")
        except CannotPatch as reason:
            off.append(f"dropout by bytes ({reason})")


def _sample_vocabulary(
    model: PreTrainedModel,
    args: TrainingArguments,
    ids: Sequence[int] | Tensor,
    size: int,
    on: list[str],
    off: list[str],
) -> SampledVocabulary | None:
    name = f"loss over {size:,} sampled characters"
    try:
        if args.device.type != "cpu":
            raise CannotSample("it was measured on a CPU only")
        if args.label_smoothing_factor:
            raise CannotSample("label smoothing needs all characters")
        tokens = args.per_device_train_batch_size * model.config.n_positions
        sampled = SampledVocabulary(ids, model.config.vocab_size, size, tokens, args.seed)
    except CannotSample as reason:
        off.append(f"{name} ({reason})")
        return None
    on.append(name)
    return sampled


def _can_compile_scoring(args: TrainingArguments, off: list[str]) -> bool:
    """Returns whether scoring can be compiled. If not, adds the reason to `off`."""
    reason = ""
    if not compile_cache.ready():
        reason = NO_COMPILER
    elif getattr(args, "entropy_coef", 0) or getattr(args, "use_adaptive_entropy", False):
        reason = "the loss contains the entropy, which has no gradient in compiled code"
    elif getattr(args, "use_weighting", False):
        reason = "use_weighting needs values that only trl's own function computes"
    if reason:
        off.append(f"compiled scores ({reason})")
    return not reason


def _speed_up_trl(stage: str, compiled: bool, on: list[str], off: list[str]) -> bool:
    """Patches trl, and returns whether the loss is compiled."""
    how = "scores compiled" if compiled else f"scores in tiles of {scoring.TOKENS_PER_TILE} tokens"
    try:
        scoring.patch_trl_scoring(compiled)
        on += ["only labels scored", how]
    except CannotPatch as reason:
        off.append(f"only labels scored ({reason})")
        compiled = compiled and stage == "distill"  # its loss is ours, and needs no patch
    if compiled and stage == "distill":
        on.append("distillation loss compiled")
    return compiled
