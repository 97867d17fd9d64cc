"""Every public name of the three packages has a docstring, with shapes of arrays and units of quantities.

Public is what a module of the packages defines without a leading underscore: functions, classes, their methods and
properties. The text is read, so three rules of thumb stand for "says it":

- A method without a docstring of its own has that of the method it overrides, if that is one of the packages. The
  ``forward`` and ``extra_repr`` of a ``torch`` module carry theirs in the class (``D102`` of ruff is off for it).
- Who takes or gives arrays says *a* shape, in its own docstring or, for a method, in that of the class: a word such as
  "shape" or "0-d", or a tuple of axes such as ``(masks, height, width)``. Which array it belongs to is not checked.
- A parameter, or attribute of a data class, whose name is that of a physical quantity has a unit in brackets behind it,
  such as ``[m]``, in its own entry or, where it has none, somewhere in the docstring. ``LENGTHS`` and the like list the
  names; a name of other meaning is not asked for a unit.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("optics4f", "kd", "experiments")

LENGTHS = {"wavelength", "wavelengths", "pitch", "distance", "focal_length", "extent", "axial", "diameter", "waist"}
LENGTHS |= {"path_length", "radius", "aperture"}
ANGLES = {"rotation", "tilt", "angle", "angular_radius", "phase", "phases", "phase_range", "direction"}
TIMES = {"frequency", "frequencies", "exposure_time", "seconds", "latency", "frame_rate", "settle_time"}
CAMERA = {"full_well", "read_noise", "dark_electrons", "dark_current", "electrons"}
QUANTITIES = LENGTHS | ANGLES | TIMES | CAMERA

ARRAY = re.compile(r"\b(Tensor|NDArray|ndarray|ArrayLike)\b")
NUMBER = re.compile(r"\b(float|Quantity|Tensor|NDArray|ArrayLike)\b")
UNIT = re.compile(r"\[[^\]\d.][^\]]*\]")
AXES = r"``(?:\w+ )?\([^`]*\)``"  # ``(masks, height, width)`` or ``data (..., height, width)``, but no call ``f(x)``
SHAPE = re.compile(rf"\bshapes?\b|\b[0-3]-[dD]\b|\bscalars?\b|{AXES}", re.IGNORECASE)
OF_THE_CLASS = {"forward", "extra_repr"}
ENTRY = re.compile(r"(\s+)\*{0,2}([\w, *]+?)(?: \([^)]*\))?:(.*)")


@dataclass(frozen=True)
class Name:
    """A public name: where it is, its docstring or that of what it overrides, parameters as they are annotated."""

    place: str
    own: str
    of_class: str
    parameters: dict[str, str]
    returns: str

    @property
    def entries(self) -> dict[str, str]:
        """What the docstring says of each parameter or attribute."""
        found, current, indent = {}, (), None
        for line in (self.own + "\n").splitlines():
            if re.fullmatch(r"\s*(Args|Attributes):", line):
                current, indent = (), len(line) - len(line.lstrip()) + 4
            elif indent is not None and line.strip() and len(line) - len(line.lstrip()) < indent:
                current, indent = (), None
            elif indent is not None and (entry := ENTRY.match(line)) and len(entry[1]) == indent:
                current = tuple(name.strip(" *") for name in entry[2].split(","))
                found |= dict.fromkeys(current, entry[3])
            else:
                found |= {name: found[name] + " " + line for name in current}
        return found


def modules():
    for package in PACKAGES:
        root = importlib.import_module(package)
        yield root
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def documented(function, cls=None):
    """Docstring of a function, or of what it overrides in a class of the packages."""
    for base in cls.__mro__ if cls else ():
        if base.__module__.split(".")[0] in PACKAGES:
            method = vars(base).get(function.__name__)
            method = (
                getattr(method, "fget", None) or getattr(method, "__func__", None) or getattr(method, "func", method)
            )
            if getattr(method, "__doc__", None):
                return inspect.cleandoc(method.__doc__)
    return inspect.cleandoc(function.__doc__ or "") if cls is None else ""


def annotations(function) -> tuple[dict[str, str], str]:
    found = {name: str(kind) for name, kind in getattr(function, "__annotations__", {}).items()}
    return found, found.pop("return", "")


def public_names():
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            place = f"{module.__name__}.{name}"
            if inspect.isfunction(value):
                yield Name(place, documented(value), "", *annotations(value))
            elif inspect.isclass(value):
                yield from names_of(value, place)


def names_of(cls, place):
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    fields = {k: str(v) for k, v in vars(cls).get("__annotations__", {}).items() if not k.startswith("_")}
    made = vars(cls).get("__init__")
    written = inspect.isfunction(made) and made.__code__.co_filename != "<string>"  # not by dataclass
    made = annotations(made)[0] if written else {}
    generated = text.startswith(f"{cls.__name__}(")  # what dataclass writes where there is none
    yield Name(place, "" if generated else text, "", {**fields, **made}, "")
    for name, member in vars(cls).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", None) or getattr(member, "func", member)
        if (
            name.startswith("_")
            or not inspect.isfunction(function)
            or function.__qualname__ != f"{cls.__qualname__}.{name}"
        ):
            continue
        own = documented(function, cls) or (text if name in OF_THE_CLASS else "")
        yield Name(f"{place}.{name}", own, text, *annotations(function))


NAMES = list(public_names())


def test_the_packages_are_read():
    places = {name.place for name in NAMES}
    assert {"optics4f.grid.Grid.padded", "kd.losses.hinton_kd", "experiments.terms.Term"} <= places
    assert len(places) > 1000


def failing(names):
    return "\n".join(sorted({name.place for name in names}))


def test_every_public_name_has_a_docstring():
    missing = failing(name for name in NAMES if not name.own)
    assert not missing, missing


def test_who_takes_or_gives_arrays_says_a_shape():
    arrays = [n for n in NAMES if any(ARRAY.search(kind) for kind in (*n.parameters.values(), n.returns))]
    assert len(arrays) > 300
    without = failing(n for n in arrays if not SHAPE.search(n.own + n.of_class))
    assert not without, without


def test_physical_quantities_have_units():
    wrong = []
    for name in NAMES:
        entries = name.entries
        for parameter, kind in name.parameters.items():
            if parameter in QUANTITIES and NUMBER.search(kind):
                text = entries.get(parameter, name.own)
                if not (UNIT.search(text) or re.search(r"\bAs for\b", text)):
                    wrong.append(f"{name.place}({parameter})")
    assert not wrong, "\n".join(wrong)


def api_pages():
    """The script that writes the pages of the API; the docs are no package."""
    file = Path(__file__).resolve().parents[1] / "docs" / "api.py"
    specification = importlib.util.spec_from_file_location("docs_api", file)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look there
    specification.loader.exec_module(module)
    return module


def test_every_public_name_has_a_page_in_the_docs():
    api = api_pages()
    listed = {module.name: module for package in api.PACKAGES for module in api.modules(package)}
    written = api.pages()
    named = {module.__name__ for module in modules()}
    classes_and_functions = {n.place for n in NAMES if n.place.rpartition(".")[0] in named}
    assert len(classes_and_functions) > 900
    shown = {f"{module.name}.{name}" for module in listed.values() for name in module.public}
    assert classes_and_functions <= shown, sorted(classes_and_functions - shown)
    for name in {place.rpartition(".")[0] for place in classes_and_functions}:
        assert f".. automodule:: {name}\n" in written[name]
        assert f":doc:`{name}`" in written[f"all_of_{name.split('.')[0]}"]
    reference = (api.ROOT / "docs" / "reference" / "api.md").read_text()
    assert all(f"api/all_of_{package}" in reference for package in PACKAGES)
