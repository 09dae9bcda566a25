"""Trains the autoencoder `tiny` on images that are drawn while it trains.

    python3 train.py --device cuda --minutes 9 --total-minutes 27 --batch 64 --structure 0.6 --out DIR

A run may be split over several calls: each call goes on from DIR/checkpoint, and the learning rate
follows the training time spent in all calls together.
"""

import argparse
import math
import os
import time
from pathlib import Path

import torch

import stored
from drawn import SIZE, Painter
from losses import distortion, rate, structure
from muon import Muon
from network import Autoencoder, to_bytes, to_unit
from pool import Pool, Source, jitter

# Seeds far from each other, so that no image of one part appears in another.
VALIDATION_SEED = 900_000_001
VALIDATION_IMAGES = 32
REPORT_SECONDS = 60
WARM_UP_STEPS = 200
# Share of the time in which the learning rate falls; before, it is constant.
FALL = 0.8
EMA_DECAY = 0.999
# Steps of quantisation that training imitates, in standard deviations of a channel: q6 takes about 0.11, q5 0.23, q4 0.5.
# A run with steps up to 0.25, and the rate in its loss, came out worse at every tier.
STEPS = (0.02, 0.15)
# The loss of structure takes a good part of the network's own time, so it looks at one in so many of a batch's crops.
STRUCTURE_SHARE = 2
# The step at which the rate is estimated: about that of q6.
RATE_STEP = 0.13


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--minutes", type=float, required=True, help="time of this call, set-up included")
    parser.add_argument("--total-minutes", type=float, help="training time of all calls; --minutes when absent")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--structure", type=float, default=0.0, help="weight of the loss of structure")
    parser.add_argument("--rate", type=float, default=0.0, help="weight of the bits of a latent's value")
    parser.add_argument("--start-from", type=Path, help="weights to begin with, as export.py keeps them; only where DIR has no checkpoint")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--pool", type=int, default=16384, help="images kept on the device")
    parser.add_argument("--start-with", type=int, default=1024, help="images to wait for before the first step")
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16", help="of the convolutions; weights are f32")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--eager", action="store_true", help="do not try torch.compile")
    args = parser.parse_args()
    if args.crop % 8:
        parser.error("--crop must be a multiple of 8")
    return args


def loss_of(model, x, steps, weights):
    """The loss, and its three parts for people: distortion, structure, bits of a value."""
    out, z = model(x, steps)
    out = out.float()
    parts = [distortion(out, x)]
    for weight, part in zip(weights, (lambda: structure(out[::STRUCTURE_SHARE], x[::STRUCTURE_SHARE]), lambda: rate(z, RATE_STEP))):
        parts.append(part() if weight else torch.zeros(()))
    loss = parts[0] + sum(weight * part for weight, part in zip(weights, parts[1:]))
    return loss, torch.stack([part.detach() for part in parts])


def steps_of(count, device):
    """For each crop, the step of the quantisation that its latent goes through."""
    low, high = STEPS
    return low * (high / low) ** torch.rand(count, device=device)


def learning_rate(step, done, peak):
    """Learning rate after a share `done` of the time: a linear start, then constant, in the end falling to 0."""
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * min(1.0, max(0.0, 1 - done) / FALL)


class Run:
    """Everything a checkpoint holds, and how one step changes it."""

    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        self.cuda = self.device.type == "cuda"
        self.path = args.out / "checkpoint"
        self.model = Autoencoder().to(self.device, memory_format=torch.channels_last)
        self.ema = Autoencoder().to(self.device, memory_format=torch.channels_last).eval()
        self.optimizer = Muon(self.model, args.lr)
        self.step, self.seconds, self.calls = 0, 0.0, []
        if self.path.exists():
            self._resume()
        else:
            if args.start_from:
                stored.load(args.start_from, self.model)
            self.ema.load_state_dict(self.model.state_dict())
        self.loss = loss_of if args.eager else torch.compile(loss_of)

    def _resume(self):
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.calls = state["step"], state["seconds"], state["calls"]
        print(f"resumed at step {self.step}, {self.seconds:.0f} s", flush=True)

    def save(self, total):
        """Write beside, then rename: a call cut short leaves the checkpoint before."""
        args = self.args
        command = (
            f"python3 onnx/train/train.py --device {args.device} --minutes {args.minutes:g} --total-minutes {total / 60:g} "
            f"--seed {args.seed} --batch {args.batch} --crop {args.crop} --lr {args.lr:g} --workers {args.workers} "
            f"--pool {args.pool} --start-with {args.start_with} --precision {args.precision}"
            f" --structure {args.structure:g} --rate {args.rate:g}"
            + (f" --threads {args.threads}" if args.threads else "")
            + (f" --start-from {args.start_from.name}" if args.start_from else "")
        )
        machine = torch.cuda.get_device_name(self.device) if self.cuda else "CPU"
        call = {"command": command, "seed": args.seed, "device": machine, "torch": str(torch.__version__), "steps": self.step}
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "calls": [*self.calls, call],
        }
        beside = self.path.with_suffix(".new")
        torch.save(state, beside)
        os.replace(beside, self.path)

    def train_step(self, pool, lr):
        """One step; returns the loss without waiting for it."""
        x = jitter(to_unit(pool.crops(self.args.batch, self.args.crop)))
        x = x.contiguous(memory_format=torch.channels_last)
        parts = self._backward(x, steps_of(len(x), self.device))
        self.optimizer.step(lr)
        self.optimizer.zero_grad()
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)
        self.step += 1
        return parts

    def _backward(self, x, steps):
        """Gradients of one batch; a compiler that is missing or fails costs speed only."""
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.precision == "bf16"):
                loss, parts = self.loss(self.model, x, steps, (self.args.structure, self.args.rate))
            loss.backward()
        except Exception as error:
            if self.loss is loss_of:
                raise
            reason = (str(error).splitlines() or [""])[0][:300]
            print(f"torch.compile failed, going on without it: {type(error).__name__}: {reason}", flush=True)
            self.loss = loss_of
            self.optimizer.zero_grad()
            return self._backward(x, steps)
        return parts


