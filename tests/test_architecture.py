"""The import rules of the house, kept by a test instead of by memory: experiments -> kd -> optics4f, never back."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("optics4f", "kd", "experiments")

# What may be imported in one place only, and that place: a module, or all of a package.
ONLY_IN = {"pint": "optics4f.units", "h5py": "optics4f.bundle", "matplotlib": "optics4f.plotting"}

# Each module of optics4f may import what is named on its right. Every chain runs downhill:
# cli, report -> plotting, bundle, design, config -> conv -> routes -> fourf -> elements
# -> modulation, noise, propagation, profiles -> quantization, fourier, sampling -> field -> grid -> units.
OPTICS = {
    "": set(),  # its public names are loaded when they are first asked for
    "units": set(),
    "files": set(),
    "vendors.panel": {"devices", "units"},
    "vendors.dmd": {"vendors.images", "files", "images", "vendors.panel"},
    "vendors.images": {"files", "images", "vendors.panel"},
    "vendors.orientation": {"vendors.panel"},
    "vendors.tables": {"files", "vendors.panel"},
    "vendors": {"vendors.dmd", "vendors.images", "vendors.orientation", "vendors.panel", "vendors.tables"},
    "console": {"start"},
    "images": set(),
    "quantization": set(),
    "filtering": set(),
    "fourier": {"grid"},
    "modulation": set(),
    "noise": set(),
    "devices.kinds": set(),
    "devices.values": {"devices.kinds", "units"},
    "devices.reading": {"devices.kinds", "devices.values"},
    "devices.presets": {"devices.kinds", "devices.reading"},
    "devices": {"devices.kinds", "devices.presets", "devices.reading"},
    "light": {"units"},
    "misalignment": {"units"},
    "grid": {"units"},
    "field": {"grid"},
    "sampling": {"grid", "units"},
    "band": {"grid"},
    "fresnel": {"band", "grid"},
    "rayleigh_sommerfeld": {"grid"},
    "zernike": {"grid"},
    "propagation_method": {"grid", "sampling", "units"},
    "propagation": {
        "kept",
        "memory",
        "memory_needs",
        *("band", "field", "filtering", "fourier", "fresnel", "grid", "propagation_method"),
        *("rayleigh_sommerfeld", "sampling"),
    },
    "profiles": {"grid", "units"},
    "elements.aperture": {"modulation", "units", "zernike"},
    "elements.lens": {"elements.aperture", "field", "grid", "modulation", "profiles", "units"},
    "elements.source": {"field", "grid", "light", "modulation", "units"},
    "effects.base": set(),
    "effects.levels": {"effects.base", "quantization"},
    "effects.panel": {"effects.base", "grid", "zernike"},
    "effects.pixel": {"effects.base", "modulation", "units"},
    "effects": {"effects.base", "effects.levels", "effects.panel", "effects.pixel"},
    "elements.slm": {
        "elements.slm_base",
        "devices",
        "effects",
        "effects.levels",
        "grid",
        "modulation",
        "quantization",
    },
    "elements.sensor": {"devices"},
    "elements.camera": {"elements.sensor", "field", "grid", "noise", "units"},
    "photon_transfer": set(),
    "light_budget": {"elements.sensor", "units"},
    "tolerance": set(),
    "elements": {"elements.aperture", "elements.camera", "elements.lens", "elements.slm", "elements.source"},
    "fourf": {"elements", "elements.slm", "field", "grid", "misalignment"},
    # A route never imports another: each is the test of the others.
    "routes.geometry": {"sampling", "fourf", "fourier", "grid", "misalignment", "modulation"},
    "routes.conditions": {"band", "elements", "fourf", "grid", "light", "routes.geometry", "sampling"},
    "routes.route": {
        "routes.arriving",
        "routes.constants",
        "routes.operators",
        "memory_needs",
        "modulation",
        "quantization",
        "grid",
        "routes.adjoint",
        "field",
        "fourf",
        "light",
        "routes.conditions",
        "routes.geometry",
        "sampling",
    },
    "routes.adjoint": {
        "routes.later",
        "routes.once",
        "routes.operators",
        "routes.passes",
    },
    "routes.angular_spectrum": {
        "routes.operators",
        *("field", "fourf", "fourier", "grid", "modulation", "propagation", "propagation_method", "sampling", "units"),
        *("routes.conditions", "routes.geometry", "routes.route"),
    },
    "routes.fourier_lens": {
        "routes.operators",
        *("field", "fourf", "fourier", "grid", "modulation", "sampling"),
        *("routes.conditions", "routes.geometry", "routes.route"),
    },
    "routes.autocorrelation": {"field"},
    "routes.psf": {
        "elements.camera",
        "routes.autocorrelation",
        "routes.convolution",
        "routes.window",
        *("field", "fourf", "fourier", "light", "modulation", "sampling"),
        *("routes.conditions", "routes.geometry", "routes.route"),
    },
    "routes": {"routes.angular_spectrum", "routes.fourier_lens", "routes.psf"},
    "design.retrieval": {"fourf", "fourier"},
    "metrics": set(),
    "design.planes": {"fourf", "fourier"},
    "design.constraints": {"modulation", "quantization"},
    "design.outcome": {"design.progress"},
    "design.targets": {"design.planes", "field", "fourf", "metrics"},
    "design.gerchberg_saxton": {
        "design.constraints",
        "design.outcome",
        "design.planes",
        "design.targets",
        "field",
        "metrics",
    },
    "design.gradient": {"design.outcome", "design.targets", "elements.slm", "field", "metrics"},
    "design.encoding": {"field", "modulation"},
    "design": {
        *("design.constraints", "design.encoding", "design.gerchberg_saxton", "design.gradient", "design.outcome"),
        *("design.retrieval", "design.targets"),
    },
    "design.tiling": set(),
    "design.kernel_masks": {
        *("design.constraints", "design.gerchberg_saxton", "design.planes", "design.targets", "fourier"),
    },
    "conv_bench": {
        *("design.tiling", "elements", "elements.slm", "fourf", "light", "misalignment", "sampling", "units"),
    },
    "conv_arguments": set(),
    "conv_state": set(),
    "conv_taps": {"design.tiling", "elements.camera", "elements.slm", "fourf", "light", "routes"},
    "conv_kernels": {"design.progress", "conv_arguments", "conv_taps", "design.kernel_masks", "elements.slm"},
    "conv": {
        "memory_needs",
        *("conv_arguments", "conv_bench", "conv_kernels", "conv_state", "conv_taps", "design.tiling"),
        *("field", "fourf", "light", "routes", "routes.route", "units"),
    },
    "config_effects": {"config_lines", "devices", "effects", "units"},
    "config": {
        "config_lines",
        "config_messages",
        *("config_effects", "elements.slm", "light", "misalignment"),
        *("devices", "elements", "elements.camera", "elements.source", "fourf", "grid"),
        *("routes", "routes.route"),
    },
    "bundle.schema": set(),
    "bundle.checksums": {"bundle.schema", "files"},
    "bundle.contents": {"bundle.checksums", "config", "elements", "fourf"},
    "bundle.claims": {"bundle.checksums", "bundle.contents"},
    "bundle.arrays": {"bundle.checksums", "bundle.claims", "bundle.contents", "files"},
    "bundle.reading": {
        "bundle.proof",
        "bundle.statements",
        "bundle.checksums",
        "bundle.claims",
        "bundle.contents",
        "bundle.schema",
        "config",
    },
    "bundle.writing": {
        "bundle.proof",
        "bundle.statements",
        "config",
        "fourf",
        "",
        "bundle.checksums",
        "bundle.contents",
        "bundle.schema",
        "devices",
    },
    "bundle": {
        "bundle.arrays",
        "bundle.claims",
        "bundle.contents",
        "bundle.reading",
        "bundle.schema",
        "bundle.writing",
    },
    "bench.far_field": {"config", "devices", "fourier", "vendors"},
    "bench.client": {"files", "bench.far_field", "bundle", "units", "vendors", "vendors.panel"},
    "bench.difference": {"bundle"},
    "bench.slmsuite": {"bench.far_field", "bundle", "config", "devices", "vendors"},
    "bench.summary": {"bench.far_field", "bundle", "files", "units"},
    "bench": {"bench.client", "bench.difference", "bench.far_field", "bench.slmsuite", "bench.summary"},
    "calibration": {"bundle", "effects", "files", "grid", "units", "vendors", "vendors.panel", "zernike"},
    "plotting.canvas": set(),
    "plotting.planes": {"field", "grid", "plotting.canvas"},
    "plotting.light": {"field", "grid", "plotting.canvas", "plotting.planes"},
    "plotting.camera": {"grid", "photon_transfer", "plotting.canvas", "plotting.planes"},
    "plotting.psf": {"grid", "metrics", "plotting.canvas", "plotting.planes"},
    "plotting.design": {"grid", "metrics", "plotting.canvas", "plotting.planes"},
    "plotting.results": {"plotting.canvas"},
    "plotting.cost": {"plotting.canvas", "units"},
    "plotting": {
        *("plotting.camera", "plotting.canvas", "plotting.cost", "plotting.design", "plotting.light"),
        *("plotting.psf", "plotting.results"),
    },
    "design_config": {
        "number_files",
        *("config", "config_effects", "design.planes", "design.targets", "fourf", "images"),
    },
    "design_tiles": {
        *("bundle", "config", "conv", "design.tiling", "design_config", "fourf", "metrics", "plotting"),
    },
    "design_run": {
        "field",
        *("bundle", "config", "design", "design.gerchberg_saxton", "design.targets", "design_config", "design_tiles"),
        *("elements", "files", "fourf", "grid", "plotting"),
    },
    "report": {
        "report.layout",
        "report.pictures",
    },
    "twin.registration": {"vendors.orientation"},
    "twin.parameters": {"config", "config_effects", "effects", "effects.levels", "elements", "fourf"},
    "twin.model": {"config", "elements", "twin.parameters"},
    "twin.fitting": {"twin.model", "twin.registration"},
    "twin.files": {
        *("bundle", "calibration", "config", "files", "plotting", "sampling"),
        *("twin.fitting", "twin.model", "twin.parameters", "twin.registration"),
    },
    "twin": {"twin.files", "twin.fitting", "twin.model", "twin.parameters"},
    "compare": {
        "files",
        *("", "bundle", "calibration", "config", "metrics", "plotting", "report"),
        *("twin.model", "twin.registration"),
    },
    "cli": {
        "commands.begin",
        "commands.bench",
        "commands.bundles",
        "commands.measured",
        "",
        "console",
    },
    "__main__": {
        "start",
    },
    "bundle.proof": {"bundle.contents", "config"},
    "bundle.statements": {"bundle.contents", "config", "devices", "elements", "fourf"},
    "commands": set(),
    "commands.arguments": set(),
    "commands.begin": {"commands.arguments", "config_schema", "console", "devices", "files", "new_config"},
    "commands.bench": {
        "bundle",
        "commands.arguments",
        "config",
        "console",
        "design_run",
        "files",
        "images",
        "plotting",
        "sampling",
    },
    "commands.bundles": {
        "commands.bundle_errors",
        "bench",
        "bench.summary",
        "bundle",
        "commands.arguments",
        "console",
        "files",
        "report.of_bundle",
        "units",
    },
    "commands.measured": {"commands.bundle_errors", "commands.arguments", "compare", "console", "twin", "units"},
    "config_schema": {"config", "design_config"},
    "memory": set(),
    "memory_needs": {"memory_counts", "filtering", "grid", "memory", "propagation_method"},
    "new_config": {"images", "number_files", "devices", "units"},
    "report.bench_sections": {
        "report.markup",
        "bench.summary",
        "bundle",
        "compare",
        "config",
        "fourf",
        "report.layout",
        "report.pictures",
        "report.planes",
        "sampling",
        "units",
    },
    "report.layout": {"files", "report.markup", "report.pictures", "report.template"},
    "report.markup": {"report.pictures"},
    "report.metrics": {"report.layout", "units"},
    "report.of_bundle": {
        "report.tiles",
        "",
        "bundle",
        "calibration",
        "compare",
        "files",
        "report.bench_sections",
        "report.layout",
        "report.metrics",
        "units",
    },
    "report.pictures": {"grid", "plotting"},
    "report.planes": {"field", "fourf", "grid", "light", "routes", "routes.route", "sampling"},
    "report.template": set(),
    "routes.convolution": {"routes.later", "routes.once", "routes.passes"},
    "routes.passes": {"memory", "quantization"},
    "routes.window": {"routes.once", "routes.passes"},
    "elements.slm_base": {"devices", "effects", "field", "grid", "units"},
    "number_files": set(),
    "routes.arriving": {"grid", "light", "memory"},
    "routes.constants": set(),
    "routes.later": set(),
    "routes.once": set(),
    "routes.operators": {"filtering"},
    "kept": set(),
    "memory_counts": {"fourier", "grid"},
    "commands.bundle_errors": {"bundle", "bundle.checksums", "console"},
    "config_lines": set(),
    "config_messages": {"config_lines"},
    "design.progress": set(),
    "report.tiles": {
        "bundle",
        "config",
        "conv",
        "design_config",
        "grid",
        "metrics",
        "report.layout",
        "report.pictures",
        "sampling",
    },
    "start": set(),
}

# kd: what trains knows no optics; only the student, which is made of optics, does.
KD = {
    "": set(),
    "augment": set(),
    "extras": set(),
    "losses": set(),
    "provenance": set(),
    "readout": set(),
    "seeding": set(),
    "teachers": set(),
    "data": set(),
    "data.images": set(),
    "data.digits": {"data.images", "extras"},
    "data.places": set(),
    "data.download": {"data.places", "extras"},
    "data.pixels": set(),
    "data.splits": {"extras"},
    "data.cifar": {"data.images", "data.pixels", "data.places", "data.splits"},
    "data.idx": {"data.images", "data.pixels", "data.places", "data.splits"},
    "data.folders": {"data.images", "data.pixels", "data.splits"},
    "data.faces": {"data.images", "data.pixels", "data.splits", "extras"},
    "data.segmentation": {"data.images", "data.pixels", "data.places", "data.splits"},
    "data.catalogue": {
        *("data.cifar", "data.digits", "data.download", "data.faces", "data.folders", "data.idx", "data.images"),
        *("data.places", "data.segmentation"),
    },
    "students": {"optics4f.field", "optics4f.fourf", "optics4f.routes.route"},
    "sclc": {"students"},
    "complexity": {"evaluation", "sclc"},
    "checkpoints": {"extras", "provenance", "optics4f", "optics4f.files"},
    "evaluation": {"data.images"},
    "batches": {"augment", "data.images"},
    "distributed": set(),
    "objectives": {"losses"},
    "resume": {"optics4f.files"},
    "training": {
        "balance",
        "digest",
        "layout",
        "batches",
        "data.images",
        "distributed",
        "evaluation",
        "objectives",
        "resume",
        "seeding",
    },
    "tensorboard": {"extras", "training"},
    "__main__": {
        "optics4f.start",
    },
    "camera_filter": {"channel_filter", "optics4f.elements.camera", "optics4f.fourf"},
    "channel_filter": {"optics4f.routes.once"},
    "cli": {"command", "data.places", "recipe", "optics4f.console"},
    "colour": {
        "camera_filter",
        "channel_filter",
        "students",
        "optics4f.field",
        "optics4f.light",
        "optics4f.routes",
        "optics4f.routes.route",
    },
    "command": {
        "digest",
        "extras",
        "tensorboard",
        "optics4f.console",
        "checkpoints",
        "data.catalogue",
        "data.images",
        "data.places",
        "distributed",
        "evaluation",
        "recipe",
        "training",
        "optics4f.bundle",
        "optics4f.files",
    },
    "conv_readout": {"readout"},
    "fabrication": {"data.images", "optics4f.elements.slm"},
    "recipe": {
        "objectives",
        "physical",
        "data.images",
        "readout",
        "sclc",
        "seeding",
        "students",
        "teachers",
        "training",
        "optics4f.config",
    },
    "physical": {"colour", "seeding", "students", "optics4f.config", "optics4f.design"},
    "layout": set(),
    "digest": set(),
    "balance": {"data.images"},
}

COST = {"optics4f.devices", "optics4f.units"}
EXPERIMENTS = {
    "": set(),
    "terms": COST,
    "gpu_cost": {"terms", "optics4f.devices"},
    "optical_settings": {"terms", "optics4f.devices"},
    "hardware_cost": {"optical_settings", "terms", "optics4f.devices"},
    "monte_carlo": {"optical_settings", "terms", "optics4f.devices"},
    "measured_inference": {"gpu_cost", "runs", "terms", "optics4f.devices"},
    "published_cases": {"compare_cost", "hardware_cost", "terms", *COST},
    "cost_settings": {"cost_task", "terms", "optical_settings", "optics4f.config", "optics4f.devices"},
    "resolution_sweep": {
        "cost_layout",
        *(
            "hardware_cost",
            "monte_carlo",
            "terms",
        ),
    },
    "electronics_sweep": {
        "kd.complexity",
        *("cost_settings", "gpu_cost", "measured_inference", "resolution_sweep", "terms"),
        *COST,
    },
    "cost_report": {
        "cost_crossover",
        "optical_settings",
        "optics4f.devices",
        "published_cases",
        "resolution_sweep",
        "tables",
        "optics4f.plotting",
        "optics4f.units",
    },
    "cost_command": {
        "cost_crossover",
        "cost_layout",
        "cost_task",
        *("cost_report", "cost_settings", "electronics_sweep", "gpu_cost", "hardware_cost", "measured_inference"),
        *("resolution_sweep", "runs", "tables", "optics4f.files"),
    },
    "sweep": {"processes", "progress", "runs", "optics4f.files"},
    "local_pool": {"processes", "optics4f.console", "sweep"},
    "cluster": {"sweep"},
    "sweep_command": {"cluster", "local_pool", "sweep", "optics4f.config"},
    "twin_study": {
        "processes",
        "progress",
        "optics4f.console",
        "optics4f.twin.fitting",
        *("runs", "tables", "optics4f.config"),
        *("optics4f.twin", "optics4f.twin.parameters", "optics4f.twin.registration"),
    },
    "twin_retraining": {
        "local_pool",
        "sweep",
        "optics4f.twin.fitting",
        *("rows", "runs", "tables", "twin_study", "kd.data.digits", "kd.data.images", "kd.students", "kd.training"),
        *("optics4f.config", "optics4f.fourf", "optics4f.twin"),
    },
    "paper_settings": {"kd.data.catalogue", "kd.training", "optics4f.config"},
    "paper_rows": {
        "kd.complexity",
        "kd.colour",
        "kd.conv_readout",
        "optics4f.config",
        *("paper_settings", "kd.data.images", "kd.readout", "kd.sclc", "kd.seeding", "kd.students", "kd.teachers"),
        "optics4f.design",
    },
    "paper_run": {
        "optics4f.field",
        *("paper_rows", "paper_settings", "runs", "kd.checkpoints", "kd.complexity", "kd.data.catalogue"),
        *("kd.data.images", "kd.digest", "kd.students", "kd.training", "training_device"),
        *("paper_pixels", "paper_teachers", "paper_finish"),
    },
    "training_device": set(),
    "paper": {
        *("paper_statistics", "cluster", "local_pool", "paper_rows", "paper_settings", "runs", "sweep", "tables"),
        *("training_device", "paper_teachers", "paper_pixels", "paper_run", "paper_made_with", "paper_finish"),
        *("paper_kept", "optics4f.files"),
    },
    "paper_finish": {
        *("paper_settings", "paper_teachers", "kd.checkpoints", "kd.data.images", "kd.digest", "kd.students"),
        *("optics4f.files", "paper_pixels", "paper_statistics"),
    },
    "paper_teachers": {
        *("paper_settings", "kd.checkpoints", "kd.data.images", "kd.digest", "kd.training", "optics4f.files"),
    },
    "paper_kept": {"sweep"},
    "paper_overview": {
        *("paper", "paper_kept", "paper_segmentation", "paper_settings", "paper_statistics", "runs", "tables"),
    },
    "paper_made_with": {"paper_settings", "paper_statistics", "runs"},
    "paper_pixels": {"paper_settings", "paper_statistics", "optics4f.config", "optics4f.sampling"},
    "row_runs": {"rows", "settings", "training_pool", "kd.training"},
    "compare_cost": {"gpu_cost", "hardware_cost", "terms", "optics4f.devices"},
    "tables": {"optics4f.units"},  # results in, Markdown out: no physics
    "runs": {"kd.provenance", "optics4f", "optics4f.files"},
    "peers": {"optics4f.field", "optics4f.grid", "optics4f.propagation"},
    "timing": {"optics4f.console"},
    "benchmark_speed": {
        "benchmark_floors",
        "benchmark_peers",
        "optics4f.field",
        "timing",
        *("optics4f.elements", "optics4f.fourf", "optics4f.grid", "optics4f.propagation"),
        *("optics4f.routes", "optics4f.routes.route"),
    },
    "speed_report": {"benchmark_floors", "benchmark_peers", "optics4f.plotting", "benchmark_speed", "runs", "tables"},
    "benchmark_retrieval": {
        *("runs", "tables", "optics4f.design", "optics4f.design.gerchberg_saxton"),
        "optics4f.quantization",
    },
    "benchmark_conv": {
        "benchmark_conv_speed",
        *("runs", "tables", "optics4f.conv", "optics4f.elements", "optics4f.elements.camera"),
        *("optics4f.fourf", "optics4f.grid", "optics4f.plotting", "optics4f.sampling"),
    },
    "benchmark": {"peers", "runs", "tables", "optics4f.grid", "optics4f.profiles", "optics4f.units"},
    "settings": {"hardware_cost", "kd.training", "optics4f.config"},
    "fidelity": {"settings", "kd.data.images", "kd.students", "kd.training"},
    "rows": {
        "kd.physical",
        *(
            "settings",
            "optics4f.config",
        ),
        *("kd.data.images", "kd.readout", "kd.sclc", "kd.seeding", "kd.students", "kd.teachers"),
    },
    "demo_report": {
        "optics4f.report.bench_sections",
        "optics4f.report.metrics",
        "optics4f.report.of_bundle",
        *("settings", "kd.data.images", "kd.students", "kd.training"),
        *("optics4f.bundle", "optics4f.files", "optics4f.plotting", "optics4f.report"),
        *("optics4f.routes",),
    },
    "training_pool": {
        "processes",
        "progress",
        "optics4f.console",
        *("rows", "settings", "kd.checkpoints", "kd.data.digits", "kd.data.images", "kd.training"),
    },
    "demo": {
        *("compare_cost", "demo_report", "fidelity", "gpu_cost", "hardware_cost", "rows", "runs", "settings"),
        *("tables", "terms", "training_pool", "optics4f.bundle", "optics4f.files"),
        *("kd.complexity", "kd.data.images", "kd.students", "kd.training"),
    },
    "__main__": {
        "kd.data.places",
        "optics4f.start",
        "training_device",
        "benchmark_commands",
        "student_cost",
        "fabrication",
        "fabrication_settings",
        "fidelity_command",
        "fidelity_settings",
        "paper_overview",
        "paper_segmentation",
        *(
            "cost_command",
            "cost_settings",
            "demo",
            "paper",
            "paper_settings",
            "settings",
            "sweep_command",
            "twin_retraining",
            "twin_study",
            "optics4f.console",
        ),
    },
    "benchmark_growth": {
        "processes",
        "benchmark_speed",
        "runs",
        "tables",
        "timing",
        "optics4f.console",
        "optics4f.field",
        "optics4f.grid",
        "optics4f.memory",
        "optics4f.plotting",
        "optics4f.propagation",
        "optics4f.sampling",
        "optics4f.units",
    },
    "fabrication": {
        "paper_statistics",
        "cluster",
        "fabrication_bench",
        "fabrication_run",
        "fabrication_settings",
        "local_pool",
        "optics4f.files",
        "paper",
        "paper_kept",
        "paper_run",
        "paper_settings",
        "runs",
        "sweep",
        "tables",
    },
    "fabrication_bench": {
        "optics4f.elements.slm",
        "kd.fabrication",
        "optics4f.config",
        "optics4f.config_effects",
        "optics4f.effects",
        "optics4f.elements",
        "optics4f.elements.sensor",
        "optics4f.field",
        "optics4f.fourf",
        "optics4f.grid",
        "optics4f.misalignment",
        "optics4f.routes.route",
        "optics4f.twin.parameters",
    },
    "fabrication_run": {
        "fabrication_twin",
        "fabrication_bench",
        "fabrication_settings",
        "paper_rows",
        "paper_run",
        "runs",
        "kd.checkpoints",
        "kd.data.images",
        "kd.fabrication",
        "kd.objectives",
        "kd.students",
        "kd.training",
    },
    "fabrication_settings": {
        "fabrication_twin",
        "fabrication_bench",
        "paper_rows",
        "paper_settings",
        "kd.batches",
        "kd.training",
        "optics4f.config",
    },
    "fidelity_command": {
        "cluster",
        "fidelity_effects",
        "fidelity_figures",
        "fidelity_ledger",
        "fidelity_report",
        "fidelity_runs",
        "fidelity_settings",
        "local_pool",
        "runs",
        "sweep",
        "tables",
        "optics4f.files",
    },
    "fidelity_effects": {
        "optics4f.config",
        "optics4f.devices",
        "optics4f.effects",
        "optics4f.elements",
        "optics4f.elements.slm",
        "optics4f.fourf",
        "optics4f.units",
    },
    "fidelity_figures": {"fidelity_effects", "fidelity_ledger", "optics4f.plotting", "optics4f.plotting.canvas"},
    "fidelity_ledger": {"fidelity_effects", "fidelity_settings"},
    "fidelity_report": {"fidelity_effects", "fidelity_ledger", "fidelity_settings", "tables"},
    "fidelity_runs": {
        "kd.colour",
        "fidelity_effects",
        "fidelity_settings",
        "paper_rows",
        "paper_run",
        "kd.checkpoints",
        "kd.data.images",
        "kd.students",
        "kd.training",
        "optics4f.config",
        "optics4f.effects",
    },
    "fidelity_settings": {
        "fidelity_effects",
        "paper_rows",
        "paper_settings",
        "kd.training",
        "optics4f.config",
        "optics4f.units",
    },
    "paper_segmentation": {
        "paper_finish",
        "paper_pixels",
        "paper_statistics",
        "paper",
        "paper_run",
        "paper_segmentation_rows",
        "paper_settings",
        "kd.data.catalogue",
        "kd.data.images",
        "kd.evaluation",
    },
    "paper_segmentation_rows": {
        "paper_rows",
        "paper_settings",
        "kd.data.images",
        "kd.readout",
        "kd.seeding",
        "kd.students",
        "kd.teachers",
    },
    "student_cost": {
        "cost_layout",
        "cost_task",
        "cost_settings",
        "electronics_sweep",
        "hardware_cost",
        "measured_inference",
        "monte_carlo",
        "optical_settings",
        "paper_rows",
        "paper_run",
        "resolution_sweep",
        "runs",
        "student_cost_report",
        "tables",
        "kd.complexity",
        "optics4f.config",
        "optics4f.devices",
    },
    "student_cost_report": {"cost_report", "resolution_sweep", "tables"},
    "benchmark_commands": {
        "benchmark",
        "benchmark_conv",
        "benchmark_growth",
        "benchmark_retrieval",
        "speed_report",
        "optics4f.console",
    },
    "cost_crossover": {"resolution_sweep"},
    "cost_layout": {"optical_settings", "optics4f.devices"},
    "cost_task": {"paper_statistics", "cost_layout", "paper_rows", "paper_settings", "optics4f.config"},
    "processes": set(),
    "progress": set(),
    "benchmark_conv_speed": {
        "benchmark_floors",
        "runs",
        "tables",
        "timing",
        "optics4f.conv",
        "optics4f.elements",
        "optics4f.fourf",
        "optics4f.grid",
        "optics4f.routes",
        "optics4f.sampling",
    },
    "benchmark_floors": {"timing"},
    "benchmark_peers": {
        "benchmark",
        "peers",
        "timing",
        "optics4f.elements",
        "optics4f.fourf",
        "optics4f.grid",
        "optics4f.profiles",
        "optics4f.routes",
        "optics4f.routes.route",
    },
    "paper_statistics": set(),
    "fabrication_twin": {
        "optics4f.elements",
        "optics4f.fourf",
        "fabrication_bench",
        "kd.students",
        "optics4f.config",
        "optics4f.effects",
        "optics4f.grid",
        "optics4f.misalignment",
        "optics4f.twin.parameters",
    },
}


def full(package: str, name: str) -> str:
    """``grid`` of optics4f is ``optics4f.grid``; a name with its package already stays."""
    if name.split(".")[0] in PACKAGES:
        return name
    return f"{package}.{name}".rstrip(".")


MAY_IMPORT = {
    full(package, module): {full(package, name) for name in names}
    for package, table in zip(PACKAGES, (OPTICS, KD, EXPERIMENTS), strict=True)
    for module, names in table.items()
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported(text: str, module: str, is_package: bool, known: set[str]) -> set[str]:
    """Full names that a module imports: in functions and under TYPE_CHECKING too, and by name at run time."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                above = parents[: len(parents) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            # `from . import grid` names a module, `from .grid import Grid` something in one.
            names |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if called in ("import_module", "__import__", "extra") and isinstance(node.args[0].value, str):
                names.add(node.args[0].value)
    return names


