"""The cases: which architecture, how it lies on disk, and which latent space it belongs to."""

from dataclasses import dataclass, field

import torch

# Scaling and shift of each latent space: scaled = (stored - shift) x scaling. "my-space" is one that only its user knows.
SPACES = {
    "sd-v1": (0.18215, 0.0),
    "sdxl": (0.13025, 0.0),
    "sd3": (1.5305, 0.0609),
    "flux1": (0.3611, 0.1159),
    "flux2": (1.0, 0.0),
    "my-space": (0.5, 0.0),
}


@dataclass(frozen=True)
class Case:
    """One golden case; `names` says which of several habits the tensors' names follow."""

    name: str
    family: str
    layout: str
    names: str
    space: str
    dtype: torch.dtype
    settings: dict = field(default_factory=dict)
    path: str = "model"

    @property
    def space_known(self):
        """Whether a reader of the model's files can tell the latent space without being told."""
        return self.family == "autoencoder-kl" and self.layout == "diffusers" and self.space != "my-space"

    @property
    def channels(self):
        return self.settings["latent_channels"]

    @property
    def ratio(self):
        return 2 ** (len(self.settings["block_out_channels"]) - 1) if self.family == "autoencoder-kl" else 8


def kl(name, space, dtype, widths, layout="diffusers", names="diffusers", path="model", **settings):
    """A case of AutoencoderKL; `settings` are its configuration in diffusers' words."""
    scaling, shift = SPACES[space]
    settings = {
        "block_out_channels": widths,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "latent_channels": 4,
        # Never the number of channels: a norm with one channel a group hides every bias before it.
        "norm_num_groups": 2,
        "scaling_factor": scaling,
        "shift_factor": shift or None,
        **settings,
    }
    return Case(name, "autoencoder-kl", layout, names, space, dtype, settings, path)


def tiny(name, space, dtype, width, channels, layout, path="model", pool=False):
    """A case of AutoencoderTiny or its kin, all layers of one width."""
    names = "diffusers" if layout == "diffusers" else "original"
    settings = {"width": width, "latent_channels": channels, "pool": pool}
    return Case(name, "autoencoder-tiny", layout, names, space, dtype, settings, path)


F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
NO_QUANT = {"use_quant_conv": False, "use_post_quant_conv": False}
# The original code has no setting for the 32 groups of its norms, so no width can be smaller. At 32 each group
# has one channel; the level of 64 in one case makes up for that.
LDM = {"layout": "single", "norm_num_groups": 32, "layers_per_block": 1}

CASES = [
    kl("sd", "sd-v1", F32, (4, 4, 8, 8), layers_per_block=2),
    kl("sd_ldm", "sd-v1", F16, (64, 32, 32, 32), names="ldm", path="model/vae.safetensors", **LDM),
    kl("sd_checkpoint", "sd-v1", BF16, (32, 32, 32, 32), names="checkpoint", path="model/checkpoint.safetensors", **LDM),
    kl("sd_old_attention", "sd-v1", F16, (4, 4, 8, 8), names="old-attention", layers_per_block=2),
    kl("sdxl", "sdxl", F16, (8, 8, 8, 12), layers_per_block=1, norm_num_groups=4),
    kl("sd3", "sd3", BF16, (4, 8, 8, 8), layers_per_block=1, latent_channels=16, **NO_QUANT),
    kl("flux1", "flux1", BF16, (8, 8, 8, 8), layers_per_block=1, latent_channels=16, norm_num_groups=4, **NO_QUANT),
    kl("kl_no_attention", "my-space", F32, (4, 4, 8), layers_per_block=1, mid_block_add_attention=False),
    kl("kl_uneven", "sd-v1", F16, (4, 6, 10, 8), layers_per_block=3),
    tiny("taesd", "sd-v1", F16, 8, 4, "diffusers"),
    tiny("taesdxl", "sdxl", F32, 6, 4, "pair"),
    tiny("taesd3", "sd3", BF16, 6, 16, "diffusers"),
    tiny("taef1", "flux1", BF16, 6, 16, "pair"),
    tiny("taesd_single", "sd-v1", F16, 6, 4, "single", path="model/taesd.safetensors"),
    tiny("taef2", "flux2", F16, 6, 32, "pair", pool=True),
]
