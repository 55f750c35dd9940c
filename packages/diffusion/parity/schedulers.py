"""Schedulers of diffusers on a function of a few numbers in place of a denoiser: many configurations, little data."""

import itertools

import diffusers.schedulers.scheduling_lcm as lcm_module
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

WIDTH = 6

STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CLASSES = {
    one.__name__: one
    for one in (
        DDIMScheduler,
        EulerDiscreteScheduler,
        DPMSolverMultistepScheduler,
        LCMScheduler,
        FlowMatchEulerDiscreteScheduler,
    )
}


class FlowForStableDiffusion(FlowMatchEulerDiscreteScheduler):
    """What the pipelines of Stable Diffusion call and this class has under other names."""

    init_noise_sigma = 1.0
    latents_of_picture = 64

    def scale_model_input(self, sample, timestep=None):
        return sample

    def add_noise(self, original, noise, timesteps):
        return self.scale_noise(original, timesteps, noise)

    def set_timesteps(self, steps, device=None, **more):
        mu = None
        if self.config.use_dynamic_shifting:
            limits = (self.config.base_image_seq_len, self.config.max_image_seq_len)
            mu = calculate_shift(self.latents_of_picture // 4, *limits, self.config.base_shift, self.config.max_shift)
        super().set_timesteps(steps, device=device, mu=mu, **more)


def open_scheduler(config: dict):
    kind = FlowForStableDiffusion if config["_class_name"].startswith("Flow") else CLASSES[config["_class_name"]]
    values = {key: value for key, value in config.items() if key != "_class_name"}
    return kind(**values)


def configurations():
    """Each with the numbers of steps that it is tried with."""
    predictions = ("epsilon", "v_prediction", "sample")
    spacings = ("leading", "trailing", "linspace")
    for prediction, spacing in itertools.product(predictions, spacings):
        shared = {**STABLE, "prediction_type": prediction, "timestep_spacing": spacing, "steps_offset": 1}
        yield {"_class_name": "DDIMScheduler", **shared, "clip_sample": False, "set_alpha_to_one": False}, (1, 5)
        yield {"_class_name": "EulerDiscreteScheduler", **shared}, (2, 7)
        yield {"_class_name": "DPMSolverMultistepScheduler", **shared}, (1, 6)
    for prediction in predictions:
        yield {"_class_name": "LCMScheduler", **STABLE, "prediction_type": prediction}, (1, 4)
    zero = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing", **STABLE}
    karras = {"use_karras_sigmas": True, **STABLE}
    cosine = {"beta_schedule": "squaredcos_cap_v2"}
    solver = {"_class_name": "DPMSolverMultistepScheduler"}
    euler = {"_class_name": "EulerDiscreteScheduler"}
    ddim = {"_class_name": "DDIMScheduler"}
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    yield ddim, (4,)
    yield {**ddim, "clip_sample_range": 0.5, "num_train_timesteps": 500, **cosine}, (4,)
    yield {**ddim, "clip_sample": False, **zero}, (1, 6)
    yield {**euler, **zero}, (6,)
    yield {**euler, "final_sigmas_type": "sigma_min", **STABLE}, (4,)
    yield {**euler, **karras}, (2, 8)
    yield {**euler, **karras, "timestep_spacing": "leading", "sigma_min": 0.05, "sigma_max": 12.0}, (5,)
    yield {**euler, **cosine}, (5,)
    yield {**solver, **zero}, (6,)
    yield {**solver, **karras}, (3, 9)
    yield {**solver, **cosine, "lambda_min_clipped": -5.1}, (6,)
    yield {**solver, **cosine, "lambda_min_clipped": -5.1, "timestep_spacing": "trailing"}, (6,)
    yield {**solver, **STABLE, "solver_order": 1}, (4,)
    yield {**solver, **STABLE, "final_sigmas_type": "sigma_min"}, (5, 16)
    yield {**solver, **STABLE, "final_sigmas_type": "sigma_min", "euler_at_final": True}, (16,)
    yield {**solver, **STABLE, "final_sigmas_type": "sigma_min", "lower_order_final": False}, (5,)
    yield {**solver, **STABLE}, (20,)
    yield {"_class_name": "LCMScheduler", **STABLE, "original_inference_steps": 40, "timestep_scaling": 5.0}, (3, 8)
    yield {"_class_name": "LCMScheduler", **zero}, (4,)
    for shift in (1.0, 3.0):
        yield {**flow, "shift": shift}, (1, 6)
    for kind in ("exponential", "linear"):
        yield {**flow, "use_dynamic_shifting": True, "time_shift_type": kind}, (5,)


def predict(scaled: torch.Tensor, timestep: float) -> torch.Tensor:
    places = torch.arange(WIDTH, dtype=torch.float32)
    return 0.6 * scaled - 0.3 * scaled.flip(0) + 0.2 * torch.cos(timestep / 200 + places)


def make_noise(draw: int) -> torch.Tensor:
    return torch.cos(3 + draw * 2.1 + 0.9 * torch.arange(WIDTH, dtype=torch.float32))


def run_one(config: dict, steps: int, start: int) -> dict:
    scheduler = open_scheduler(config)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps[start:]
    # Else the step is looked up by its timestep, and the second one is taken where two are the same.
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    draws = iter(range(1, 1000))
    lcm_module.randn_tensor = lambda shape, **_: make_noise(next(draws))
    if start == 0:
        latents = make_noise(0) * scheduler.init_noise_sigma
    else:
        clean = torch.sin(torch.arange(WIDTH, dtype=torch.float32))
        latents = scheduler.add_noise(clean[None], make_noise(0)[None], timesteps[:1])[0]
    told = [latents]
    for timestep in timesteps:
        prediction = predict(scheduler.scale_model_input(latents, timestep), float(timestep))
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        told.append(latents)
    return {
        "config": config,
        "steps": steps,
        "start": start,
        "timesteps": round_all(scheduler.timesteps),
        "initNoiseSigma": round_all([scheduler.init_noise_sigma])[0],
        "latents": [round_all(one) for one in told],
    }


def round_all(values) -> list:
    return [float(np.format_float_positional(float(value), precision=7, fractional=False)) for value in values]


def run_schedulers() -> list[dict]:
    cases = []
    for config, counts in configurations():
        for steps in counts:
            cases.append(run_one(config, steps, 0))
        if steps > 2:
            cases.append(run_one(config, steps, steps // 2))
    return cases