IMPORTS = {
    name: imported(path.read_text(), name, path.name == "__init__.py", set(MODULES)) for name, path in MODULES.items()
}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in PACKAGES}


def reachable(module: str) -> set[str]:
    """Every module of ours that importing ``module`` brings in."""
    found, waiting = set(), [module]
    while waiting:
        for name in ours(IMPORTS.get(waiting.pop(), set())) - found:
            found.add(name)
            waiting.append(name)
    return found


def test_every_module_has_its_place_in_the_house():
    assert set(MODULES) - set(MAY_IMPORT) == set(), "say in MAY_IMPORT what a new module may import"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_its_place_allows(module):
    assert ours(IMPORTS[module]) - MAY_IMPORT.get(module, set()) == set()
    assert MAY_IMPORT.get(module, set()) - ours(IMPORTS[module]) == set(), "a rule is no wider than the imports"


@pytest.mark.parametrize("module", MODULES)
def test_each_library_at_the_border_has_one_door(module):
    libraries = {name.split(".")[0] for name in IMPORTS[module]}
    shut = {library for library, home in ONLY_IN.items() if not f"{module}.".startswith(f"{home}.")}
    assert not libraries & shut, f"leave these to {ONLY_IN}"


def test_packages_are_stacked_one_way():
    for module, names in IMPORTS.items():
        place = PACKAGES.index(module.split(".")[0])
        assert {name for name in ours(names) if PACKAGES.index(name.split(".")[0]) > place} == set(), module


