"""The configs that are run beside diffusers: class, options, and arguments of `step`."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

STEPS = (5, 20, 50)


class Case(NamedTuple):
    """config: of from_config; options: of the sampler, which diffusers takes in `step`."""

    config: dict[str, Any]
    compatible: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    mu: float | None = None

    @property
    def name(self) -> str:
        values = {**self.config, **self.options}
        parts = [f"{key}={value}" for key, value in values.items() if key[0] != "_"]
        flags = ["compatible"] if self.compatible else []
        text = "-".join([self.config["_class_name"].removesuffix("Scheduler"), *parts, *flags])
        return text if len(text) < 160 else text[:160]


def _case(name: str, _compatible: bool = False, **config: Any) -> Case:
    return Case({"_class_name": f"{name}Scheduler", **config}, _compatible)


def _product(name: str, _compatible: bool = False, **axes: tuple[Any, ...]) -> list[Case]:
    return [
        _case(name, _compatible, **dict(zip(axes, values, strict=True)))
        for values in product(*axes.values())
    ]


BOTH = (True, False)
SPACINGS = ("linspace", "leading", "trailing")
TWO = ("epsilon", "v_prediction")
THREE = ("epsilon", "v_prediction", "sample")
LEVELS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
FLOW_MODEL = {"use_flow_sigmas": (True,), "prediction_type": ("flow_prediction",)}
TRAINED = {"trained_betas": np.linspace(1e-4, 0.05, 300).tolist(), "num_train_timesteps": 300}


def _levels(name: str, **config: Any) -> list[Case]:
    return [_case(name, **{key: True}, **config) for key in LEVELS]


DDPM = [
    *_product("DDPM", timestep_spacing=SPACINGS, prediction_type=THREE, clip_sample=BOTH),
    *_product("DDPM", variance_type=("fixed_large", "fixed_small_log", "learned", "learned_range")),
    *_product(
        "DDPM", True, timestep_spacing=("trailing",), variance_type=("fixed_large", "fixed_small")
    ),
    _case("DDPM", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5),
    _case("DDPM", timestep_spacing="trailing", **ZERO_SNR),
    _case("DDPM", beta_schedule="sigmoid"),
    _case("DDPM", beta_schedule="laplace"),
]
DDIM = [
    *_product("DDIM", timestep_spacing=("leading", "trailing"), prediction_type=THREE),
    *_product("DDIM", set_alpha_to_one=BOTH, steps_offset=(0, 1), clip_sample=BOTH),
    *_product("DDIM", True, timestep_spacing=SPACINGS, num_train_timesteps=(1000, 981)),
    *(Case({"_class_name": "DDIMScheduler"}, options={"eta": eta}) for eta in (0.4, 1.0)),
    _case("DDIM", thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=2.0),
    _case("DDIM", timestep_spacing="trailing", **ZERO_SNR),
    _case("DDIM", **STABLE_DIFFUSION),
]
# at clean data diffusers' prediction_type "sample" divides by 0, so set_alpha_to_one is false there
DDIM_INVERSE = [
    *_product("DDIMInverse", timestep_spacing=("leading", "trailing"), prediction_type=TWO),
    *_product("DDIMInverse", set_alpha_to_one=(False,), prediction_type=THREE, steps_offset=(0, 1)),
    *_product("DDIMInverse", clip_sample=BOTH, clip_sample_range=(0.5, 2.0)),
    *_product(
        "DDIMInverse", True, num_train_timesteps=(981,), timestep_spacing=("leading", "trailing")
    ),
]
CONSISTENCY = [
    case
    for name in ("LCM", "TCD")
    for case in (
        *_product(name, prediction_type=THREE, clip_sample=BOTH),
        *_product(name, original_inference_steps=(50, 100), timestep_scaling=(10.0, 0.001)),
        _case(name, **ZERO_SNR),
    )
] + [
    *(Case({"_class_name": "TCDScheduler"}, options={"eta": eta}) for eta in (0.0, 0.5, 1.0)),
    _case("LCM", thresholding=True, sample_max_value=1.2),
]
EULER = [
    *_product("EulerDiscrete", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_levels("EulerDiscrete"),
    *_levels("EulerDiscrete", sigma_min=0.1, sigma_max=8.0),
    *_product("EulerDiscrete", final_sigmas_type=("sigma_min",), timestep_spacing=SPACINGS),
    *_levels("EulerDiscrete", final_sigmas_type="sigma_min"),
    _case("EulerDiscrete", interpolation_type="log_linear"),
    _case("EulerDiscrete", interpolation_type="log_linear", use_karras_sigmas=True),
    *_product(
        "EulerDiscrete", timestep_type=("continuous",), prediction_type=TWO, use_karras_sigmas=BOTH
    ),
    _case("EulerDiscrete", timestep_spacing="trailing", **ZERO_SNR),
    _case("EulerDiscrete", timestep_spacing="leading", steps_offset=1, **STABLE_DIFFUSION),
    _case("EulerDiscrete", beta_schedule="squaredcos_cap_v2"),
    _case("EulerDiscrete", **TRAINED),
]
EULER_ANCESTRAL = [
    *_product("EulerAncestralDiscrete", timestep_spacing=SPACINGS, prediction_type=TWO),
    _case("EulerAncestralDiscrete", **ZERO_SNR),
    _case("EulerAncestralDiscrete", timestep_spacing="leading", steps_offset=1, **STABLE_DIFFUSION),
]
HEUN = [
    *_product("HeunDiscrete", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_levels("HeunDiscrete"),
    *_product("HeunDiscrete", clip_sample=(True,), clip_sample_range=(0.4, 1.0)),
    _case("HeunDiscrete", beta_schedule="exp"),
]
DPM2 = [
    case
    for name in ("KDPM2Discrete", "KDPM2AncestralDiscrete")
    for case in (
        *_product(name, timestep_spacing=SPACINGS, prediction_type=TWO),
        *_levels(name),
        _case(name, timestep_spacing="leading", steps_offset=1, **STABLE_DIFFUSION),
    )
]
LMS = [
    *_product("LMSDiscrete", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_levels("LMSDiscrete"),
    _case("LMSDiscrete", **STABLE_DIFFUSION),
]
DPM_SDE = [
    *_product("DPMSolverSDE", timestep_spacing=SPACINGS, prediction_type=TWO),
    *_levels("DPMSolverSDE"),
    Case(
        {"_class_name": "DPMSolverSDEScheduler", "noise_sampler_seed": 3}, options={"s_noise": 0.7}
    ),
]
EDM = [
    *_product(
        "EDMEuler",
        prediction_type=TWO,
        sigma_schedule=("karras", "exponential"),
        final_sigmas_type=("zero", "sigma_min"),
    ),
    _case("EDMEuler", sigma_min=0.01, sigma_max=50.0, sigma_data=0.7, rho=5.0),
]
FLOW = [
    *_product("FlowMatchEulerDiscrete", shift=(1.0, 3.0), stochastic_sampling=BOTH),
    *_product("FlowMatchEulerDiscrete", shift_terminal=(None, 0.1), invert_sigmas=BOTH),
    *_levels("FlowMatchEulerDiscrete", shift=3.0),
    *(
        Case(
            {
                "_class_name": "FlowMatchEulerDiscreteScheduler",
                "use_dynamic_shifting": True,
                "time_shift_type": kind,
            },
            mu=0.9,
        )
        for kind in ("exponential", "linear")
    ),
]
VE = _product("ScoreSdeVe", correct_steps=(0, 1, 2), snr=(0.15, 0.3), sigma_max=(50.0, 1348.0))

MULTISTEP = [
    *_product(
        "DPMSolverMultistep",
        solver_order=(1, 2, 3),
        algorithm_type=("dpmsolver++", "sde-dpmsolver++"),
        solver_type=("midpoint", "heun"),
    ),
    *_product("DPMSolverMultistep", lower_order_final=BOTH, euler_at_final=BOTH, solver_order=(3,)),
    *_product(
        "DPMSolverMultistep",
        algorithm_type=("dpmsolver",),
        final_sigmas_type=("sigma_min",),
        solver_order=(1, 2, 3),
        solver_type=("midpoint", "heun"),
    ),
    *_product(
        "DPMSolverMultistep",
        algorithm_type=("sde-dpmsolver",),
        final_sigmas_type=("sigma_min",),
        solver_order=(1, 2),
        solver_type=("midpoint", "heun"),
    ),
    *_product("DPMSolverMultistep", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_product("DPMSolverMultistep", timestep_spacing=SPACINGS, final_sigmas_type=("sigma_min",)),
    *_levels("DPMSolverMultistep"),
    _case("DPMSolverMultistep", use_lu_lambdas=True),
    _case("DPMSolverMultistep", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1),
    *_product("DPMSolverMultistep", flow_shift=(1.0, 3.0), **FLOW_MODEL),
    _case("DPMSolverMultistep", thresholding=True, sample_max_value=1.5),
    _case("DPMSolverMultistep", variance_type="learned_range"),
    _case("DPMSolverMultistep", timestep_spacing="trailing", **ZERO_SNR),
]
UNIPC = [
    *_product(
        "UniPCMultistep",
        solver_order=(1, 2, 3),
        solver_type=("bh1", "bh2"),
        predict_x0=BOTH,
        final_sigmas_type=("sigma_min",),  # else diffusers comes to NaN, but for bh2 and x_0
        timestep_spacing=("trailing",),
    ),
    *_product("UniPCMultistep", solver_order=(1, 2, 3)),
    *_product("UniPCMultistep", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_product("UniPCMultistep", final_sigmas_type=("sigma_min",), solver_order=(2, 3)),
    *_product("UniPCMultistep", disable_corrector=([0], [0, 1, 3]), solver_order=(2, 3)),
    *_product(
        "UniPCMultistep",
        lower_order_final=(False,),
        final_sigmas_type=("sigma_min",),
        timestep_spacing=("trailing",),
    ),
    *_levels("UniPCMultistep"),
    *_levels("UniPCMultistep", final_sigmas_type="sigma_min"),
    *_product(
        "UniPCMultistep",
        flow_shift=(1.0, 3.0),
        shift_terminal=(None, 0.1),
        final_sigmas_type=("zero", "sigma_min"),
        **FLOW_MODEL,
    ),
    *_product("UniPCMultistep", use_karras_sigmas=(True,), **FLOW_MODEL),
    _case("UniPCMultistep", thresholding=True, sample_max_value=1.5),
    _case("UniPCMultistep", timestep_spacing="trailing", **ZERO_SNR),
]
DEIS = [
    *_product("DEISMultistep", solver_order=(1, 2, 3), lower_order_final=BOTH),
    *_product("DEISMultistep", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_levels("DEISMultistep"),
    *_product("DEISMultistep", flow_shift=(1.0, 3.0), **FLOW_MODEL),
    _case("DEISMultistep", thresholding=True, sample_max_value=1.5),
]
EDM_DPM = [
    *_product("EDMDPMSolverMultistep", solver_order=(1, 2, 3), solver_type=("midpoint", "heun")),
    *_product(
        "EDMDPMSolverMultistep",
        algorithm_type=("sde-dpmsolver++",),
        solver_order=(1, 2),
        prediction_type=TWO,
    ),
    *_product(
        "EDMDPMSolverMultistep",
        final_sigmas_type=("zero", "sigma_min"),
        sigma_schedule=("karras", "exponential"),
    ),
    _case("EDMDPMSolverMultistep", thresholding=True, euler_at_final=True, sigma_data=0.7),
]

SINGLESTEP = [
    *_product(
        "DPMSolverSinglestep",
        solver_order=(1, 2, 3),
        algorithm_type=("dpmsolver++", "sde-dpmsolver++"),
        solver_type=("midpoint", "heun"),
    ),
    *_product(
        "DPMSolverSinglestep",
        solver_order=(1, 2, 3),
        algorithm_type=("dpmsolver", "dpmsolver++"),
        final_sigmas_type=("sigma_min",),
        lower_order_final=BOTH,
    ),
    *_product("DPMSolverSinglestep", prediction_type=THREE),
    *_levels("DPMSolverSinglestep"),
    _case("DPMSolverSinglestep", thresholding=True, sample_max_value=1.5),
]
SA = [
    *_product("SASolver", predictor_order=(1, 2, 3), corrector_order=(1, 2, 3)),
    *_product("SASolver", algorithm_type=("noise_prediction",), predictor_order=(1, 2, 3)),
    *_product("SASolver", timestep_spacing=SPACINGS, prediction_type=THREE),
    *_product("SASolver", lower_order_final=(False,), predictor_order=(2, 3)),
    *_levels("SASolver"),
    _case("SASolver", thresholding=True, sample_max_value=1.5),
]
IPNDM = [_case("IPNDM"), _case("IPNDM", num_train_timesteps=300)]
PNDM = [
    *_product(
        "PNDM",
        skip_prk_steps=BOTH,
        set_alpha_to_one=BOTH,
        prediction_type=("epsilon", "v_prediction"),
        steps_offset=(0, 1),
    ),
    *_product("PNDM", True, skip_prk_steps=BOTH, timestep_spacing=("leading", "trailing")),
    _case("PNDM", skip_prk_steps=True, **STABLE_DIFFUSION, steps_offset=1),
]

CASES = [
    *DDPM, *DDIM, *DDIM_INVERSE, *CONSISTENCY, *EULER, *EULER_ANCESTRAL, *HEUN, *DPM2, *LMS,
    *DPM_SDE, *EDM, *FLOW, *VE, *MULTISTEP, *UNIPC, *DEIS, *EDM_DPM, *SINGLESTEP, *SA, *IPNDM,
    *PNDM,
]  # fmt: skip
