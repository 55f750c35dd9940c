"""The pipelines of diffusers on the small networks: what each step and the picture are."""

import types

import diffusers.models.autoencoders.vae as vae_module
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion as text_module
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img as image_module
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint as inpaint_module
import diffusers.schedulers.scheduling_lcm as lcm_module
import numpy as np
import torch
from diffusers import StableDiffusion3Img2ImgPipeline

from schedulers import STABLE, FlowForStableDiffusion, open_scheduler

SIDE = 32
DRAWS = 8
"""Numbers in one draw: two pictures of 10 x 8 latents."""
DRAW_LENGTH = 2 * 4 * 10 * 8
PROMPT = "a red boat on the sea"
NEGATIVE = "blurry, grey"

DDIM = {"_class_name": "DDIMScheduler", **STABLE, "clip_sample": False}
EULER = {"_class_name": "EulerDiscreteScheduler", **STABLE}
SOLVER = {"_class_name": "DPMSolverMultistepScheduler", **STABLE}
LCM = {"_class_name": "LCMScheduler", **STABLE}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
V = {"prediction_type": "v_prediction"}
ZERO = {**V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
KARRAS = {"use_karras_sigmas": True}

CONFIGURATIONS = {
    "ddim": [{**DDIM, **LEADING, "set_alpha_to_one": False}, {**DDIM, **ZERO}, {**DDIM, **V, "timestep_spacing": "linspace"}],
    "euler": [{**EULER, **LEADING}, {**EULER, **ZERO}, {**EULER, **V}, {**EULER, **KARRAS, "timestep_spacing": "trailing"}],
    "dpm-solver++": [{**SOLVER}, {**SOLVER, **LEADING, **V}, {**SOLVER, **ZERO}, {**SOLVER, **KARRAS}],
    "lcm": [{**LCM}, {**LCM, **V}],
    "flow-match-euler": [{**FLOW, "shift": 1.0}, {**FLOW, "shift": 3.0}, {**FLOW, "use_dynamic_shifting": True}],
}
STEPS = {"ddim": 6, "euler": 6, "dpm-solver++": 6, "lcm": 4, "flow-match-euler": 6}


def list_cases() -> list[dict]:
    cases = []

    def add(name, config, mode, **more):
        given = {"guidance": 7.5, "pictures": 1, "strength": 1.0, "unet": "plain", "width": SIDE, "height": SIDE, **more}
        steps = given.pop("steps", STEPS[name])
        cases.append({"scheduler": name, "config": config, "mode": mode, "steps": steps, **given})

    for name, configs in CONFIGURATIONS.items():
        for config in configs:
            add(name, config, "text-to-image")
            add(name, config, "image-to-image", strength=0.7)
            add(name, config, "inpainting", strength=0.8)
        first, second = configs[:2]
        add(name, first, "text-to-image", guidance=1.0, pictures=2)
        add(name, second, "text-to-image", pictures=2, width=40)
        add(name, first, "image-to-image", guidance=1.0, strength=1.0)
        add(name, first, "inpainting", strength=1.0, pictures=2)
        add(name, second, "inpainting", guidance=1.0, strength=0.5)
        add(name, first, "inpainting", strength=1.0, unet="inpainting")
        add(name, second, "inpainting", strength=0.6, unet="inpainting", pictures=2)
    add("dpm-solver++", SOLVER, "text-to-image", steps=16)
    add("lcm", LCM, "text-to-image", guidance=8.0, unet="guidance")
    add("lcm", LCM, "image-to-image", guidance=8.0, strength=0.5, unet="guidance")
    return cases


def make_inputs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(6)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    waves = [np.sin(7 * x + 3 * y), np.cos(5 * y), np.sin(9 * x * y)]
    picture = np.stack(waves, axis=-1) * 100 + 128
    # Grey levels on both sides of the threshold.
    mask = np.clip(((x - 0.5) ** 2 + (y - 0.4) ** 2) * -1200 + 220, 0, 255)
    return {
        "noise": random.standard_normal((DRAWS, DRAW_LENGTH)).astype(np.float32),
        "picture": picture.astype(np.uint8),
        "mask": mask.astype(np.uint8),
    }


class Draws:
    """Stands for `randn_tensor`: the stored noise, one draw after the other."""

    def __init__(self, noise: np.ndarray):
        self.noise = noise
        self.at = 0

    def __call__(self, shape, **_):
        draw = self.noise[self.at][: int(np.prod(shape))]
        self.at += 1
        return torch.from_numpy(draw.reshape(tuple(shape)).copy())


def use_noise(noise: np.ndarray) -> None:
    draws = Draws(noise)
    for module in (text_module, image_module, inpaint_module, lcm_module):
        module.randn_tensor = draws
    # A picture is encoded to the mean: our pipeline draws no sample of its latents.
    vae_module.DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()


def open_pipeline(networks: dict, case: dict):
    kinds = {
        "text-to-image": text_module.StableDiffusionPipeline,
        "image-to-image": image_module.StableDiffusionImg2ImgPipeline,
        "inpainting": inpaint_module.StableDiffusionInpaintPipeline,
    }
    scheduler = open_scheduler(case["config"])
    pipeline = kinds[case["mode"]](
        vae=networks["vae"],
        text_encoder=networks["text_encoder"],
        tokenizer=networks["tokenizer"],
        unet=networks["unets"][case["unet"]],
        scheduler=open_scheduler(case["config"]),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    # Set afterwards: the constructor changes steps_offset and clip_sample of what it is given.
    pipeline.scheduler = scheduler
    if isinstance(scheduler, FlowForStableDiffusion):
        scheduler.latents_of_picture = case["width"] * case["height"] // 16
        # Stable Diffusion 3 is the pipeline that this scheduler belongs to; it counts steps in its own way.
        pipeline.get_timesteps = types.MethodType(StableDiffusion3Img2ImgPipeline.get_timesteps, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_case(networks: dict, inputs: dict, case: dict) -> dict[str, np.ndarray]:
    use_noise(inputs["noise"])
    pipeline = open_pipeline(networks, case)
    steps = []

    def keep(_pipeline, _index, _timestep, values):
        steps.append(values["latents"].numpy().copy())
        return values

    given = {
        "prompt": [PROMPT] * case["pictures"],
        "negative_prompt": [NEGATIVE] * case["pictures"],
        "num_inference_steps": case["steps"],
        "guidance_scale": case["guidance"],
        "output_type": "pt",
        "callback_on_step_end": keep,
    }
    picture = torch.from_numpy(inputs["picture"]).permute(2, 0, 1)[None] / 255
    if case["mode"] == "image-to-image":
        given.update(image=picture.repeat(case["pictures"], 1, 1, 1), strength=case["strength"])
    else:
        given.update(width=case["width"], height=case["height"])
    if case["mode"] == "inpainting":
        mask = torch.from_numpy(inputs["mask"])[None, None] / 255
        given.update(image=picture, mask_image=mask, strength=case["strength"])
    with torch.no_grad():
        images = pipeline(**given).images
    return {
        "latents": np.stack(steps).astype(np.float32),
        "images": np.round(images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8),
    }
