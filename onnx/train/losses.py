"""What training lowers: the error of the pixels, the loss of structure, and the bits that the latent takes.

Each is a mean over a batch and differentiable. Pixels are in -1..1, as in `network.py`.
"""

import torch
from torch.nn import functional as F

# Mean squared error of an ordinary crop; see `distortion`.
TYPICAL_ERROR = 0.01

# Linear light to the responses of the eye's long and medium cones, and their offset, as in the XYB colour space of
# JPEG XL (ISO/IEC 18181-1, Annex L), in which SSIMULACRA2 compares images too.
CONES = ((0.3, 0.622, 0.078), (0.23, 0.692, 0.078))
CONE_OFFSET = 0.0037930732552754493
# SSIMULACRA2's weights (version 2.1) of what is lost in brightness, from the image itself to an eighth of its sides: of
# the mean and of the fourth root of the mean fourth power. They are most of what it makes of an image at few bytes.
MEAN_WEIGHTS = (0.0, 0.0, 225.2, 176.4)
PEAK_WEIGHTS = (7.47, 6.68, 19.2, 24.4)
# Variance below which structure isn't seen; SSIMULACRA2's constant.
UNSEEN = 0.0009
# As wide as SSIMULACRA2's Gauss window of deviation 1.5.
WINDOW = 5

# Of the rate: the bits of a Laplace distribution whose standard deviation is one step, beside log2 of that deviation.
LAPLACE_BITS = 1.94


def distortion(out, x):
    """log(1 + mse / typical) per crop.

    The goal is the mean PSNR over photographs, so an error counts relative to the error of its own
    photograph. A crop knows its own error only; the constant keeps crops of plain sky, which are parts
    of photographs with larger errors elsewhere, from ruling the mean.
    """
    error = (out - x).square().mean((1, 2, 3))
    return torch.log1p(error / TYPICAL_ERROR).mean()


def linear_light(x):
    """sRGB in -1..1 to light in 0..1."""
    value = (x.clamp(-1, 1) + 1) / 2
    # The inner clamp keeps the gradient of the branch that isn't taken finite.
    return torch.where(value <= 0.04045, value / 12.92, ((value.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)


def brightness(light):
    """Light to XYB's Y, [N, 1, H, W] of about 0..0.85."""
    red, green, blue = light.unbind(1)
    cones = ((r * red + g * green + b * blue + CONE_OFFSET) ** (1 / 3) - CONE_OFFSET ** (1 / 3) for r, g, b in CONES)
    return sum(cones)[:, None] / 2


def structure(out, x):
    """What is blurred away or made up in brightness, as SSIMULACRA2 weighs it at few bytes; about 0.2 for such images.

    A hundredth of its weighted sum, of which 0.02 are some 5 points. Windows are boxes, and edges aren't looked at apart.
    """
    a, b = linear_light(out), linear_light(x)
    total = 0.0
    for scale, (of_mean, of_peak) in enumerate(zip(MEAN_WEIGHTS, PEAK_WEIGHTS)):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        y, z = brightness(a), brightness(b)
        moments = F.avg_pool2d(torch.cat([y, z, y * y, z * z, y * z], 1), WINDOW, 1)
        mean_y, mean_z, square_y, square_z, product = moments.split(1, 1)
        variances = (square_y - mean_y**2).clamp(min=0) + (square_z - mean_z**2).clamp(min=0)
        alike = (1 - (mean_y - mean_z) ** 2) * (2 * (product - mean_y * mean_z) + UNSEEN) / (variances + UNSEEN)
        lost = (1 - alike).clamp(min=0)
        peak = (lost.square().square().mean((1, 2, 3)) + 1e-8) ** 0.25
        total = total + of_mean * lost.mean() + of_peak * peak.mean()
    return total / 100


def rate(z, step):
    """About how many bits a value of the latents `z` takes, quantised at `step` standard deviations of its channel.

    As the coding `dense` sees it: the error of a linear prediction from causal neighbours and earlier channels, beside
    the size of such errors nearby. A whole number of crops shares one prediction.
    """
    z = z.float()
    z = z / (z.std((0, 2, 3), keepdim=True) + 1e-6)
    count, channels, height, width = z.shape
    here = (slice(1, None), slice(1, -1))
    left, above = (slice(1, None), slice(None, -2)), (slice(None, -1), slice(1, -1))
    above_left, above_right = (slice(None, -1), slice(None, -2)), (slice(None, -1), slice(2, None))

    def look(channel, where):
        return z[:, channel, where[0], where[1]]

    bits = 0.0
    for channel in range(channels):
        known = [look(channel, where) for where in (left, above, above_left, above_right)]
        for earlier in range(channel):
            known += [look(earlier, where) for where in (here, left, above)]
        known = torch.stack(known, -1)
        target = look(channel, here)
        # In bf16 the equations would have no solution.
        with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
            rows = known.flatten(0, 2)
            gram = rows.T @ rows
            gram.diagonal().add_(1e-4 * gram.diagonal().mean())
            weights = torch.linalg.solve(gram, rows.T @ target.flatten())
        error = (target - (known * weights).sum(-1))[:, None]
        nearby = F.avg_pool2d(F.pad(error**2, (2, 2, 2, 2), mode="reflect"), 5, 1) + step**2 / 12
        bits = bits + (torch.log2(nearby / step**2) / 2 + LAPLACE_BITS).clamp(min=0).mean()
    return bits / channels
