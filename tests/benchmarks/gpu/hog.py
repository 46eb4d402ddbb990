"""A learner's neighbourhood: matrix products on the GPU without a pause, until it is killed."""

from __future__ import annotations

import torch

SIZE = 4096


def main() -> None:
    """Says so once it works."""
    a, b = (torch.randn(SIZE, SIZE, device="cuda") for _ in range(2))
    product = a @ b
    torch.cuda.synchronize()
    print("begun", flush=True)
    while True:
        torch.mm(a, b, out=product)
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
