"""Train the classifier whose features replace Inception's: how the shipped weights were made.

    python tasks/cifar10/train_resnet.py [--data-dir DIR] [--seed N] [--epochs N] [--precision float32]

It trains on the training split only and keeps the last epoch; the test split only serves to report the
accuracy. The state is saved after each epoch beside the weights, and the same command resumes from it. Output
goes to build/. The shipped weights, whose hash is in ebbench/metrics/cifar/resnet.py, are part of the task's
version.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ebbench.data import cifar10
from ebbench.data.store import Store
from ebbench.metrics.cifar.resnet import NAME, CifarResNet

BATCH = 128
MARGIN = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="the folder with CIFAR-10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the folder to write to")
    arguments = parser.parse_args()

    store = Store(arguments.data_dir)
    source = cifar10.source_here(store) or "cifar10"
    (train, labels), (test, test_labels) = (
        (torch.from_numpy(images), torch.from_numpy(classes).long())
        for images, classes in (cifar10.load(store, split, source) for split in ("train", "test"))
    )
    net, seconds = trained(train, labels, test, test_labels, arguments)
    weights = arguments.out / f"{NAME}.safetensors"
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, weights)
    weights.chmod(0o644)
    sidecar = {
        "command": f"python tasks/cifar10/train_resnet.py --seed {arguments.seed} "
        f"--epochs {arguments.epochs} --precision {arguments.precision}",
        "seed": arguments.seed,
        "source": source,
        "test_accuracy": accuracy(net, test, test_labels),
        "train_accuracy": accuracy(net, train, labels),
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "seconds": round(seconds),
        "torch": torch.__version__,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "data_sha256": store.hashes(source),
    }
    weights.with_suffix(".json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(sidecar, indent=2))


def trained(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, arguments: argparse.Namespace
) -> tuple[CifarResNet, float]:
    """Train with shifted and mirrored images, Nesterov momentum, a one-cycle rate and label smoothing."""
    torch.manual_seed(arguments.seed)
    net = CifarResNet()
    pixels = train.float() / 255
    net.mean.copy_(pixels.mean((0, 2, 3)))
    net.deviation.copy_(pixels.std((0, 2, 3)))
    del pixels
    steps = len(train) // BATCH
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        0.2,
        total_steps=arguments.epochs * steps,
        pct_start=0.25,
        div_factor=10,
        final_div_factor=1e3,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / f"{NAME}-{arguments.seed}-{arguments.epochs}.checkpoint"
    first, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        rate.load_state_dict(state["rate"])
        torch.set_rng_state(state["random"])
        first, seconds = state["epoch"], state["seconds"]
    padded = F.pad(train.float(), [MARGIN] * 4, mode="reflect").to(torch.uint8)
    for epoch in range(first, arguments.epochs):
        began = time.monotonic()
        net.train()
        for seen, classes in batches(padded, labels, steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bfloat16"):
                _, logits = net(seen)
            loss = F.cross_entropy(logits.float(), classes, label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
        net.eval()
        seconds += time.monotonic() - began
        reached = accuracy(net, test, test_labels)
        print(f"epoch {epoch + 1}/{arguments.epochs}  loss {loss.item():.4f}  test {reached:.4f}", flush=True)
        state = {
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "rate": rate.state_dict(),
            "random": torch.get_rng_state(),
            "epoch": epoch + 1,
            "seconds": seconds,
        }
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)
    checkpoint.unlink(missing_ok=True)
    return net.requires_grad_(False), seconds


def batches(padded: Tensor, labels: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: random crops of the padded images, half of them mirrored."""
    inner = torch.arange(32)
    for chosen in torch.randperm(len(padded))[: steps * BATCH].split(BATCH):
        down, right = torch.randint(0, 2 * MARGIN + 1, (2, BATCH))
        columns = right[:, None] + inner
        columns = torch.where(torch.rand(BATCH, 1) < 0.5, columns, columns.flip(1))
        rows = down[:, None] + inner
        yield (
            padded[chosen[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2),
            labels[chosen],
        )


@torch.inference_mode()
def accuracy(net: CifarResNet, images: Tensor, labels: Tensor) -> float:
    """Accuracy of `net` on images, as a share, in float32."""
    parts = zip(images.split(1000), labels.split(1000), strict=True)
    return sum(int((net(x)[1].argmax(1) == y).sum()) for x, y in parts) / len(labels)


if __name__ == "__main__":
    main()
