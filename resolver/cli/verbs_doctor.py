"""The verb `doctor`: probes what a resolver really enforces; the zipapp (deploy/doctor.md) is the same command."""

import argparse
from typing import Any

from resolver.cli.terminal import FAILED, Refusal, UsageError, coloured
from resolver.doctor import command


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `doctor`."""
    parser = verbs.add_parser("doctor", help="probe what a resolver really enforces, whichever product it is")
    command.add_options(parser)
    parser.set_defaults(verb=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    try:
        return command.run(arguments, colour=coloured())
    except command.Unusable as error:
        raise UsageError(str(error)) from None
    except command.Failed as error:
        raise Refusal(str(error), FAILED) from None
