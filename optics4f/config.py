"""TOML files in, validated and unit-aware specifications out.

Unknown keys, wrong units and impossible values end in a ``ConfigError`` of one line that names file, line, key and,
for a misspelt key, the nearest valid one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import BaseModel, Field, ValidationError, model_validator

from .config_effects import Angle, EffectsSpecification, Specification, quantity
from .config_lines import Origin
from .config_messages import key_of, one_line
from .devices import Device, camera_device, require, slm_device
from .elements import Camera, Illumination, Lens, Pupil
from .elements.camera import Sensor
from .elements.slm import slm_from_device
from .elements.source import Encoding
from .fourf import FourF
from .grid import Grid
from .light import DiscSource, PointSource, SelfLuminous, Source, Spectrum
from .misalignment import Misalignment
from .routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from .routes.route import Route


class ConfigError(ValueError):
    """A configuration that cannot be used, in one line."""


Length = Annotated[float, quantity("m"), Field(gt=0, allow_inf_nan=False)]
Displacement = Annotated[float, quantity("m"), Field(allow_inf_nan=False)]
Shape = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


class ObjectSpecification(Specification):
    """``[bench.object]``: the device that shows the images."""

    shape: Shape
    pitch: Length
    pixels_per_logical: int = Field(1, ge=1)
    samples_per_pixel: int = Field(1, ge=1)
    encoding: Encoding = "amplitude"


class LightSpecification(Specification):
    """``[bench.light]``: coherence and spectrum; without it one plane wave at ``bench.wavelength``."""

    source: Literal["point", "disc", "self_luminous"] = "point"
    angular_radius: Angle | None = None
    points: int = Field(64, ge=1)
    wavelengths: tuple[Length, ...] = ()
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> LightSpecification:
        if (self.source == "disc") != (self.angular_radius is not None):
            raise ValueError('angular_radius belongs to source = "disc", and is needed there')
        if len(self.wavelengths) != len(self.weights):
            raise ValueError(f"weights must be one a wavelength, got {len(self.weights)} for {len(self.wavelengths)}")
        return self

    def build(self, wavelength: float) -> tuple[Source, Spectrum]:
        """Source and spectrum; the latter is ``wavelength`` [m] alone where none is stated."""
        sources = {
            "point": PointSource,
            "disc": lambda: DiscSource(self.angular_radius, self.points),
            "self_luminous": SelfLuminous,
        }
        spectrum = Spectrum(self.wavelengths, self.weights) if self.wavelengths else Spectrum.line(wavelength)
        return sources[self.source](), spectrum


class PupilSpecification(Specification):
    """``[bench.pupil]``: opening in the Fourier plane; ``aberrations`` in rad rms by Zernike index."""

    diameter: Length
    aberrations: dict[int, float] = {}
    index: Literal["noll", "osa"] = "noll"

    def build(self) -> Pupil:
        """The opening."""
        return Pupil(self.diameter, aberrations=self.aberrations, index=self.index)


class PositionSpecification(Specification):
    """``[bench.slm_position]``, ``[bench.camera_position]``: how an element is displaced."""

    shift: tuple[Displacement, Displacement] = (0.0, 0.0)
    rotation: Angle = 0.0
    tilt: tuple[Angle, Angle] = (0.0, 0.0)
    axial: Displacement = 0.0

    def build(self) -> Misalignment:
        """The displacement."""
        return Misalignment(**self.model_dump())


class LensSpecification(Specification):
    """``[bench.lens1]``, ``[bench.lens2]``; a lens with a pupil of its own needs the angular-spectrum route."""

    focal_length: Length
    pupil: PupilSpecification | None = None

    def build(self) -> Lens:
        """The lens."""
        return Lens(self.focal_length, pupil=None if self.pupil is None else self.pupil.build())


class SLMSpecification(Specification):
    """``[bench.slm]``: the device, and the part of it that is used. Numbers given here override the preset's."""

    device: str
    shape: Shape
    masks: int = Field(1, ge=1)
    samples_per_pixel: int = Field(1, ge=1)
    pitch: Length | None = None
    bit_depth: int | None = Field(None, ge=1, le=16)
    fill_factor: float | None = Field(None, gt=0, le=1)
    gray_slope: Literal[-1, 1] = -1
    effects: EffectsSpecification = EffectsSpecification()


