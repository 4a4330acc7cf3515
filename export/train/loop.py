"""Train a small classifier in memory."""

import torch
from torch import nn


def fit(
    network: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 4e-3,
    shift: int = 0,
) -> list[float]:
    """Train a network in place with cross entropy, AdamW and one cycle of the learning rate; leave it in eval mode.

    Each batch is mirrored at random and shifted by up to ``shift`` pixels; its borders are repeated.

    Args:
        network: (N, 3, H, W) float32 -> logits (N, K).
        inputs: (N, 3, H, W), the network's inputs; uint8 becomes float32 batch by batch.
        targets: (N,) int64, class numbers.
        epochs: passes over all inputs.
        seed: of the order and the augmentation; the caller seeds the weights.
        batch_size: inputs in a step.
        learning_rate: the maximum of the cycle.
        shift: largest shift, in pixels.

    Returns: the mean loss of each epoch, in nats.

    Source of the schedule: Smith and Topin 2018, arXiv:1708.07120.
    """
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    steps = epochs * -(-len(inputs) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    losses = []
    network.train()
    for _ in range(epochs):
        total = 0.0
        for indices in torch.split(torch.randperm(len(inputs), generator=random), batch_size):
            batch = _augment(inputs[indices].float(), shift, random)
            loss = nn.functional.cross_entropy(network(batch), targets[indices])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item() * len(indices)
        losses.append(total / len(inputs))
    network.eval()
    return losses


def _augment(batch: torch.Tensor, shift: int, random: torch.Generator) -> torch.Tensor:
    if torch.rand((), generator=random) < 0.5:
        batch = batch.flip(3)
    if shift == 0:
        return batch
    padded = nn.functional.pad(batch, [shift] * 4, mode="replicate")
    top, left = torch.randint(0, 2 * shift + 1, (2,), generator=random).tolist()
    return padded[:, :, top : top + batch.shape[2], left : left + batch.shape[3]]