@torch.no_grad()
def validate(model, images, precision):
    """Mean PSNR over images of the averaged weights' output, as bytes."""
    psnr = []
    for part in images.split(16):
        x = to_unit(part.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            out = model(x)[0].float()
        error = (to_bytes(out).float() - part.permute(0, 3, 1, 2)).square().mean((1, 2, 3))
        psnr.append(10 * torch.log10(255**2 / error.clamp(min=1e-3)))
    return torch.cat(psnr).mean().item()


def held_out(seed, count, device):
    """Drawn images that no training process draws."""
    painter = Painter(seed)
    return torch.stack([torch.from_numpy(painter.image(n)) for n in range(count)]).to(device)


def main():
    began = time.monotonic()
    args = arguments()
    total = 60 * (args.total_minutes or args.minutes)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    run = Run(args)
    torch.manual_seed(args.seed + run.step)
    # A resumed call draws new images.
    seeds = [args.seed * 1_000_000 + len(run.calls) * 1000 + n for n in range(args.workers)]
    source = Source(seeds, SIZE, run.cuda)
    try:
        validation = held_out(VALIDATION_SEED, VALIDATION_IMAGES, run.device)
        pool = Pool(args.pool, SIZE, run.device)
        while pool.drawn < min(args.start_with, pool.capacity):
            pool.add(source.take(wait=True))
        print(f"{pool.drawn} images after {time.monotonic() - began:.0f} s", flush=True)
        loop(run, args, pool, source, validation, total, began)
    finally:
        source.close()


def loop(run, args, pool, source, validation, total, began):
    deadline = began + 60 * args.minutes
    clock = reported = time.monotonic()
    interval = REPORT_SECONDS
    losses, steps_before = [], run.step
    while True:
        # On a CPU drawing competes with training, so it ends when the pool is full.
        for _ in range(4 if run.cuda or pool.drawn < pool.capacity else 0):
            block = source.take(wait=False)
            if block is None:
                break
            pool.add(block)
        losses.append(run.train_step(pool, learning_rate(run.step, run.seconds / total, args.lr)))
        if run.cuda and run.step % 16 == 0:
            # Keeps the queue of work short, so that the clock below tells the truth.
            torch.cuda.current_stream().synchronize()
        now = time.monotonic()
        run.seconds += now - clock
        clock = now
        over = now >= deadline or run.seconds >= total
        if over or now - reported >= interval:
            report(run, args, pool, validation, losses, (run.step - steps_before) / (now - reported), total)
            # Validation and saving are not training time.
            clock = reported = time.monotonic()
            # Where validation is slow, it must not take most of the call.
            interval = max(REPORT_SECONDS, 6 * (clock - now))
            losses, steps_before = [], run.step
        if over:
            return


def report(run, args, pool, validation, losses, speed, total):
    distortion, structure, bits = torch.stack(losses).mean(0).tolist()
    psnr = validate(run.ema, validation, args.precision)
    print(
        f"step {run.step}  {run.seconds:.0f} s  distortion {distortion:.4f}  structure {structure:.4f}  bits {bits:.2f}  held-out {psnr:.3f} dB  "
        f"{speed:.1f} steps/s  {speed * args.batch:.0f} crops/s  drawn {pool.drawn}  "
        f"lr {learning_rate(run.step, run.seconds / total, args.lr):.2e}",
        flush=True,
    )
    if not math.isfinite(distortion) or not math.isfinite(psnr):
        raise SystemExit("the loss is not finite; the checkpoint before is kept")
    run.save(total)


if __name__ == "__main__":
    main()