def test_the_rules_themselves_hold_no_circle():
    open_ends = {module: set(names) for module, names in MAY_IMPORT.items()}
    while free := {module for module, names in open_ends.items() if not names & open_ends.keys()}:
        open_ends = {module: names for module, names in open_ends.items() if module not in free}
    assert not open_ends


def test_training_knows_no_optics():
    # Of optics4f it may touch what has nothing to do with light: the version, and writing files whole.
    assert {n for n in reachable("kd.training") if n.startswith("optics4f")} <= {"optics4f", "optics4f.files"}


def test_every_public_name_is_where_it_is_said_to_be():
    optics4f = importlib.import_module("optics4f")
    for name in optics4f.__all__:
        assert getattr(optics4f, name) is not None
    with pytest.raises(AttributeError, match="Gird"):
        _ = optics4f.Gird


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import h5py.version", {"h5py.version"}),
        ("from ..grid import Grid", {"optics4f.grid"}),
        ("from .. import grid, __version__", {"optics4f.grid", "optics4f"}),
        ("from .lens import Lens", {"optics4f.elements.lens"}),
        ("if TYPE_CHECKING:\n    import pint", {"pint"}),
        ("def late():\n    from kd.students import Student", {"kd.students"}),
        ("extra('matplotlib')", {"matplotlib"}),
    ],
)
def test_no_import_is_overlooked(text, wanted):
    known = {"optics4f", "optics4f.grid", "optics4f.elements.lens"}
    assert imported(text, "optics4f.elements.slm", False, known) == wanted
