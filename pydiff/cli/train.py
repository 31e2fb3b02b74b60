"""`pydiff train`: a model from your own images, stopped and resumed at will."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .report import Report

HELP = "train a model on digits, a folder of images, or a .npz file"
DESCRIPTION = """\
Train a diffusion model. OUT becomes a folder that `pydiff sample` and diffusers load (averaged
weights), and holds metrics.jsonl, loss.png, samples/ and checkpoints/ (the last two).

Ctrl-C saves a checkpoint; --resume goes on bitwise as if nothing had happened, also after a kill
or a power failure. With --resume only --steps and the *-every options may change.
"""
EPILOG = """\
examples:
  pydiff train --data digits --labels --out run
  pydiff train --data photos/ --size 64 --model medium --steps 100000 --out run
  pydiff train --schedule flow --prediction flow --times logit_normal --out run
  pydiff train --schedule edm --prediction sample --sigma-data 0.5 --loss-weight edm \\
    --times lognormal --out run
  pydiff train --resume --out run
"""

# name: (type, default, help); the defaults apply where neither the command line nor, with
# --resume, the earlier run says otherwise.
DATA_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "data": (str, "digits", "digits, a folder of images, or a .npz/.npy file"),
    "size": (int, 32, "folders: images are cut and resized to this square"),
    "channels": (int, 3, "folders: 1 (grey) or 3 (RGB)"),
    "model": (str, "small", "small (0.7 M), medium (15 M) or cifar10 (36 M parameters)"),
    "config": (str, None, "JSON file with a U-Net configuration, in place of --model"),
    "schedule": (
        str,
        "squaredcos_cap_v2",
        "linear, scaled_linear, squaredcos_cap_v2, ...; flow; edm",
    ),
    "timesteps": (int, 1000, "length of the noise schedule, but of flow and edm"),
    "dropout": (float, 0.0, "dropout of the residual blocks"),
}
TRAIN_OPTIONS: dict[str, tuple[Any, str]] = {
    "steps": (int, "optimiser steps in all"),
    "batch_size": (int, "images per forward pass"),
    "grad_accumulation": (int, "forward passes per optimiser step"),
    "prediction": (str, "epsilon, sample or v_prediction; for --schedule flow: flow"),
    "objective": (str, "mse, hybrid or vlb (which learn the variance), or sliced"),
    "loss_weight": (str, "of mse and hybrid: simple, min_snr, p2, ncsn, edm or likelihood"),
    "times": (str, "uniform, low_discrepancy, log_snr, logit_normal, lognormal or resampled"),
    "sigma_data": (float, "of the data, for EDM's preconditioning; for --schedule edm"),
    "lr": (float, "peak learning rate of AdamW"),
    "warmup_steps": (int, "linear warm-up"),
    "lr_schedule": (str, "constant, cosine or linear"),
    "weight_decay": (float, "decoupled weight decay"),
    "max_grad_norm": (float, "clip the gradient to this norm"),
    "ema_decay": (float, "decay of the averaged weights"),
    "seed": (int, "of everything random"),
    "log_every": (int, "steps between lines of metrics.jsonl"),
    "checkpoint_every": (int, "steps between checkpoints"),
    "sample_every": (int, "steps between sample sheets; 0: none"),
}
CONTINUOUS = ("flow", "edm")  # of pydiff.schedules: those that diffusers can sample
FLAGS = {"labels": "train class-conditionally", "horizontal_flip": "mirror images at random"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ..training.config import TrainConfig

    defaults = TrainConfig()
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="discard an earlier run in OUT")
    for name, (kind, default, text) in DATA_OPTIONS.items():
        shown = "" if default is None else f" (default {default})"
        parser.add_argument(_option(name), type=kind, help=text + shown)
    for name, text in FLAGS.items():
        parser.add_argument(_option(name), action="store_true", default=None, help=text)
    for name, (kind, text) in TRAIN_OPTIONS.items():
        shown = f" (default {getattr(defaults, name)})"
        parser.add_argument(_option(name), type=kind, help=text + shown)


def run(args: argparse.Namespace, report: Report) -> int:
    from ..io import write_config
    from ..training import clear_run

    out = Path(args.out)
    settings = _settings(args, out)
    if args.overwrite and not args.resume:
        clear_run(out)
    trainer = build(settings, out, report)
    if args.resume:
        report.note(f"resumed at step {trainer.resume()}")
    else:
        trainer.check_folder()
    write_config(out / "train.json", settings)
    try:
        trainer.train(progress=False if args.json else None)
    except KeyboardInterrupt:
        report.note(f"saved step {trainer.step}; go on with: pydiff train --resume --out {out}")
        raise
    finish(trainer, out, report)
    return 0


def build(settings: dict[str, Any], out: Path, report: Report) -> Any:
    """The trainer that these settings describe; ConfigError for what does not fit."""
    from ..nn import UNet2D
    from ..training import TrainConfig, Trainer

    images, labels = load_data(settings, report)
    config = TrainConfig.from_dict(
        {
            **{name: settings[name] for name in TRAIN_OPTIONS},
            "horizontal_flip": settings["horizontal_flip"],
            "class_conditional": settings["labels"],
        }
    )
    schedule = _schedule(settings["schedule"], settings["timesteps"])
    scheduler_of(schedule, config)  # what could not be saved is not trained
    data = images if labels is None else (images, labels)
    network = _model_config(settings, images, labels)
    if config.learns_variance and settings["config"] is None:
        network["out_channels"] *= 2
    model = UNet2D(seed=config.seed, **network)
    report.note(f"{len(images)} images {images.shape[1:]}, {model.num_parameters():,} parameters")
    return Trainer(model, schedule, data, config=config, folder=out)


def _schedule(name: str, length: int) -> Any:
    from ..diffusion import schedules
    from ..errors import ConfigError

    if name in CONTINUOUS:
        return getattr(schedules, name)()
    if name not in schedules.SCHEDULES:
        known = ", ".join((*schedules.SCHEDULES, *CONTINUOUS))
        raise ConfigError(f"schedule = {name!r}; known: {known}")
    return schedules.from_config({"beta_schedule": name, "num_train_timesteps": length})


def scheduler_of(schedule: Any, config: Any) -> Any:
    """The scheduler to sample with what was trained so; ConfigError if there is none."""
    from ..pipelines.scheduler_config import scheduler_for

    return scheduler_for(
        schedule,
        prediction=config.prediction,
        spacing="trailing",
        variance="learned_range" if config.learns_variance else "fixed_small",
        sigma_data=config.sigma_data,
    )


def finish(trainer: Any, out: Path, report: Report) -> None:
    """Write the pipeline with the averaged weights and the loss curve, and say where."""
    from ..pipelines import Pipeline

    scheduler = scheduler_of(trainer.schedule, trainer.config)
    pipeline = Pipeline(trainer.averaged_model(), scheduler)
    pipeline.save_pretrained(out)
    curve = trainer.draw_loss_curve()
    records = trainer.metrics.read()
    loss = records[-1]["loss"] if records else None
    report.line(f"{trainer.step} steps in {trainer.seconds:.1f} s, loss {loss}")
    report.line(f"model: {out} (pydiff sample {out})")
    report.result(
        {
            "steps": trainer.step,
            "seconds": trainer.seconds,
            "loss": loss,
            "model_hash": pipeline.model_hash(),
            "out": out,
            "loss_curve": curve,
        }
    )


def load_data(settings: dict[str, Any], report: Report) -> tuple[Any, Any]:
    """(images, labels or None) of `settings["data"]`."""
    from .. import data

    source, labelled = settings["data"], settings["labels"]
    if source == "digits":
        images, classes = data.digits("train")
        return images, classes if labelled else None
    if Path(source).suffix in (".npz", ".npy"):
        key = "images" if labelled else None
        labels = data.load_array(source, "labels") if labelled else None
        return data.arrays(source, key), labels
    folder = data.folder(source, settings["size"], settings["channels"], labels=labelled)
    for path, reason in folder.skipped:
        report.note(f"skipped {path}: {reason}")
    return folder.images, folder.labels


def _model_config(settings: dict[str, Any], images: Any, labels: Any) -> dict[str, Any]:
    from ..io import read_config
    from .presets import unet_config

    classes = None if labels is None else int(labels.max()) + 1
    if settings["config"] is None:
        return unet_config(settings["model"], images.shape[1:], classes, settings["dropout"])
    config = read_config(settings["config"])
    if classes is not None:
        config.setdefault("num_class_embeds", classes)
    config.setdefault("sample_size", list(images.shape[1:3]))
    return config


def _settings(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Defaults, under those of the run that is resumed, under the command line."""
    from ..io import read_config
    from ..training import TrainConfig

    settings: dict[str, Any] = {name: default for name, (_, default, _) in DATA_OPTIONS.items()}
    settings |= dict.fromkeys(FLAGS, False)
    settings |= {name: getattr(TrainConfig(), name) for name in TRAIN_OPTIONS}
    known = dict(settings)
    if args.resume:
        settings |= read_config(out / "train.json")
        _check_stored(settings, known, out / "train.json")
    given = {name: getattr(args, name) for name in known}
    return settings | {name: value for name, value in given.items() if value is not None}


def _check_stored(settings: dict[str, Any], known: dict[str, Any], path: Path) -> None:
    """Names, and the types that `TrainConfig` does not look at."""
    from ..errors import ConfigError

    if unknown := sorted(set(settings) - set(known)):
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}")
    kinds = {name: kind for name, (kind, _, _) in DATA_OPTIONS.items()} | dict.fromkeys(FLAGS, bool)
    for name, kind in kinds.items():
        if settings[name] is not None and type(settings[name]) is not kind:
            raise ConfigError(f"{path}: {name} = {settings[name]!r:.80}; expected {kind.__name__}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
