"""What mixed precision saves: peak memory of one step on a GPU, in fp32 and in the training's precision."""

import torch

from deepseek.train.device import Place
from deepseek.train.loop import Training

MEGABYTE = 1e6


def measure_step_memory(training: Training) -> None:
    """On a GPU in mixed precision: report the peak memory of the largest batch's forward and backward pass in both.

    The two passes run before the training, from the same state, and leave none: weights, buffers, gradients, loss
    scale and random numbers are as before. The optimizer's moments are in neither, as they are fp32 in both. Where fp32
    does not fit on the device, the log says so and the training goes on. Weights that lie in parts on the ranks compute
    in one precision alone: nothing is measured then.
    """
    place = training.place
    if place.device.type != "cuda" or place.dtype is None or training.is_sharded:
        return
    peaks = {numbers.numbers: _measure_peak(training, numbers) for numbers in (Place(place.device, None), place)}
    for name, peak in peaks.items():
        if peak is not None:
            training.report.metric(f"system/step_memory_{name}_megabytes", peak / MEGABYTE, training.at.step)
    full, mixed = peaks["fp32"], peaks[place.numbers]
    if mixed is None:
        return  # the first step will say that memory is short
    own = f"one step of the largest batch takes {mixed / MEGABYTE:,.1f} MB in {place.numbers}"
    if full is None:
        training.report.log(f"{own}; in fp32 it does not fit on the device")
    else:
        training.report.log(f"{own}, {full / MEGABYTE:,.1f} MB in fp32: {1 - mixed / full:.1%} less")


def _measure_peak(training: Training, place: Place) -> int | None:
    """Bytes at the highest point of one forward and backward pass, None where they do not fit on the device."""
    device = training.place.device
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    try:
        training.run_trial_pass(place)
    except torch.OutOfMemoryError:
        return None
    else:
        return int(torch.cuda.max_memory_allocated(device))
    finally:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