class CameraSpecification(Specification):
    """``[bench.camera]``: the device, binning and exposure. Numbers given here override the preset's."""

    device: str
    shape: Shape
    binning: int = Field(1, ge=1)
    samples_per_pixel: int = Field(2, ge=1)
    exposure: float = Field(gt=0, allow_inf_nan=False)
    pitch: Length | None = None
    full_well: float | None = Field(None, gt=0)
    read_noise: float | None = Field(None, ge=0)
    bit_depth: int | None = Field(None, ge=1, le=16)
    dark_electrons: float = Field(ge=0)
    quantum_efficiency: float | None = Field(None, gt=0, le=1)
    dark_current: float = Field(0.0, ge=0, allow_inf_nan=False)
    exposure_time: Annotated[float, quantity("s"), Field(gt=0, allow_inf_nan=False)] | None = None
    gain: float | None = Field(None, gt=0, allow_inf_nan=False)
    offset: float = Field(0.0, ge=0, allow_inf_nan=False)
    prnu: float = Field(0.0, ge=0, allow_inf_nan=False)
    dsnu: float = Field(0.0, ge=0, allow_inf_nan=False)
    pattern_seed: int = 0


RouteName = Literal["angular_spectrum", "fourier_lens", "psf"]
ROUTES: dict[str, type[Route]] = {
    "angular_spectrum": AngularSpectrumRoute,
    "fourier_lens": FourierLensRoute,
    "psf": PSFRoute,
}


class BenchSpecification(Specification):
    """``[bench]``: everything from the laser to the camera."""

    wavelength: Length
    route: RouteName = "fourier_lens"
    override: tuple[str, ...] = ()
    object: ObjectSpecification
    lens1: LensSpecification
    slm: SLMSpecification
    lens2: LensSpecification
    camera: CameraSpecification
    light: LightSpecification = LightSpecification()
    pupil: PupilSpecification | None = None
    slm_position: PositionSpecification | None = None
    camera_position: PositionSpecification | None = None

    def build(self, *, dtype: torch.dtype = torch.complex64) -> FourF:
        """The bench that the tables describe, masks flat.

        Args:
            dtype: Complex type of the light; masks take its real part's type.

        Raises:
            ValueError: A device or a number that is needed is not known; the message says what to write where.
        """
        with errors_located(self):
            return self._built(dtype)

    def _built(self, dtype: torch.dtype) -> FourF:
        with errors_located(self, "bench", "slm", "device"):
            slm = slm_device(self.slm.device)
        with errors_located(self, "bench", "camera", "device"):
            camera = camera_device(self.camera.device)

        def known(specification: Specification, device: Device, name: str) -> float:
            stated = getattr(specification, name)
            table = "bench.slm" if device is slm else "bench.camera"
            return require(device, name, table=table) if stated is None else stated

        pixels = Grid(self.slm.shape, known(self.slm, slm, "pitch"))
        source, spectrum = self.light.build(self.wavelength)
        sensor_shape = tuple(n * self.camera.binning for n in self.camera.shape)
        for table, used, device in (("slm", self.slm.shape, slm), ("camera", sensor_shape, camera)):
            if device.shape is not None and any(n > m for n, m in zip(used, device.shape.value, strict=True)):
                binned = "" if table == "slm" or self.camera.binning == 1 else f" (binning {self.camera.binning})"
                raise ValueError(
                    f"bench.{table}.shape must fit on {device.name} with {device.shape.value} pixels, "
                    f"got {used}{binned}."
                )
        return FourF(
            Illumination(
                self.object.shape,
                self.object.pitch,
                self.wavelength,
                pixels_per_logical=self.object.pixels_per_logical,
                samples_per_pixel=self.object.samples_per_pixel,
                encoding=self.object.encoding,
                source=source,
                spectrum=spectrum,
                dtype=dtype,
            ),
            self.lens1.build(),
            slm_from_device(
                slm,
                pixels,
                self.slm.effects.build(
                    slm, int(known(self.slm, slm, "bit_depth")), known(self.slm, slm, "fill_factor")
                ),
                masks=self.slm.masks,
                fill_factor=1.0,  # among the effects, where it is not 1
                samples_per_pixel=self.slm.samples_per_pixel,
                wavelength=self.wavelength,
                dtype=torch.empty(0, dtype=dtype).real.dtype,
            ),
            self.lens2.build(),
            Camera(
                self.camera.shape,
                known(self.camera, camera, "pitch"),
                binning=self.camera.binning,
                exposure=self.camera.exposure,
                sensor=Sensor(
                    full_well=known(self.camera, camera, "full_well"),
                    read_noise=known(self.camera, camera, "read_noise"),
                    bit_depth=int(known(self.camera, camera, "bit_depth")),
                    **{
                        name: getattr(self.camera, name)
                        for name in ("dark_electrons", "quantum_efficiency", "dark_current", "exposure_time", "gain")
                    },
                    **{name: getattr(self.camera, name) for name in ("offset", "prnu", "dsnu", "pattern_seed")},
                ),
            ),
            samples_per_camera_pixel=self.camera.samples_per_pixel,
            **{
                name: part.build()
                for name in ("pupil", "slm_position", "camera_position")
                if (part := getattr(self, name)) is not None
            },
        )

    def build_route(self, bench: FourF) -> Route:
        """The route named in the configuration, for a bench made by :meth:`build`."""
        with errors_located(self):
            return ROUTES[self.route](bench, override=self.override)


