"""What is known of real devices: presets in which every number names its source.

A number that no source gives is ``None``; :func:`require` asks for it by name instead of
inventing it.
"""

from .kinds import CONFIDENCE, CameraDevice, Component, Device, GPUDevice, Kind, Number, SLMDevice, Value
from .presets import any_device, camera_device, component, device_names, gpu_device, require, slm_device
from .reading import OWN_DEVICES, load_devices, own_devices

__all__ = [
    "CONFIDENCE",
    "OWN_DEVICES",
    "CameraDevice",
    "Component",
    "Device",
    "GPUDevice",
    "Kind",
    "Number",
    "SLMDevice",
    "Value",
    "any_device",
    "camera_device",
    "component",
    "device_names",
    "gpu_device",
    "load_devices",
    "own_devices",
    "require",
    "slm_device",
]
