"""Routes on small benches that between them take every path by hand: what tests of the routes run through."""

from optics4f.elements import Lens, Pupil
from optics4f.light import DiscSource, PointSource, SelfLuminous
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from tests.optics4f.benches import WAVELENGTH, small_bench, smooth_masks


def matched_bench(shape=(18, 14), masks=2, fill_factor=1.0, **light):
    """Pitches of which each is a transform of the next: 18 samples, and 36 from the SLM to the image."""
    pitch = 20e-6
    slm_pitch = WAVELENGTH * 0.1 / (18 * pitch)
    bench = small_bench(
        object_shape=shape, object_pitch=pitch, pixels_per_logical=1, slm_shape=(15, 16), slm_pitch=slm_pitch,
        camera_shape=(5, 7), camera_pitch=WAVELENGTH * 0.15 / (36 * slm_pitch), samples_per_camera_pixel=1, masks=masks,
        fill_factor=fill_factor,
    )  # fmt: skip
    bench.slm.set_values(smooth_masks(masks, bench.slm.grid.shape))
    bench.illumination.source = light.get("source", PointSource())
    return bench


def displaced_bench():
    bench = small_bench()
    bench.slm.set_values(smooth_masks(2, bench.slm.grid.shape))
    bench.slm_position = Misalignment(shift=(20e-6, -30e-6), axial=2e-3, tilt=(1e-4, 0))
    bench.camera_position = Misalignment(shift=(10e-6, 5e-6), axial=-1e-3)
    bench.pupil = Pupil("0.6 mm", aberrations={5: 0.4}, trainable=True)
    return bench


def lens_bench():
    bench = small_bench()
    bench.lens2 = Lens(0.15, pupil=Pupil("0.9 mm", aberrations={7: 0.5}))
    return bench


def image_in_window_bench():
    return small_bench(camera_pitch=16e-6, camera_shape=(9, 13), samples_per_camera_pixel=1)


def aberrated_bench(source=PointSource()):  # noqa: B008, frozen
    bench = small_bench(masks=2, fill_factor=1.0)
    bench.slm.set_values(smooth_masks(2, bench.slm.grid.shape))
    bench.slm_position = Misalignment(shift=(20e-6, -30e-6), tilt=(1e-4, 0))
    bench.pupil = Pupil("0.6 mm", aberrations={5: 0.4})
    bench.illumination.source = source
    return bench


def aberrated_matched():
    bench = matched_bench()
    bench.pupil = Pupil("0.6 mm", aberrations={5: 0.4})
    return bench


CASES = {
    "propagation": (AngularSpectrumRoute, small_bench, {"window": (200, 190)}),
    "propagation, displaced": (AngularSpectrumRoute, displaced_bench, {"window": (200, 190)}),
    "propagation, lens with a rim": (AngularSpectrumRoute, lens_bench, {"window": (200, 190)}),
    "propagation, image in the window": (AngularSpectrumRoute, image_in_window_bench, {"window": (200, 190)}),
    "transform": (FourierLensRoute, small_bench, {}),
    "transform, displaced": (FourierLensRoute, displaced_bench, {}),
    "matched": (FourierLensRoute, matched_bench, {}),
    "matched, odd": (FourierLensRoute, lambda: matched_bench((15, 13)), {}),
    "matched, narrow": (FourierLensRoute, lambda: matched_bench((15, 2)), {}),
    "matched, factors": (FourierLensRoute, lambda: matched_bench(fill_factor=0.9), {}),
    "matched, aberrated": (FourierLensRoute, lambda: aberrated_matched(), {}),
    "transform, phases": (FourierLensRoute, lambda: aberrated_bench(), {}),
    "propagation, phases": (AngularSpectrumRoute, lambda: aberrated_bench(), {"window": (200, 190)}),
    "matched, disc": (FourierLensRoute, lambda: matched_bench(source=DiscSource(3e-5, 3)), {}),
    "psf": (PSFRoute, small_bench, {}),
    "psf, aberrated": (PSFRoute, lambda: aberrated_bench(), {}),
    "psf, disc": (PSFRoute, lambda: aberrated_bench(DiscSource(3e-5, 3)), {}),
    "psf, self-luminous": (PSFRoute, lambda: aberrated_bench(SelfLuminous()), {}),
    "matched, self-luminous": (FourierLensRoute, lambda: matched_bench((10, 9), source=SelfLuminous()), {}),
}
