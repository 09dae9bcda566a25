"""The committed checkpoint: weights only, in f16, as a safetensors file that training can go on from."""

import torch
from safetensors.torch import load_file, save_file


def load(path, model):
    """Sets the weights of `model`, in f32."""
    state = {name: value.float() for name, value in load_file(path).items()}
    model.load_state_dict(state)


def save(path, model):
    """Writes the weights of `model`, rounded to f16."""
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    assert all(torch.isfinite(value).all() for value in state.values()), "weights beyond the range of f16"
    save_file(state, path)
