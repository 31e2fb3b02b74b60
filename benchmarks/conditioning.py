"""How biased is each method of conditioning? Three tables for docs/conditioning.md.

    python -m benchmarks.conditioning --samples 4000

Table 1: a Gaussian of 8 correlated numbers (a squared exponential of length 2, 5 % white) seen
through a mask (numbers 0, 2, 5) or as means of pairs. Its posterior is known: errors are the
distance of the means over sqrt(trace C), and |covariance - C| / |C| (Frobenius), in per cent.
Table 2: a mixture of three Gaussians in the plane, seen through x + y / 2 with noise 0.5: largest
error of a mode's weight, and the two errors above.
Table 3: 64 test digits through the built-in network: root mean square error of one sample each,
in [-1, 1], 50 steps of DDPM, the class given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.table import at_least_one
from pydiff import data, sample, schedules
from pydiff.diffusion import Denoiser
from pydiff.diffusion.conditioning import DDNM, MomentMatching, Observation, PiGDM
from pydiff.diffusion.operators import AveragePool, Blur, Mask, Matrix
from pydiff.pipelines import builtin
from pydiff.samplers import DDPM, DPS, MCG, RePaint, Replacement, TwistedSMC
from pydiff.testing.oracles import GaussianMixture

SCHEDULE = schedules.linear()
STEPS = DDPM("fixed_large")
GAUSSIAN = GaussianMixture(
    [np.zeros(8)],
    [
        (np.exp(-(np.subtract.outer(np.arange(8), np.arange(8)) ** 2) / 8.0) + 0.05 * np.eye(8))
        / 1.05
    ],
)
MIXTURE = GaussianMixture(
    [[2.0, 0.5], [-1.0, 1.0], [0.0, -2.0]],
    [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.3]], [[0.2, -0.1], [-0.1, 0.1]]],
    [0.5, 0.3, 0.2],
)
SEEN = np.isin(np.arange(8), (0, 2, 5))
PAIRS = np.kron(np.eye(4), [0.5, 0.5])

Run = Callable[[Any, Observation], "tuple[Any, Any]"]  # -> denoiser, sampler
METHODS: dict[str, Run] = {
    "MomentMatching": lambda d, o: (MomentMatching(d, o, tolerance=1e-6), STEPS),
    "TwistedSMC": lambda d, o: (d, TwistedSMC(o)),
    "PiGDM": lambda d, o: (PiGDM(d, o), STEPS),
    "DDNM": lambda d, o: (DDNM(d, o), STEPS),
    "DPS, scale 0.1": lambda d, o: (d, DPS(o, STEPS, 0.1)),
    "DPS, scale 0.3": lambda d, o: (d, DPS(o, STEPS, 0.3)),
    "DPS, scale 1": lambda d, o: (d, DPS(o, STEPS, 1.0)),
    "Replacement": lambda d, o: (d, Replacement(o, STEPS)),
    "RePaint, 10 and 10": lambda d, o: (d, RePaint(o, STEPS)),
    "MCG, scale 0.1": lambda d, o: (d, MCG(o, STEPS, 0.1)),
    "MCG, scale 0.3": lambda d, o: (d, MCG(o, STEPS, 0.3)),
}
EXACT_ONLY = ("Replacement", "RePaint", "MCG")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conditioning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--samples", type=at_least_one, default=4000, help="default 4000")
    parser.add_argument("--steps", type=at_least_one, default=200, help="default 200")
    options = parser.parse_args(argv)
    print(gaussian_table(options.samples, options.steps), end="\n\n")
    print(mixture_table(options.samples, options.steps), end="\n\n")
    print(digits_table(64))
    return 0


def gaussian_table(samples: int, steps: int) -> str:
    truth = GAUSSIAN.sample(1, seed=5)
    columns = [
        ("mask", Observation(Mask(SEEN), truth), GAUSSIAN.posterior(SEEN, truth)),
        (
            "mask, noise 0.3",
            Observation(Mask(SEEN), truth, 0.3),
            GAUSSIAN.posterior(SEEN, truth, 0.3),
        ),
        (
            "means of pairs",
            Observation(Matrix(PAIRS), truth @ PAIRS.T),
            GAUSSIAN.posterior(PAIRS, truth @ PAIRS.T),
        ),
    ]
    header = ["method", *(f"{name}: {what}" for name, _, _ in columns for what in ("mean", "cov"))]
    rows = []
    for name, method in {"exact E[x0 given xt, y]": None, **METHODS}.items():
        cells = [name]
        for _, observation, posterior in columns:
            if method is not None and name.startswith(EXACT_ONLY) and observation.noise_std > 0.0:
                cells += ["-", "-"]
                continue
            x = drawn(method, GAUSSIAN, posterior, observation, samples, steps)
            cells += [f"{100 * error:.1f}" for error in errors(x, posterior)]
        rows.append(cells)
    return markdown(header, rows)


def mixture_table(samples: int, steps: int) -> str:
    a, y = np.array([[1.0, 0.5]]), np.array([[0.4]])
    observation, posterior = Observation(Matrix(a), y, 0.5), MIXTURE.posterior(a, y, 0.5)
    rows = []
    for name, method in {"exact E[x0 given xt, y]": None, **METHODS}.items():
        if name.startswith(EXACT_ONLY):
            continue
        x = drawn(method, MIXTURE, posterior, observation, samples, steps)
        shares = np.exp(posterior.log_component(x, 1.0, 0.05)).mean(1)
        figures = (np.abs(shares - posterior.weights).max(), *errors(x, posterior))
        rows.append([name, *(f"{100 * figure:.1f}" for figure in figures)])
    return markdown(["method", "mode weights", "mean", "cov"], rows)


def digits_table(images: int) -> str:
    x, labels = (array[:images] for array in data.digits("test"))
    pipe = builtin.digits()
    schedule = pipe.denoiser(labels).schedule
    denoiser = Denoiser(lambda v, t: pipe.model(v, t, class_labels=labels), schedule, clip=1.0)
    left = Mask(np.arange(8)[None, :, None] < 4)
    columns = [
        ("left half", left, 0.0),
        ("2 x 2 means", AveragePool(2), 0.0),
        ("2 x 2 means, noise 0.1", AveragePool(2), 0.1),
        ("3 x 3 blur, noise 0.05", Blur(np.full((3, 3), 1 / 9), "zero"), 0.05),
    ]
    seen = []
    for _, operator, noise in columns:
        y = operator.apply(x)
        n = np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype)
        seen.append(Observation(operator, y + y.dtype.type(noise) * n, noise))
    rows = []
    for name, method in METHODS.items():
        if name == "TwistedSMC":  # all of its particles belong to one y
            continue
        cells = [name]
        for observation in seen:
            if name.startswith(EXACT_ONLY) and observation.noise_std > 0.0:
                cells.append("-")
                continue
            conditioned, sampler = method(denoiser, observation)
            z = sample(conditioned, x.shape, sampler=sampler, steps=50, spacing="trailing")
            cells.append(f"{np.sqrt(((z - x) ** 2).mean()):.3f}")
        rows.append(cells)
    return markdown(["method", *(name for name, _, _ in columns)], rows)


def drawn(
    method: Run | None,
    prior: GaussianMixture,
    posterior: GaussianMixture,
    observation: Observation,
    samples: int,
    steps: int,
) -> np.ndarray:
    if method is None:
        denoiser, sampler = posterior.denoiser(SCHEDULE), STEPS
    else:
        denoiser, sampler = method(prior.denoiser(SCHEDULE), observation)
    shape = (samples, prior.dimension)
    return sample(denoiser, shape, sampler=sampler, steps=steps, spacing="trailing")


def errors(x: np.ndarray, posterior: GaussianMixture) -> tuple[float, float]:
    """Of the mean, in standard deviations; of the covariance, relative."""
    mean, covariance = posterior.moments()
    offset = np.linalg.norm(x.mean(0) - mean) / np.sqrt(np.trace(covariance))
    spread = np.linalg.norm(np.cov(x.T) - covariance) / np.linalg.norm(covariance)
    return float(offset), float(spread)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
