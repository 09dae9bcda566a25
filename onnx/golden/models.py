"""The torch models of the cases: random weights that exercise every part, and one way to call them all."""

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import nn

from cases import SPACES
from taef import Taef

# Deviation of what the halves give: latents in the encoder's own units, images in parts of their range.
# A normal image of this deviation leaves its range often enough that clipping would be seen.
LATENT_DEVIATION = {"autoencoder-kl": 2.0, "autoencoder-tiny": 1.2}
IMAGE_DEVIATION = 0.3
IMAGE_MEANS = torch.tensor([0.4, 0.5, 0.6])
# What these layers give to the norm that follows is made so small that the norm's epsilon shows.
FAINT = (".conv1.weight", ".conv1.bias", ".pool.0.weight")
FAINTNESS = 0.05


def build(case, rng):
    """A model for `case` with random weights."""
    settings = case.settings
    if case.family == "autoencoder-kl":
        model = AutoencoderKL(**settings)
    elif case.layout == "diffusers":
        widths = (settings["width"],) * 4
        model = AutoencoderTiny(
            encoder_block_out_channels=widths, decoder_block_out_channels=widths, latent_channels=case.channels
        )
    else:
        model = Taef(settings["width"], case.channels, settings["pool"])
    for name, parameter in model.named_parameters():
        parameter.copy_(random_weights(name, parameter.shape, rng))
    return model.eval()


def random_weights(name, shape, rng):
    """Weights that keep the size of what they are given; norms and biases far from their usual 1 and 0."""
    # NumPy's generator gives the same numbers on every machine.
    values = torch.from_numpy(rng.standard_normal(tuple(shape))).float()
    if len(shape) == 1:
        values = 1 + 0.2 * values if name.endswith("weight") else 0.2 * values
    else:
        values /= values[0].numel() ** 0.5
        if ".to_q." in name or ".to_k." in name:
            values *= 1.5  # else every token looks at all others alike, and wrong attention would pass
    return values * FAINTNESS if name.endswith(FAINT) else values


def fit(case, model, inputs, rng):
    """Scales and shifts the last layer of each half, so that latents and images get the deviations above."""
    is_kl = isinstance(model, AutoencoderKL)
    inputs = [normalised(model, pixels) for pixels in inputs]
    means = torch.from_numpy(rng.standard_normal((2 if is_kl else 1) * case.channels)).float()
    layer = (model.quant_conv if is_kl else None) or _last_conv(model.encoder)
    _fit_layer(layer, lambda: [encode(case, model, x) for x in inputs], means, LATENT_DEVIATION[case.family])
    # Both kinds of tiny autoencoder compute in [0, 1]; diffusers stretches that to [-1, 1] after the last layer.
    low, span = (-1, 2) if is_kl else (0, 1)
    latents = [encode(case, model, x) for x in inputs]
    layer = _last_conv(model.decoder)
    means = low + span * IMAGE_MEANS
    _fit_layer(layer, lambda: [decode(case, model, latent) for latent in latents], means, span * IMAGE_DEVIATION)


def _last_conv(half):
    return [layer for layer in half.modules() if isinstance(layer, nn.Conv2d)][-1]


def _fit_layer(layer, run, means, deviation):
    """Makes each channel that `layer` gives during `run` have its mean and the deviation."""
    outputs = []
    hook = layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output.transpose(0, 1).flatten(1)))
    run()
    hook.remove()
    values = torch.cat(outputs, 1)
    factors = rounded(deviation / values.std(1))
    layer.weight *= factors.view(-1, 1, 1, 1)
    layer.bias.copy_((layer.bias - rounded(values.mean(1))) * factors + means)


def rounded(values):
    """Three digits, so that the weights do not depend on how a processor rounds."""
    return torch.tensor([float(f"{value:.3g}") for value in values.tolist()])


def pixel_range(model):
    return (0, 1) if isinstance(model, Taef) else (-1, 1)


def normalised(model, pixels):
    """Bytes [B, H, W, 3] as what the model takes, [B, 3, H, W]."""
    low, high = pixel_range(model)
    return pixels.permute(0, 3, 1, 2).float() / 255 * (high - low) + low


def encode(case, model, x):
    """The posterior mean, unscaled."""
    if isinstance(model, AutoencoderKL):
        return model.encode(x).latent_dist.mean
    scaling, shift = SPACES[case.space]
    scaled = model.encoder(x)
    return scaled / scaling + shift


def decode(case, model, latent):
    """The picture of an unscaled latent, not clipped."""
    if isinstance(model, AutoencoderKL):
        return model.decode(latent).sample
    scaling, shift = SPACES[case.space]
    return model.decoder((latent - shift) * scaling)
