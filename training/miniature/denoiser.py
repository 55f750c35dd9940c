"""Trains the denoiser on the latents of drawn pictures: v-prediction on a cosine schedule, captions dropped for guidance."""

import math
import time

import torch
from torch import Tensor

from networks import TextEncoder, UNet
from optimizer import optimizers

TIMESTEPS = 1000
# How often a caption is left out, so that the network also learns what any picture looks like (Ho & Salimans 2022).
CAPTION_DROPPING = 0.1
AVERAGING = 0.999


def kept_signal() -> Tensor:
    """The share of the signal that is left at each timestep: `squaredcos_cap_v2` of diffusers."""

    def level(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - level((t + 1) / TIMESTEPS) / level(t / TIMESTEPS), 0.999) for t in range(TIMESTEPS)]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0).float()


def train_denoiser(
    latents: Tensor, captions: Tensor, empty: Tensor, text: TextEncoder, steps: int,
    batch: int = 64, rate: float = 1e-3, log=print, keep=None,
) -> UNet:  # fmt: skip
    """`latents` [count, 8, 16, 16] scaled to about 1; `captions` ids [count, wordings, 48]; `empty` the ids of "".
    Calls `keep(averaged, step)` every 1,000 steps. Returns the averaged weights."""
    torch.manual_seed(31)
    model = UNet().to(memory_format=torch.channels_last)
    averaged = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING)
    )
    both = optimizers(model, rate)
    shape = lambda step: min(1.0, step / 200) * min(1.0, (steps - step) / (0.4 * steps) + 0.001)  # noqa: E731
    plans = [torch.optim.lr_scheduler.LambdaLR(optimizer, shape) for optimizer in both]
    signal = kept_signal()
    drawn = torch.Generator().manual_seed(32)
    began, lost = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        chosen = torch.randint(len(latents), (batch,), generator=drawn)
        wording = torch.randint(captions.shape[1], (batch,), generator=drawn)
        ids = captions[chosen, wording].long()
        ids[torch.rand(batch, generator=drawn) < CAPTION_DROPPING] = empty
        loss = v_loss(model, text, latents[chosen], ids, signal, drawn)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, plan in zip(both, plans):
            optimizer.step()
            plan.step()
            optimizer.zero_grad(set_to_none=True)
        averaged.update_parameters(model)
        lost += loss.item()
        if step % 50 == 0:
            log(f"denoiser {step}/{steps}: loss {lost / 50:.4f}, {time.monotonic() - began:.0f} s")
            lost = 0.0
        if keep is not None and step % 500 == 0:
            keep(averaged.module, step)
    return averaged.module.eval()


def v_loss(model: UNet, text: TextEncoder, latents: Tensor, ids: Tensor, signal: Tensor, drawn) -> Tensor:
    # One timestep from each slice of the schedule: the same mean as drawing freely, with less chance in it.
    slices = (torch.arange(len(latents)) + torch.rand(len(latents), generator=drawn)) / len(latents)
    timesteps = (slices * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
    noise = torch.randn(latents.shape, generator=drawn)
    kept = signal[timesteps][:, None, None, None]
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    wanted = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            states = text(ids)
        guess = model(noisy.contiguous(memory_format=torch.channels_last), timesteps, states)
    return (guess.float() - wanted).square().mean()
