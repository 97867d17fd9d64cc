"""``python -m experiments``: demo, benchmark, paper, fabrication, cost, sweep, twin."""

from __future__ import annotations

from optics4f.start import prepare

if __name__ == "__main__":
    prepare()  # before anything else is imported

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from optics4f.console import errors_in_one_line, run

from . import benchmark_commands

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Claims, and the commands that check them."
)
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder that holds the data sets; by default what OPTICS4F_DATA names.")
]


app.add_typer(benchmark_commands.app, name="benchmark")


def _with_data(folder: Path | None, cluster: str | None = None) -> AbstractContextManager[None]:
    from kd.data.places import data_in

    if folder is not None and cluster is not None:
        raise ValueError("data must be left out with cluster: its workers look where their own OPTICS4F_DATA names.")
    return data_in(folder)


@app.command()
def demo(
    config: Annotated[Path, typer.Argument(help="TOML file, such as experiments/configs/demo.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for masks.h5, metrics.json and report.html.")] = Path("runs/demo"),
) -> None:
    """Images, teacher, physical student, masks, ledger, cost, report.

    Example: python -m experiments demo experiments/configs/demo.toml --out runs/demo
    """
    with errors_in_one_line():
        from .demo import run_demo
        from .settings import load_configuration

        run_demo(load_configuration(config), out, Console())


@app.command()
def cost(
    config: Annotated[Path, typer.Argument(help="TOML file, such as experiments/configs/cost_demo.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for tables, records and figures.")] = Path("runs/cost"),
    data: Data = None,
) -> None:
    """Latency and energy of optics and electronics against the size of the image, and where they cross.

    A file with a table [students] asks for the trained students of a paper's table, at the size of their images.

    Example: python -m experiments cost experiments/configs/cost_demo.toml
    """
    with errors_in_one_line():
        from .cost_command import run_cost
        from .cost_settings import load_cost_configuration
        from .student_cost import is_student_cost, load_student_cost, run_student_cost

        with _with_data(data):
            if is_student_cost(config):
                run_student_cost(load_student_cost(config), out, Console())
            else:
                run_cost(load_cost_configuration(config), out, Console())


@app.command()
def fidelity(
    config: Annotated[Path, typer.Argument(help="TOML file, such as experiments/configs/fidelity_demo.toml.")],
    out: Annotated[Path, typer.Option(help="Folder of students, ledger, tables and figures.")] = Path("runs/fidelity"),
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes on this machine; as many as cores.")] = None,
    data: Data = None,
) -> None:
    """What each imperfection of the bench costs: alone, left out, and with masks trained for it.

    Example: python -m experiments fidelity experiments/configs/fidelity_demo.toml --workers 2
    """
    from .fidelity_command import StudyFailed, run_fidelity

    with errors_in_one_line(StudyFailed):
        from .fidelity_settings import load_fidelity

        with _with_data(data, cluster):
            run_fidelity(load_fidelity(config), out, Console(), cluster=cluster, workers=workers)


@app.command()
def sweep(
    config: Annotated[Path, typer.Argument(help="TOML file, such as experiments/configs/sweep_demo.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for results.jsonl.")] = Path("runs/sweep"),
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes on this machine; as many as cores.")] = None,
) -> None:
    """All combinations of a file, on this machine's cores or on a Dask cluster; finished runs are skipped.

    Example: python -m experiments sweep experiments/configs/sweep_demo.toml --workers 2
    """
    from .sweep_command import RunsFailed, run_sweep

    with errors_in_one_line(RunsFailed):
        run_sweep(config, out, Console(), cluster=cluster, workers=workers)


