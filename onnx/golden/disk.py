"""Models on disk as their users have them: diffusers folders, pairs of files, single files, old and new names."""

import json
import re

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file

from taef import Taef

WEIGHTS = "diffusion_pytorch_model.safetensors"
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
# What diffusers 0.4 wrote, the version of the widely used `sd-vae-ft-mse`.
OLD_CONFIG = """_class_name _diffusers_version act_fn block_out_channels down_block_types in_channels latent_channels
    layers_per_block norm_num_groups out_channels sample_size up_block_types""".split()
LDM_NAMES = [
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block."),
    (r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
    (r"^decoder\.up_blocks\.(\d+)\.resnets\.", r"decoder.up.\1.block."),
    (r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", r"decoder.up.\1.upsample."),
    (r"mid_block\.resnets\.0\.", r"mid.block_1."),
    (r"mid_block\.resnets\.1\.", r"mid.block_2."),
    (r"mid_block\.attentions\.0\.", r"mid.attn_1."),
    (r"attn_1\.group_norm\.", r"attn_1.norm."),
    (r"attn_1\.to_([qkv])\.", r"attn_1.\1."),
    (r"attn_1\.to_out\.0\.", r"attn_1.proj_out."),
    (r"conv_shortcut", r"nin_shortcut"),
    (r"conv_norm_out", r"norm_out"),
]


def write(case, model, folder):
    """Writes `model`, rounded to the case's type, into `model/` in the case's folder."""
    models = folder / "model"
    models.mkdir(parents=True)
    if case.layout == "diffusers":
        model.to(case.dtype).save_pretrained(models)
        if case.names == "old-attention":
            _make_old(models)
        return
    tensors = {name: value.to(case.dtype) for name, value in model.state_dict().items()}
    if case.layout == "pair":
        for half in ("encoder", "decoder"):
            save_file(_without_prefix(tensors, f"{half}."), models / f"{case.name}_{half}.safetensors")
        return
    if case.names == "ldm":
        tensors = _ldm(tensors, case) | _leftovers()
    elif case.names == "checkpoint":
        tensors = {f"first_stage_model.{name}": value for name, value in _ldm(tensors, case).items()} | _other_models()
    save_file(tensors, folder / case.path)


def read(case, folder):
    """The model that `write` left there, in f32, by diffusers' own readers where there is one."""
    models = folder / "model"
    if case.layout == "diffusers":
        kind = AutoencoderKL if case.family == "autoencoder-kl" else AutoencoderTiny
        return kind.from_pretrained(models, torch_dtype=torch.float32, low_cpu_mem_usage=False).eval()
    if case.layout == "pair":
        return Taef.of(*(load_file(models / f"{case.name}_{half}.safetensors") for half in ("encoder", "decoder")))
    tensors = load_file(folder / case.path)
    if case.family == "autoencoder-tiny":
        return Taef.of(_without_prefix(tensors, "encoder."), _without_prefix(tensors, "decoder."))
    model = AutoencoderKL(**case.settings)
    model.load_state_dict(convert_ldm_vae_checkpoint(tensors, case.settings))
    return model.eval()


def _without_prefix(tensors, prefix):
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _make_old(folder):
    """Turns a diffusers folder into one of 2022."""
    config = json.loads((folder / "config.json").read_text())
    config = {key: config[key] for key in OLD_CONFIG} | {"_diffusers_version": "0.4.2"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    renamed = {}
    for name, value in load_file(folder / WEIGHTS).items():
        for new, old in OLD_ATTENTION.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[name] = value
    save_file(renamed, folder / WEIGHTS, metadata={"format": "pt"})


def _ldm(tensors, case):
    """The tensors under their names in the original code."""
    last_level = len(case.settings["block_out_channels"]) - 1
    renamed = {}
    for name, value in tensors.items():
        for pattern, replacement in LDM_NAMES:
            name = re.sub(pattern, replacement, name)
        # The original code counts the decoder's levels from the finest, diffusers in the order of computing.
        name = re.sub(r"^decoder\.up\.(\d+)", lambda match: f"decoder.up.{last_level - int(match[1])}", name)
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight$", name):
            value = value[:, :, None, None]  # 1x1 convolutions there, linear layers in diffusers
        renamed[name] = value.contiguous()
    return renamed


def _leftovers():
    """What training leaves in a VAE's own file; tools skip `loss*` and these two by name."""
    return {
        "loss.logvar": torch.zeros(()),
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(840000, dtype=torch.int32),
    }


def _other_models():
    """A little of the rest of a full checkpoint, with tensors of other types and shapes."""
    half = torch.float16
    return {
        "alphas_cumprod": torch.linspace(0.999, 0.005, 1000),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "cond_stage_model.transformer.text_model.encoder.layers.0.layer_norm1.weight": torch.ones(8, dtype=half),
        "model.diffusion_model.input_blocks.0.0.bias": torch.zeros(8, dtype=half),
        "model.diffusion_model.input_blocks.0.0.weight": torch.full((8, 4, 3, 3), 0.1, dtype=half),
        "model.diffusion_model.out.2.bias": torch.zeros(4, dtype=half),
        "model_ema.decay": torch.tensor(0.9999),
    }
