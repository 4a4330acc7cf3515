"""Train a small classifier: a plain loop for a network that fits a laptop."""

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

    Each batch is mirrored at random and moved by up to ``shift`` pixels, its borders repeated.

    Args:
        network: (N, 3, H, W) float32 -> logits (N, K).
        inputs: (N, 3, H, W), what the network takes; uint8 is turned to float32 a batch at a time.
        targets: (N,) int64, class numbers.
        epochs: times that each input is seen.
        seed: of the order and the variation. The weights are the caller's.
        batch_size: inputs a step.
        learning_rate: the highest of the cycle.
        shift: in pixels.

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
        for chosen in torch.split(torch.randperm(len(inputs), generator=random), batch_size):
            batch = _varied(inputs[chosen].float(), shift, random)
            loss = nn.functional.cross_entropy(network(batch), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        losses.append(total / len(inputs))
    network.eval()
    return losses


def _varied(batch: torch.Tensor, shift: int, random: torch.Generator) -> torch.Tensor:
    if torch.rand((), generator=random) < 0.5:
        batch = batch.flip(3)
    if shift == 0:
        return batch
    padded = nn.functional.pad(batch, [shift] * 4, mode="replicate")
    top, left = torch.randint(0, 2 * shift + 1, (2,), generator=random).tolist()
    return padded[:, :, top : top + batch.shape[2], left : left + batch.shape[3]]