@app.command()
def paper(
    name: Annotated[str, typer.Argument(metavar="SET", help="mnist, fashion_mnist, ... or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of results; runs/paper_SET by default.")] = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Only these; repeat for several.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="Only these; repeat for several.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes on this machine; as many as cores.")] = None,
    data: Data = None,
    record: Annotated[
        Path | None, typer.Option(help="Folder for the table of the finished runs; nothing is trained.")
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --record: one more folder of results, or of a record that goes on; for several, repeat."
        ),
    ] = None,
    teachers: Annotated[
        list[Path] | None,
        typer.Option(help="Folder with teachers of the same settings, such as another table's; for several, repeat."),
    ] = None,
    students: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder with students of a table that differs in \\[finish] and the SLM's samples; repeat for several."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="What trains, such as cuda; by default what OPTICS4F_DEVICE names, else cpu.")
    ] = None,
) -> None:
    """Teacher, linear students, physical students and controls on one data set; goes on where it was stopped.

    The data are looked for in the folder that --data or OPTICS4F_DATA names.

    Example: python -m experiments paper mnist --workers 2
    """
    from .paper import RowsFailed, record_paper, run_paper

    with errors_in_one_line(RowsFailed):
        from .paper_segmentation import SEGMENTATION, segments
        from .paper_settings import configuration_of, load_paper
        from .training_device import on_device

        configuration = load_paper(name if name.endswith(".toml") else configuration_of(name))
        table = SEGMENTATION if segments(configuration) else None
        folder = Path("runs") / f"paper_{configuration.name}" if out is None else out
        if also and record is None:
            raise ValueError("--also must stand beside --record: it is read for a table, nothing is trained into it.")
        if record is not None:
            if rows or seeds or cluster or workers or device or teachers or students:
                options = "--row, --seed, --cluster, --workers, --device, --teachers, --students"
                raise ValueError(f"--record must stand without {options}: it trains nothing.")
            record_paper(configuration, [folder, *(also or ())], record, Console(), table=table)
            return
        if device is not None and cluster is not None:
            raise ValueError("--device must be left out with --cluster: its workers' own OPTICS4F_DEVICE names it.")
        chosen = {"rows": rows or (), "seeds": seeds or ()}
        chosen |= {"teachers": teachers or (), "students": students or ()}
        with _with_data(data, cluster), on_device(device):
            run_paper(configuration, folder, Console(), cluster=cluster, workers=workers, table=table, **chosen)


@app.command()
def overview(
    folder: Annotated[Path, typer.Argument(help="Folder with records of tables, such as experiments/results.")],
) -> None:
    """All tables of `paper` beside one another, and which goals their records reach: papers.md; nothing is trained.

    Example: python -m experiments overview experiments/results
    """
    with errors_in_one_line():
        from .paper_overview import write_overview

        write_overview(folder, Console())


@app.command()
def fabrication(
    name: Annotated[str, typer.Argument(metavar="SET", help="mnist, digits, ... or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of results; runs/fabrication_SET by default.")] = None,
    students: Annotated[Path | None, typer.Option(help="Folder of `paper`; runs/paper_SET by default.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="Only these; repeat for several.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes on this machine; as many as cores.")] = None,
    data: Data = None,
) -> None:
    """Trained students on hidden benches that are not as designed, and how much of the loss is won back.

    Students that the folder of `paper` does not hold are trained first.

    Example: python -m experiments fabrication digits --workers 2
    """
    from .paper import RowsFailed

    with errors_in_one_line(RowsFailed):
        from .fabrication import run_fabrication
        from .fabrication_settings import fabrication_of, load_fabrication

        configuration = load_fabrication(name if name.endswith(".toml") else fabrication_of(name))
        out = out or Path("runs") / f"fabrication_{configuration.name}"
        students = students or Path("runs") / f"paper_{configuration.paper.name}"
        with _with_data(data, cluster):
            run_fabrication(
                configuration, out, students, Console(), seeds=seeds or (), cluster=cluster, workers=workers
            )


@app.command()
def twin(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/twin"),
    benches: Annotated[int, typer.Option(min=1, help="Hidden benches.")] = 20,
    independent: Annotated[int, typer.Option(min=0, help="Benches simulated by another route.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    retraining: Annotated[bool, typer.Option("--retraining", help="Masks retrained on the twin instead.")] = False,
    record: Annotated[Path | None, typer.Option(help="twin.json whose page is made again; nothing is fitted.")] = None,
) -> None:
    """Hidden benches, twins fitted to their frames: do the intervals hold the truth?

    Example: python -m experiments twin --benches 20 --workers 2
    """
    with errors_in_one_line():
        if retraining:
            from .twin_retraining import run_retraining

            run_retraining(out, Console(), benches=benches, workers=workers)
        elif record is not None:
            from .twin_study import rewrite_study

            rewrite_study(record, out)
        else:
            from .twin_study import run_study

            run_study(out, benches=benches, independent=independent, workers=workers, console=Console(stderr=True))


if __name__ == "__main__":
    run(app)
