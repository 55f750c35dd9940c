"""Trains the autoencoder: pictures of 128x128 become 8x16x16 numbers and pictures again."""

import time

import torch
from torch.nn import functional as F

from networks import LATENT_CHANNELS, Autoencoder
from optimizer import optimizers
from pictures import picture_batch

# Small enough to leave the pictures sharp; it keeps the latents near one another, as the denoiser likes them.
DIVERGENCE_WEIGHT = 1e-4


def train_autoencoder(pictures, steps: int, batch: int = 12, rate: float = 1e-3, log=print) -> Autoencoder:
    """`pictures`: uint8 [count, 128, 128, 3]. Returns the averaged weights, not the last ones."""
    model = Autoencoder().to(memory_format=torch.channels_last)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    both = optimizers(model, rate)
    shape = lambda step: min(1.0, step / 100) * min(1.0, (steps - step) / (0.5 * steps) + 0.001)  # noqa: E731
    plans = [torch.optim.lr_scheduler.LambdaLR(optimizer, shape) for optimizer in both]
    drawn = torch.Generator().manual_seed(11)
    began, seen = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        chosen = torch.randint(len(pictures), (batch,), generator=drawn)
        loss, distance = losses(model, picture_batch(pictures, chosen))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, plan in zip(both, plans):
            optimizer.step()
            plan.step()
            optimizer.zero_grad(set_to_none=True)
        averaged.update_parameters(model)
        seen += distance
        if step % 100 == 0:
            log(f"autoencoder {step}/{steps}: mean distance {seen / 100:.4f}, {time.monotonic() - began:.0f} s")
            seen = 0.0
    return averaged.module.eval()


def losses(model: Autoencoder, pictures: torch.Tensor) -> tuple[torch.Tensor, float]:
    with torch.autocast("cpu", torch.bfloat16):
        mean, log_variance = model.encoder(pictures).chunk(2, dim=1)
    mean, log_variance = mean.float(), log_variance.float().clamp(-12, 4)
    latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    with torch.autocast("cpu", torch.bfloat16):
        painted = model.decoder(latents)
    painted = painted.float()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    distance = (painted - pictures).abs().mean()
    # Edges are few pixels and what the eye sees first: their slopes count by themselves.
    edges = sum((slope(painted, axis) - slope(pictures, axis)).abs().mean() for axis in (2, 3))
    return distance + edges + DIVERGENCE_WEIGHT * divergence, distance.item()


def slope(pictures: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.diff(pictures, dim=axis)


@torch.no_grad()
def encode(model: Autoencoder, pictures, batch: int = 128) -> torch.Tensor:
    """The mean latents of uint8 pictures, [count, 8, 16, 16]."""
    parts = []
    for start in range(0, len(pictures), batch):
        with torch.autocast("cpu", torch.bfloat16):
            some = picture_batch(pictures, torch.arange(start, min(start + batch, len(pictures))))
            parts.append(model.encoder(some)[:, :LATENT_CHANNELS].float())
    return torch.cat(parts)


def latent_to_rgb(latents: torch.Tensor, pictures) -> tuple[list[list[float]], list[float]]:
    """The linear map from a scaled latent to the mean colour (-1..1) of its 8x8 pixels, by least squares: for previews."""
    count = len(latents)
    colours = F.avg_pool2d(picture_batch(pictures, torch.arange(count)), 8)
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, LATENT_CHANNELS)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution = torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).reshape(-1, 3)).solution
    return solution[:LATENT_CHANNELS].T.tolist(), solution[LATENT_CHANNELS].tolist()
