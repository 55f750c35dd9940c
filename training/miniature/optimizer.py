"""What moves the weights: Muon for matrices, AdamW for everything else."""

import math

import torch
from torch import Tensor, nn

# Layers that begin or end a network are narrower than this.
NARROW = 32


def optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    wide = lambda weights: weights.ndim >= 2 and min(weights.shape[:2]) >= NARROW  # noqa: E731
    matrices = [weights for weights in model.parameters() if wide(weights)]
    others = [weights for weights in model.parameters() if not wide(weights)]
    return [Muon(matrices, rate), torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0)]


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before they are applied (Jordan et al. 2024), for weights of two and
    more dimensions; the size of a step is that of AdamW (Liu et al. 2025), so one rate serves both."""

    def __init__(self, weights, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                state = self.state[weights]
                average = state.setdefault("average", torch.zeros_like(weights))
                average.lerp_(weights.grad, 1 - group["momentum"])
                ahead = weights.grad.lerp(average, group["momentum"])
                update = orthogonal(ahead.reshape(len(ahead), -1)).reshape(weights.shape)
                scale = 0.2 * math.sqrt(max(len(weights), weights[0].numel()))
                weights.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """The nearest orthogonal matrix, roughly: Newton-Schulz with the coefficients of Jordan et al."""
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)
