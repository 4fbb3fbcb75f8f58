"""Peak throughput of accelerators, which the measured throughput is compared with."""

PEAKS = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
"""FLOP/s of one device in bfloat16 without sparsity, as stated by its maker, by a part of the device's name."""


def peak(device_kind: str) -> float | None:
    """Peak FLOP/s of a device by the name that JAX gives it; None for a device that is not listed, such as a CPU."""
    return next((peak for name, peak in PEAKS.items() if name in device_kind), None)
