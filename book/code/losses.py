"""The losses of alignment in plain PyTorch: DPO's loss and GRPO's advantages.

A test compares them with TRL's `DPOTrainer` and `GRPOTrainer` (tests/book/test_losses.py). Comments
give the shape of each tensor. A batch has B rows of T tokens. V is the size of the vocabulary. In
GRPO there are N prompts with G poems each.
"""

import torch.nn.functional as F
from torch import Tensor


def log_probabilities(logits: Tensor, ids: Tensor, in_poem: Tensor) -> Tensor:
    """Returns log p(poem | prompt) of each row: the sum over the tokens of the poem.

    Args:
        logits: The scores of a model. (B, T, V)
        ids: A prompt and a poem in each row. (B, T)
        in_poem: 1 for tokens of the poem, 0 for the prompt and for padding. (B, T)
    """
    log_p = logits[:, :-1].log_softmax(dim=-1)  # (B, T - 1, V): of each possible next token
    log_p = log_p.gather(2, ids[:, 1:, None]).squeeze(2)  # (B, T - 1): of the token that is there
    return (log_p * in_poem[:, 1:]).sum(dim=1)  # (B,)


def dpo_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float = 0.1
) -> Tensor:
    """Returns the loss of DPO (https://arxiv.org/abs/2305.18290, equation 7), in nats per pair.

    Each tensor has the log probabilities of B poems. The reference is a frozen copy of the model
    before the training.
    """
    chosen_reward = beta * (chosen - ref_chosen)  # (B,): how much likelier the poem has become
    rejected_reward = beta * (rejected - ref_rejected)  # (B,)
    log_p = F.logsigmoid(chosen_reward - rejected_reward)  # (B,): log p(chosen wins)
    assert log_p.shape == chosen.shape == rejected.shape == ref_chosen.shape == ref_rejected.shape
    return -log_p.mean()  # (): log 2 = 0.693 at the first step, where both rewards are 0


def advantages(rewards: Tensor) -> Tensor:
    """Compares each poem with the other poems for its prompt, as GRPO does.

    GRPO raises the probability of poems with a positive advantage and lowers that of the others
    (https://arxiv.org/abs/2402.03300, section 4.1.2). If all poems of a prompt have the same
    reward, their advantages are 0, and the model learns nothing from them.

    Args:
        rewards: One row per prompt. (N, G)
    """
    mean = rewards.mean(dim=1, keepdim=True)  # (N, 1)
    std = rewards.std(dim=1, keepdim=True)  # (N, 1): the sum of squares divided by G - 1
    return (rewards - mean) / (std + 1e-4)  # (N, G): 1e-4 avoids a division by zero
