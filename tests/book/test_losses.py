"""The losses in plain PyTorch are those of TRL."""

import copy
import math

import pytest
import torch
from datasets import Dataset
from helpers import POSITIONS, make_checkpoint
from transformers import AutoTokenizer, GPT2LMHeadModel
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from book.code.losses import advantages, dpo_loss, log_probabilities
from poet_tokenizer import ask

QUIET = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = make_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return folder, AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo_loss_equals_the_loss_of_trl(checkpoint, tmp_path, beta):
    folder, tokenizer = checkpoint
    reference = GPT2LMHeadModel.from_pretrained(folder)
    model = copy.deepcopy(reference)
    torch.manual_seed(0)
    with torch.no_grad():  # some training, so that the rewards are not 0
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)

    poems = [("山中春雨", "白雨"), ("喜雨，山中。", "夜雨山中，春山。"), ("夜", "中中中")]
    rows = [
        {
            "prompt": ask("春夜"),
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for chosen, rejected in poems
    ]
    args = DPOConfig(str(tmp_path), loss_type=["sigmoid"], beta=beta, max_length=POSITIONS, **QUIET)
    trainer = DPOTrainer(
        model,
        reference,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    expected = trainer.compute_loss(model, dict(batch))

    ids, in_poem = batch["input_ids"], batch["completion_mask"]
    assert len(ids) == 2 * len(poems) and (batch["attention_mask"] == 0).any()

    def of(model) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(ids, attention_mask=batch["attention_mask"]).logits
        return log_probabilities(logits, ids, in_poem).chunk(2)

    with torch.no_grad():
        loss = dpo_loss(*of(model), *of(reference), beta=beta)
    assert abs(loss.item() - math.log(2)) > 1e-3
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_dpo_loss_starts_at_log_2():
    same = torch.tensor([-20.0, -30.0])
    assert dpo_loss(same, same - 5, same, same - 5).item() == pytest.approx(math.log(2))


def test_advantages_equal_those_of_trl(checkpoint, tmp_path):
    folder, tokenizer = checkpoint
    prompts, poems, given = 3, 4, []

    def length(completions, **_) -> list[float]:
        given[:] = [float(len(poem[0]["content"])) for poem in completions]
        given[-poems:] = [1.0] * poems  # the poems of the last prompt have one reward
        return given

    args = GRPOConfig(
        str(tmp_path),
        num_generations=poems,
        per_device_train_batch_size=prompts * poems,
        max_completion_length=20,
        **QUIET,
    )
    rows = [{"prompt": ask(title)} for title in ("春", "夜", "山")]
    trainer = GRPOTrainer(
        GPT2LMHeadModel.from_pretrained(folder),
        length,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    torch.manual_seed(0)
    scored = trainer._generate_and_score_completions([row for row in rows for _ in range(poems)])

    rewards = torch.tensor(given).view(prompts, poems)
    assert rewards[:-1].std(dim=1).min() > 0
    torch.testing.assert_close(
        advantages(rewards).flatten(), scored["advantages"], rtol=0, atol=1e-6
    )
    assert advantages(rewards)[-1].tolist() == [0.0] * poems
