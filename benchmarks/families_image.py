"""The row image of families.py: digits of scikit-learn as pictures of 224 x 224, in parts that are drawn by class."""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

from benchmarks.family_row import Row, get_metric, train
from deepseek.images.run import run
from deepseek.images.spec import ImageSpec

SEED = 0


def measure_image(folder: Path, options: argparse.Namespace) -> Row:
    digits = load_digits()
    rows = np.arange(len(digits.target))
    rest, test = train_test_split(rows, test_size=0.2, random_state=SEED, stratify=digits.target)
    learned, validation = train_test_split(rest, test_size=0.15, random_state=SEED, stratify=digits.target[rest])
    splits = dict.fromkeys(learned, "train") | dict.fromkeys(validation, "val") | dict.fromkeys(test, "test")
    images = folder / "images"
    images.mkdir()
    with (images / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for row in rows:
            picture = Image.fromarray((digits.images[row] * 255 / 16).astype(np.uint8))
            picture.resize((224, 224), Image.Resampling.BICUBIC).save(images / f"{row:04}.png")
            writer.writerow([f"{row:04}.png", digits.target[row], splits[row]])
    epochs = options.epochs or 8
    spec = ImageSpec(
        backbone=options.backbone,
        augmentation=["crop"],
        epochs=epochs,
        patience=0,
        threads=options.threads,
        schedule={"warmup_steps": 60, "max_lr": 0.002, "first_batch": 32, "last_batch": 64},
        seed=SEED,
    )
    result, figures, clock = train(run, spec, {"images": images}, folder)
    simple = HistGradientBoostingClassifier(random_state=SEED).fit(digits.data[rest], digits.target[rest])
    return Row(
        model=f"{options.backbone}, {epochs} epochs",
        metric=get_metric(figures.metrics, "accuracy"),
        baseline="HistGradientBoosting on 8 x 8 pixels",
        baseline_value=float(simple.score(digits.data[test], digits.target[test])),
        examples=figures.rows,
        clock=clock,
        steps=result.summary["steps"],
    )
