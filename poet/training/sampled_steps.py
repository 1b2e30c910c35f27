"""Lets most steps of pretraining score a sample of the vocabulary (poet/speed/sampled_softmax.py).

A loss over fewer characters is lower. The log therefore has two names, and never a mean of both:
`sampled_loss` and `loss`. Evaluations always score all characters.
"""

from poet.training.options import WHOLE_SHARE


class SampledSteps:
    """Goes in front of `PoetTrainerMixin` in pretraining. Does nothing if nothing is sampled."""

    first_sampled = 0  # the first step that may be sampled
    is_sampled = False  # whether the last step was
    _log_is_sampled = False  # whether a step since the last log was
    _is_last_part = False

    def training_step(self, model, inputs, *args, **kwargs):
        step = self.state.global_step
        self.is_sampled = self._samples(step)
        self._is_last_part |= step >= self._last_part()
        self._log_is_sampled |= self.is_sampled
        if self.is_sampled:
            inputs = self._vocabulary.sample(inputs, step)
        return super().training_step(model, inputs, *args, **kwargs)

    @property
    def _vocabulary(self):
        return self.stage.speedups and self.stage.speedups.sampled

    def _samples(self, step):
        """Returns whether the step after `step` is sampled."""
        if not self._vocabulary:
            return False
        return self.first_sampled <= step < self._last_part() and not self._is_last_part

    def _last_part(self):
        """Returns the step at which the last part begins, which scores all characters."""
        return (1 - WHOLE_SHARE) * self.state.max_steps

    def _maybe_log_save_evaluate(self, *args, **kwargs):
        """Logs at once where the next step has another kind of loss."""
        if self._samples(self.state.global_step) != self.is_sampled:
            self.control.should_log = True
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def log(self, logs, *args, **kwargs):
        if "loss" in logs and self._log_is_sampled:
            logs["sampled_loss"] = logs.pop("loss")
            self._log_is_sampled = False
        if self._vocabulary:
            logs.pop("train_loss", None)  # Trainer's mean over all steps of both kinds
        super().log(logs, *args, **kwargs)
