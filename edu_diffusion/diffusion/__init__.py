"""The mathematics of diffusion. It knows no network: a denoiser may hold a U-Net or an exact formula.

Read in this order: schedule, process, prediction, denoiser, samplers (the one loop), timesteps, likelihood, losses,
guidance, exact, spacing, latents, editing.
"""

from edu_diffusion.diffusion.denoiser import Denoiser
from edu_diffusion.diffusion.editing import (
    Beside,
    check_mask,
    composite,
    holding,
    image_to_image,
    seam,
    shortened,
)
from edu_diffusion.diffusion.exact import exact_denoiser
from edu_diffusion.diffusion.guidance import (
    ClassifierFree,
    ClassifierGuided,
    ClipX0,
    DynamicThreshold,
    Interval,
    classifier_gradient,
)
from edu_diffusion.diffusion.latents import invert, slerp
from edu_diffusion.diffusion.likelihood import (
    Bits,
    bits_per_dim,
    bound_term,
    discretised_log_likelihood,
    normal_kl,
    prior_term,
)
from edu_diffusion.diffusion.losses import hybrid_loss, simple_loss, snr_weighting, vlb_loss
from edu_diffusion.diffusion.prediction import (
    EPS,
    FIXED_LARGE,
    FIXED_SMALL,
    LEARNED,
    X0,
    Prediction,
    Target,
    V,
    Variance,
)
from edu_diffusion.diffusion.process import posterior_weights, q_posterior, q_sample, q_step
from edu_diffusion.diffusion.samplers import Rule, Step, ancestral, ddim, dpm_pp, generate, sample
from edu_diffusion.diffusion.schedule import NoiseSchedule, cosine, from_betas, linear
from edu_diffusion.diffusion.spacing import even_in_log_snr, leading, quadratic, trailing
from edu_diffusion.diffusion.timesteps import LossAwareTimes, UniformTimes

__all__ = [
    "EPS",
    "FIXED_LARGE",
    "FIXED_SMALL",
    "LEARNED",
    "X0",
    "Beside",
    "Bits",
    "ClassifierFree",
    "ClassifierGuided",
    "ClipX0",
    "Denoiser",
    "DynamicThreshold",
    "Interval",
    "LossAwareTimes",
    "NoiseSchedule",
    "Prediction",
    "Rule",
    "Step",
    "Target",
    "UniformTimes",
    "V",
    "Variance",
    "ancestral",
    "bits_per_dim",
    "bound_term",
    "check_mask",
    "classifier_gradient",
    "composite",
    "cosine",
    "ddim",
    "discretised_log_likelihood",
    "dpm_pp",
    "even_in_log_snr",
    "exact_denoiser",
    "from_betas",
    "generate",
    "holding",
    "hybrid_loss",
    "image_to_image",
    "invert",
    "leading",
    "linear",
    "normal_kl",
    "posterior_weights",
    "prior_term",
    "q_posterior",
    "q_sample",
    "q_step",
    "quadratic",
    "sample",
    "seam",
    "shortened",
    "simple_loss",
    "slerp",
    "snr_weighting",
    "trailing",
    "vlb_loss",
]
