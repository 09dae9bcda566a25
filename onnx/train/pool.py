"""The training images on the device: drawn by other processes, refreshed for ever, cropped at random.

Each process runs `drawn.py` and writes raw images into a pipe; a thread per process reads them. So
the drawing never imports torch, ends when the trainer ends, and needs no shared memory.
"""

import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import torch

# Images that travel together.
BLOCK = 8


class Source:
    """Blocks of images [BLOCK, size, size, 3] from `workers` processes with seeds of their own."""

    def __init__(self, seeds, size, pinned):
        self.blocks = queue.Queue(maxsize=4 * len(seeds))
        self.size, self.pinned = size, pinned
        self.failed, self.closing = None, False
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
        script = Path(__file__).with_name("drawn.py")
        self.processes = []
        for seed in seeds:
            command = [sys.executable, str(script), "--seed", str(seed), "--size", str(size)]
            # Drawing takes what training leaves of the cores.
            process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, bufsize=0, preexec_fn=lambda: os.nice(10))
            self.processes.append(process)
            threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process):
        while True:
            # From pinned memory the copy to the device waits for nothing.
            block = torch.empty(BLOCK, self.size, self.size, 3, dtype=torch.uint8, pin_memory=self.pinned)
            view = memoryview(block.numpy()).cast("B")
            filled = 0
            while filled < len(view):
                got = process.stdout.readinto(view[filled:])
                if not got:
                    if self.closing:
                        return
                    self.failed = f"a drawing process ended with status {process.wait()}"
                    return
                filled += got
            self.blocks.put(block)

    def take(self, wait):
        """The next block, or None when none is ready and `wait` is false."""
        while True:
            if self.failed:
                raise RuntimeError(self.failed)
            try:
                return self.blocks.get(timeout=5) if wait else self.blocks.get_nowait()
            except queue.Empty:
                if not wait:
                    return None

    def close(self):
        self.closing = True
        for process in self.processes:
            process.kill()
            process.wait()


class Pool:
    """A ring of images on the device, as one flat list of pixels."""

    def __init__(self, capacity, size, device):
        self.capacity = capacity // BLOCK * BLOCK
        self.size, self.device = size, device
        self.pixels = torch.zeros(self.capacity * size * size, 3, dtype=torch.uint8, device=device)
        self.images = self.pixels.view(self.capacity, size, size, 3)
        self.drawn = 0

    def add(self, block):
        at = self.drawn % self.capacity
        self.images[at : at + BLOCK].copy_(block, non_blocking=True)
        self.drawn += BLOCK

    def crops(self, count, crop):
        """Random crops, turned and mirrored, uint8 [count, 3, crop, crop] in channels-last memory."""
        filled = min(self.drawn, self.capacity)
        room = self.size - crop + 1

        def each(limit):
            return torch.randint(limit, (count, 1, 1), device=self.device)

        line = torch.arange(crop, device=self.device)
        rows, columns = line.view(1, crop, 1), line.view(1, 1, crop)
        swap = each(2).bool()
        y, x = torch.where(swap, columns, rows), torch.where(swap, rows, columns)
        y = torch.where(each(2).bool(), crop - 1 - y, y)
        x = torch.where(each(2).bool(), crop - 1 - x, x)
        index = (each(filled) * self.size + each(room) + y) * self.size + each(room) + x
        return self.pixels[index].permute(0, 3, 1, 2)


def jitter(x):
    """Random exposure, contrast and white balance of crops in -1..1, clipped as a camera clips."""
    count = x.shape[0]

    def each(scale, channels=1):
        return scale * torch.randn(count, channels, 1, 1, device=x.device)

    gain = torch.exp(each(0.15)) * torch.exp(each(0.04, 3))
    return (x * gain + each(0.08) + each(0.02, 3)).clamp(-1, 1)
