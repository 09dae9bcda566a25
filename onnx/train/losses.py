"""What training lowers: the error of the pixels, the loss of structure, and the bits that the latent takes.

Each is a mean over a batch and differentiable. Pixels are in -1..1, as in `network.py`.
"""

import torch
from torch.nn import functional as F

# Mean squared error of an ordinary crop; see `distortion`.
TYPICAL_ERROR = 0.01

# Linear light to the responses of the eye's cones, and their offset, as in the XYB colour space of JPEG XL
# (ISO/IEC 18181-1, Annex L), in which SSIMULACRA2 compares images too.
CONES = (
    (0.3, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095535),
)
CONE_OFFSET = 0.0037930732552754493
# X (red against green) is small: stretched as SSIMULACRA2 does it, all three lie in about 0..1.
X_GAIN, X_OFFSET, Y_OFFSET, B_OFFSET = 14.0, 0.42, 0.01, 0.55
# How much X, Y and B count: the eye sees structure in brightness first.
PLANES = (0.5, 1.0, 0.35)
# Variance below which structure isn't seen; SSIMULACRA2's constant.
UNSEEN = 0.0009
WINDOW = 7
SCALES = 4

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


def xyb(x):
    """sRGB in -1..1 to planes X, Y, B - Y of about 0..1."""
    value = (x.clamp(-1, 1) + 1) / 2
    # The inner clamp keeps the gradient of the branch that isn't taken finite.
    light = torch.where(value <= 0.04045, value / 12.92, ((value.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)
    red, green, blue = light.unbind(1)
    long, medium, short = (
        (r * red + g * green + b * blue + CONE_OFFSET) ** (1 / 3) - CONE_OFFSET ** (1 / 3) for r, g, b in CONES
    )
    y = (long + medium) / 2
    return torch.stack([(long - medium) / 2 * X_GAIN + X_OFFSET, y + Y_OFFSET, short - y + B_OFFSET], 1)


def structure(out, x):
    """1 - SSIM in XYB, mean and root mean square over windows, mean over scales: what is blurred away or made up.

    A simpler relative of SSIMULACRA2, with windows that overlap less, so that it costs little beside the network.
    """
    a, b = xyb(out), xyb(x)
    weights = torch.tensor(PLANES, device=a.device).view(1, 3, 1, 1)
    total = 0.0
    for scale in range(SCALES):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        moments = F.avg_pool2d(torch.cat([a, b, a * a, b * b, a * b], 1), WINDOW, 1 if scale else 2)
        mean_a, mean_b, square_a, square_b, product = moments.split(3, 1)
        variances = (square_a - mean_a**2).clamp(min=0) + (square_b - mean_b**2).clamp(min=0)
        covariance = product - mean_a * mean_b
        alike = (1 - (mean_a - mean_b) ** 2) * (2 * covariance + UNSEEN) / (variances + UNSEEN)
        lost = (1 - alike) * weights
        total = total + lost.mean() + 0.5 * (lost.square().mean((1, 2, 3)) + 1e-6).sqrt().mean()
    return total / SCALES


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
