"""Make the built-in digits model: train, judge, and write pydiff/pipelines/digits/.

    python tools/train_digits.py --run /tmp/digits            # takes minutes; goes on if stopped
    python tools/train_digits.py --run /tmp/digits --judge    # only measure what is there

Weights are stored as float16, which halves the file and moves no pixel by more than the measured
difference that is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pydiff import data, schedules
from pydiff.cli.presets import unet_config
from pydiff.io import save_grid
from pydiff.nn import UNet2D
from pydiff.pipelines import Pipeline
from pydiff.training import TrainConfig, Trainer

TARGET = Path(__file__).parents[1] / "pydiff" / "pipelines" / "digits"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
CONFIG = TrainConfig(
    steps=4000,
    batch_size=128,
    lr=2e-3,
    lr_schedule="cosine",
    ema_decay=0.999,
    class_conditional=True,
    log_every=20,
    checkpoint_every=250,
)
DROPOUT = 0.1  # 1,500 images are few: less of them is learned by heart


def train(folder: Path) -> Trainer:
    """Train to the end, going on from a checkpoint if there is one."""
    model = UNet2D(seed=0, **unet_config("small", (8, 8, 1), 10, DROPOUT))
    trainer = Trainer(model, schedules.cosine(), data.digits("train"), config=CONFIG, folder=folder)
    if (folder / "checkpoints").is_dir():
        print(f"resumed at step {trainer.resume()}")
    trainer.train(progress=True)
    print(f"{CONFIG.steps} steps in {trainer.seconds:.0f} s")
    return trainer


def write(pipeline: Pipeline, target: Path) -> None:
    """Save the pipeline with weights in half precision."""
    from safetensors.numpy import save_file

    pipeline.save_pretrained(target)
    state = pipeline.model.state_dict()
    half = {name: np.ascontiguousarray(array, np.float16) for name, array in state.items()}
    save_file(half, target / WEIGHTS, metadata={"format": "pt"})
    (target / WEIGHTS).chmod(0o644)  # safetensors leaves 0600


def judge(pipeline: Pipeline, count: int = 1000) -> None:
    """Does a digit look like what was asked for, and is it new?"""
    labels = np.arange(count) % 10
    train, test = data.digits("train"), data.digits("test")
    print(f"3-NN by test digits is right on {share(test, *train):.1%} of the real training digits, "
          f"by training digits on {share(train, *test):.1%} of the test digits")  # fmt: skip
    for sampler, steps in (("ddim", 50), ("ddpm", 250)):
        images = pipeline(count, steps, sampler, seed=1, batch_size=250) * 2 - 1
        print(f"{sampler} {steps}, {count} images: requested digit recognised by test digits "
              f"{share(test, images, labels):.1%}, by training digits "
              f"{share(train, images, labels):.1%}; "
              f"nearest training digit at {gap(images, train[0])}")  # fmt: skip
    print(f"nearest training digit of test digits at {gap(test[0], train[0])}, "
          f"of other training digits at {gap(train[0], train[0], 1)}")  # fmt: skip


def share(
    reference: tuple[np.ndarray, np.ndarray], images: np.ndarray, labels: np.ndarray
) -> float:
    """How often three nearest neighbours see the label."""
    return float((nearest(*reference, images) == labels).mean())


def gap(images: np.ndarray, known: np.ndarray, skip: int = 0) -> str:
    """Distances to the nearest known image; skip = 1 leaves out an image itself."""
    nearest = np.sqrt(np.sort(distances(images, known), axis=1)[:, skip])
    return f"{nearest.mean():.2f} (mean), {nearest.min():.2f} (least)"


def nearest(reference: np.ndarray, labels: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The majority label of the three nearest reference images."""
    votes = labels[np.argsort(distances(images, reference), axis=1)[:, :3]]
    return np.array([np.bincount(row, minlength=10).argmax() for row in votes])


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (len(a), len(b)) of images."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return ((a[:, None] - b[None]) ** 2).sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--judge", action="store_true", help="do not train")
    args = parser.parse_args()
    if not args.judge:
        trainer = train(args.run)
        full = Pipeline(trainer.averaged_model(), trainer.schedule, spacing="trailing")
        write(full, TARGET)
        difference = np.abs(full(20, seed=1) - Pipeline.from_pretrained(TARGET)(20, seed=1)).max()
        print(f"float16 weights: largest change of a pixel {difference:.4f}")
    pipeline = Pipeline.from_pretrained(TARGET)
    judge(pipeline)
    for sampler, steps in (("ddim", 50), ("ddpm", 250)):
        images = pipeline(100, steps, sampler, seed=0, batch_size=100)
        save_grid(images, args.run / f"{sampler}.png", columns=10, scale=6)
    print(f"model hash {pipeline.model_hash()}, {(TARGET / WEIGHTS).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
