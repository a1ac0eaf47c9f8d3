"""The command of a hospital, `usfm-client`; every subcommand is one function here and one module that does the work.

A subcommand imports its work inside, so that `--help` does not wait for torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from core.exits import told_errors

application = typer.Typer(
    name="usfm-client",
    help="What a hospital does with an ultrasound encoder. Nothing leaves this machine.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Threads = Annotated[int, typer.Option(help="CPU threads; 0: as many as torch takes", min=0, max=256)]
Cache = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="decoded images; 'cache' beside the results if none is given")
]


@application.callback()
def client() -> None:
    """What a hospital does with an ultrasound encoder. Nothing leaves this machine."""


@application.command()
def finetune(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value of the task, e.g. tuning.steps=400", show_default=False)
    ] = None,
    *,
    task: Annotated[Path, typer.Option(metavar="FILE", help="what to learn: a YAML file")],
    weights: Annotated[Path, typer.Option(metavar="FILE", help="the pretrained encoder to start from")],
    manifest: Annotated[Path, typer.Option(metavar="FILE", help="your images: CSV or Parquet, a row an image")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="results; finetuned/TASK if none is given")] = None,
    cache: Cache = None,
    seed: Annotated[int, typer.Option(help="of every random draw")] = 0,
    threads: Threads = 0,
    side: Annotated[
        int, typer.Option(help="pixels on a side of the model's input; 0: as the weights", min=0, max=4096)
    ] = 0,
    test: Annotated[float, typer.Option(help="share of the patients for the result")] = 0.25,
    validation: Annotated[float, typer.Option(help="share of the patients that choose which state is kept")] = 0.1,
    names: Annotated[bool, typer.Option("--names", help="name patients in the results, not number them")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="remove the run in the folder first")] = False,
) -> None:
    """Fine-tune an encoder on your labelled images, and measure it on patients that it has not seen."""
    with told_errors():
        from rich.console import Console

        from client import finetune as work

        asked = work.Request(
            task=task,
            weights=weights,
            manifest=manifest,
            out=out,
            cache=cache,
            overrides=tuple(overrides or ()),
            seed=seed,
            threads=threads,
            side=side,
            test=test,
            validation=validation,
            names=names,
        )
        work.finetune(asked, resume=resume, overwrite=overwrite, console=Console())


@application.command()
def predict(
    *,
    model: Annotated[Path, typer.Option(metavar="FILE", help="model.safetensors of a fine-tuning")],
    images: Annotated[Path, typer.Option(metavar="FOLDER", help="images, also in folders inside")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="where results go")],
    threshold: Annotated[
        float | None, typer.Option(help="probability above which a pixel is inside; the model's own if none is given")
    ] = None,
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace earlier results in the folder")] = False,
) -> None:
    """Write masks, classes or enhanced images for a folder, and a sheet to look them over."""
    with told_errors(interrupted="give the command again with --overwrite to start over"):
        import torch
        from rich.console import Console

        from client.predict import predict_folder

        if threads:
            torch.set_num_threads(threads)
        predict_folder(model=model, images=images, out=out, threshold=threshold, overwrite=overwrite, console=Console())


def main() -> None:
    """The command `usfm-client`."""
    application()


if __name__ == "__main__":
    main()