S = TypeVar("S", bound=BaseModel)


def read_toml(path: str | Path) -> tuple[dict, str]:
    """Parsed content and text of a TOML file.

    Raises:
        ConfigError: The file is missing, unreadable or no TOML.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark in front
        return tomllib.loads(text), text
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist. Give the path of a configuration file (TOML).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error


def validated(model: type[S], content: dict, *, source: str = "configuration", text: str = "") -> S:
    """``content`` as a ``model``, or a ``ConfigError`` in one line.

    Args:
        model: Specification to fill.
        content: Parsed TOML.
        source: File name for the message; relative paths in a ``[design]`` start at its folder.
        text: The TOML itself, to find the line of a key.
    """
    origin = Origin(source, text)
    try:
        found = model.model_validate(content, context={"folder": Path(source).parent})
    except ValidationError as error:
        raise ConfigError(one_line(model, error.errors(), origin)) from error
    _keep_origin(found, origin)
    return found


def _keep_origin(table: BaseModel, origin: Origin) -> None:
    if isinstance(table, Specification):
        table._origin = origin
    for name in table.model_fields_set:  # defaults belong to all
        if isinstance(value := getattr(table, name), BaseModel):
            _keep_origin(value, origin)


@contextmanager
def errors_located(table: Specification, *key: str) -> Iterator[None]:
    """What is refused inside names the file that ``table`` was read from, and the line where it can be found.

    Args:
        table: Any table of the file; one that was not read from a file changes nothing.
        key: Names of tables and of the key that is refused; by default it is looked for in the message, as a key with
            its tables or as one that occurs once in the file.
    """
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        origin = table._origin
        if type(error) is not ValueError or not origin.source:  # a SamplingError says more than its words
            raise
        if key:
            location, named = key, f"{'.'.join(key)}: "
        else:
            location, named = key_of(str(error), origin.text), ""
        raise ConfigError(f"{origin.place(location)}: {named}{error}") from error


def load_bench(path: str | Path) -> BenchSpecification:
    """The ``[bench]`` table of a TOML file; other tables are for other commands.

    Raises:
        ConfigError: Any defect of the file or of the table.
    """
    content, text = read_toml(path)
    return bench_from(content, source=str(path), text=text)


def bench_from(content: dict, *, source: str, text: str = "") -> BenchSpecification:
    """The ``[bench]`` table of parsed TOML."""
    for name in ("bench", "design"):  # other tables are for other commands
        near = difflib.get_close_matches(name, content.keys() - {"bench", "design"}, n=1, cutoff=0.8)
        if near:
            found = f"unknown table [{near[0]}] beside" if name in content else f"has [{near[0]}], but has no table"
            raise ConfigError(f"{Origin(source, text).place(near)}: {found} [{name}]. Did you mean [{name}]?")
    if not isinstance(content.get("bench"), dict):
        raise ConfigError(f"{source} has no table [bench]. It describes wavelength, object, lenses, SLM and camera.")
    return validated(_WithBench, {"bench": content["bench"]}, source=source, text=text).bench


def require_same_bench(wanted: BenchSpecification, stated: BenchSpecification, source: str, *, hint: str = "") -> None:
    """Refuse masks of another bench: their light, SLM or lenses differ.

    Args:
        wanted: The bench at hand.
        stated: The one that the masks are for.
        source: Of the masks, for the message.
        hint: What to do, for the message.

    Raises:
        ValueError: With the first table that differs.
    """
    for name in ("wavelength", "slm", "lens1", "lens2"):
        if getattr(stated, name) != getattr(wanted, name):
            raise ValueError(
                f"{source} must be for this bench, but its bench.{name} is {getattr(stated, name)}, not "
                f"{getattr(wanted, name)}.{' ' if hint else ''}{hint}"
            )


class _WithBench(Specification):
    bench: BenchSpecification
