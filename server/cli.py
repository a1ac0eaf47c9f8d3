"""The command of the consortium, `usfm-server`; every subcommand is one function here, the work is in other modules.

A subcommand imports its work inside, so that `--help` does not wait.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.exits import told_errors

application = typer.Typer(
    name="usfm-server",
    help="What a consortium does to let hospitals join a study.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
enroll = typer.Typer(help="Which hospitals are trusted.", no_args_is_help=True)
application.add_typer(enroll, name="enroll")

AGAIN = "give the same command again"
"""After Ctrl-C."""
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="the study's folder, made by `usfm-server init`")]
SiteName = Annotated[str, typer.Argument(metavar="SITE", help="a hospital's name", show_default=False)]


@application.callback()
def server() -> None:
    """What a consortium does to let hospitals join a study."""


@application.command()
def init(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="the study's name", show_default=False)],
    *,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="a new folder; named as the study if none is given")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="DNS name or IP address of the server, may be repeated; else this machine"),
    ] = None,
) -> None:
    """Make a study's folder: authority, keys, certificates, an example configuration."""
    with told_errors(interrupted=AGAIN):
        from core.security.names import check_name
        from server.study_folder import make_study

        place = folder or Path(check_name(study, what="study"))
        names = name or ["localhost", "127.0.0.1"]
        made = make_study(study, folder=place, names=names, now=datetime.now(UTC))
        typer.echo(f"study {study} is in {place}; its server is known as {', '.join(names)}")
        typer.echo(f"authority's fingerprint, to be read to each hospital: {made.authority().fingerprint}")


@enroll.command("request")
def take_request(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="what a hospital sent", show_default=False)],
    *,
    folder: Folder = Path(),
) -> None:
    """Note a hospital's request, and show the fingerprint to compare by telephone."""
    with told_errors(interrupted=AGAIN):
        from server import enrolment
        from server.study_folder import StudyFolder

        request = enrolment.take_request(StudyFolder(folder), file)
        typer.echo(f"site {request.site} asks to join study {request.study}")
        typer.echo("call the hospital, on a number that you know, and have it read out its request's fingerprint:")
        typer.echo(request.fingerprint)
        typer.echo(f'then: usfm-server enroll approve {request.site} --fingerprint "AS READ OUT"')


@enroll.command()
def approve(
    site: SiteName,
    *,
    fingerprint: Annotated[str, typer.Option(metavar="TEXT", help="of the request, as the hospital read it out")],
    folder: Folder = Path(),
) -> None:
    """Certify a hospital whose request has the fingerprint that was read out."""
    with told_errors(interrupted=AGAIN):
        from core.security.authority import CERTIFICATE_FILE
        from core.security.certificates import authority_fingerprint, day
        from server import enrolment
        from server.study_folder import StudyFolder

        study = StudyFolder(folder)
        certificate = enrolment.approve(study, site, fingerprint=fingerprint, now=datetime.now(UTC))
        typer.echo(f"site {site} is certified until {day(certificate.not_valid_after_utc)}")
        typer.echo(f"send it {study.issued(site)} and {folder / CERTIFICATE_FILE}, and read out the fingerprint:")
        typer.echo(authority_fingerprint(study.authority_certificate))


@enroll.command()
def revoke(
    site: SiteName,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, in one line; kept in the list")],
    folder: Folder = Path(),
) -> None:
    """Take a hospital's trust away for good; its present keys can never be enrolled again."""
    with told_errors(interrupted=AGAIN):
        from server import enrolment
        from server.study_folder import StudyFolder

        count = enrolment.revoke(StudyFolder(folder), site, reason=reason, now=datetime.now(UTC))
        typer.echo(f"site {site} is revoked ({count} certificates); to join again it needs new keys")


@enroll.command("list")
def show_list(
    *,
    folder: Folder = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show every hospital with its state, and which certificates end soon."""
    with told_errors(interrupted=AGAIN):
        from server import enrolment
        from server.study_folder import StudyFolder

        found = enrolment.listing(StudyFolder(folder), now=datetime.now(UTC))
        typer.echo(json.dumps(found.document(), indent=2) if as_json else "\n".join(found.lines()))


def main() -> None:
    """The command `usfm-server`."""
    application()


if __name__ == "__main__":
    main()
