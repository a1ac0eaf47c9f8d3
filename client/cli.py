"""The command of a hospital, `usfm-client`; every subcommand is one function here and one module that does the work.

A subcommand imports its work inside, so that `--help` does not wait for torch.
"""

from datetime import UTC, datetime
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
enroll = typer.Typer(help="Joining a study: a request goes out, a certificate comes back.", no_args_is_help=True)
application.add_typer(enroll, name="enroll")
audit = typer.Typer(help="What this hospital did, as its log has it.", no_args_is_help=True)
application.add_typer(audit, name="audit")

AGAIN = "give the same command again"
"""After Ctrl-C."""
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="made by `usfm-client init`")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0: as many as torch takes", min=0, max=256)]
Side = Annotated[int, typer.Option(help="pixels on a side of the model's input; 0: as the weights", min=0, max=4096)]
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
    side: Side = 0,
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


@application.command()
def init(
    site: Annotated[str, typer.Argument(metavar="SITE", help="your name in the study", show_default=False)],
    study: Annotated[str, typer.Argument(metavar="STUDY", help="the study's name", show_default=False)],
    *,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="a new folder; named as the study if none is given")
    ] = None,
) -> None:
    """Make your keys for a study, which never leave this machine, and begin the audit log."""
    with told_errors(interrupted=AGAIN):
        from client.site_folder import make_site
        from core.security.names import check_name

        place = folder or Path(check_name(study, what="study"))
        make_site(site, study, folder=place, now=datetime.now(UTC))
        typer.echo(f"keys of site {site} for study {study} are in {place}")
        typer.echo(f"then: usfm-client enroll request --folder {place}")


@enroll.command("request")
def write_request(*, folder: Folder = Path()) -> None:
    """Write the request for a certificate, and show the fingerprint that you read out."""
    with told_errors(interrupted=AGAIN):
        from client import enrolment
        from client.site_folder import SiteFolder

        request, path = enrolment.write_request(SiteFolder(folder), now=datetime.now(UTC))
        typer.echo(f"send {path} to the consortium; it holds no secret")
        typer.echo("when it calls you, read out the request's fingerprint:")
        typer.echo(request.fingerprint)


@enroll.command()
def accept(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="what came back", show_default=False)],
    *,
    authority: Annotated[Path, typer.Option(metavar="FILE", help="the authority's certificate, which came with it")],
    authority_fingerprint: Annotated[str, typer.Option(metavar="TEXT", help="as the consortium read it out")],
    folder: Folder = Path(),
) -> None:
    """Install the certificate that the consortium issued, if it is for your keys."""
    with told_errors(interrupted=AGAIN):
        from client import enrolment
        from client.site_folder import SiteFolder
        from core.security.certificates import day

        identity = enrolment.accept(
            SiteFolder(folder),
            certificate,
            authority=authority,
            fingerprint=authority_fingerprint,
            now=datetime.now(UTC),
        )
        typer.echo(f"site {identity.name} is enrolled in study {identity.study} until {day(identity.ends)}")


@audit.command()
def show(
    *,
    folder: Folder = Path(),
    last: Annotated[int, typer.Option(metavar="N", help="only the last N records; 0: all", min=0)] = 0,
) -> None:
    """Show the records, one a line."""
    with told_errors(interrupted=AGAIN):
        from client.audit import records
        from client.site_folder import SiteFolder

        for line in records(SiteFolder(folder), last=last):
            typer.echo(line)


@audit.command()
def verify(*, folder: Folder = Path()) -> None:
    """Check the chain of the records, and name the first bad one."""
    with told_errors(interrupted=AGAIN):
        from client.audit import verified
        from client.site_folder import SiteFolder

        typer.echo(str(verified(SiteFolder(folder))))


@audit.command()
def export(
    *,
    folder: Folder = Path(),
    out: Annotated[Path, typer.Option(metavar="FILE", help="a new file, for an auditor")],
) -> None:
    """Write the whole log with your signature over it."""
    with told_errors(interrupted=AGAIN):
        from client.audit import write_export
        from client.site_folder import SiteFolder

        count = write_export(SiteFolder(folder), out)
        typer.echo(f"{count} records are in {out}, signed")


def main() -> None:
    """The command `usfm-client`."""
    application()


if __name__ == "__main__":
    main()
