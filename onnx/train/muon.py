"""The optimiser: Muon for the kernels of convolutions, Adam for everything else.

Muon replaces the momentum of a matrix by the nearest matrix whose singular values are all about 1, so that rare
directions learn as fast as common ones (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks";
the iteration and its three coefficients are from there). The step is scaled as in "Muon is scalable for LLM training"
(Liu et al. 2025), so that one learning rate suits both parts.
"""

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
# Root mean square of Adam's steps, as a share of its learning rate.
ADAM_RMS = 0.2


def orthogonal(matrices):
    """[N, rows, columns] to matrices of the same singular vectors and singular values of about 0.7 to 1.2."""
    a, b, c = COEFFICIENTS
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    x = x.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT.contiguous()
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        # The whole polynomial is one small matrix, so that the large one is read once.
        factor = b * gram + c * gram @ gram
        factor.diagonal(dim1=1, dim2=2).add_(a)
        x = factor @ x
    return x.mT.contiguous() if tall else x


class Muon:
    """Steps the kernels with many inputs and outputs; `state_dict` is what a checkpoint keeps."""

    def __init__(self, model, lr):
        named = list(model.named_parameters())
        # The first layer of the decoder has 36 inputs and the last of the encoder 4 outputs: too few directions to be made alike.
        kernels = [p for _, p in named if p.ndim == 4 and p.shape[0] > 8 and p[0].numel() >= 64]
        chosen = {id(p) for p in kernels}
        self.adam = torch.optim.Adam([p for _, p in named if id(p) not in chosen], lr=lr, betas=(0.9, 0.99))
        alike = {}
        for p in kernels:
            alike.setdefault(p.shape, []).append(p)
        self.alike = list(alike.values())
        self.momenta = [torch.zeros(len(group), *rows(group[0]).shape, device=group[0].device) for group in self.alike]

    @torch.no_grad()
    def step(self, lr):
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        for group, momentum in zip(self.alike, self.momenta):
            gradient = torch.stack([rows(p.grad) for p in group])
            momentum.mul_(MOMENTUM).add_(gradient)
            steps = orthogonal(gradient.add_(momentum, alpha=MOMENTUM))
            scale = lr * ADAM_RMS * max(steps.shape[1:]) ** 0.5
            for p, step in zip(group, steps):
                outputs, inputs, height, width = p.shape
                p.permute(0, 2, 3, 1).add_(step.view(outputs, height, width, inputs), alpha=-scale)

    def zero_grad(self):
        for p in sum(self.alike, []):
            p.grad = None
        self.adam.zero_grad(set_to_none=True)

    def state_dict(self):
        return {"adam": self.adam.state_dict(), "momenta": self.momenta}

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        for mine, theirs in zip(self.momenta, state["momenta"], strict=True):
            mine.copy_(theirs)


def rows(kernel):
    """[O, I, h, w] as a matrix [O, h*w*I], the order in which channels-last memory holds it."""
    return kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)
