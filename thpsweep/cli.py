"""The verbs. `run` and `sweep` are one Hydra app; whatever is heavy is imported by the verb that needs it."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence

from thpsweep import streams
from thpsweep.arguments import (
    COMPLETION,
    HYDRA_VERBS,
    for_hydra,
    line_to_complete,
    load_plugins,
    verbs_to_complete,
)
from thpsweep.errors import ThpsweepError, shortened
from thpsweep.usage import overview, parser

INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 some points failed, 2 bad input, 3 disk full, 130 and 143 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for_developers = os.environ.get("HYDRA_FULL_ERROR") == "1"
    streams.prepare()
    try:
        code = _run(arguments)
        streams.flush()
    except ThpsweepError as error:
        print(f"thpsweep: {shortened(str(error))}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has closed it
        streams.give_up()
        code = PIPE_CLOSED
    except OSError as problem:
        message = streams.explained(problem)
        if message is None or for_developers:
            raise
        print(f"thpsweep: {message[0]}", file=sys.stderr)
        code = message[1]
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMPLETION and "COMP_LINE" in os.environ:
        return _complete(arguments)
    return _hydra(arguments) if _is_hydra(arguments) else _plain(arguments)


def _complete(arguments: list[str]) -> int:
    """Print how a line may go on: its verb, or what Hydra knows of. A line that is not ready is not judged."""
    found = verbs_to_complete(os.environ["COMP_LINE"])
    if found is not None:
        print(*found, sep="\n" if "query=fish" in arguments else " ")
        return 0
    try:
        return _hydra(arguments)
    except ThpsweepError as error:
        return error.exit_code


def _is_hydra(arguments: Sequence[str]) -> bool:
    # Hydra's completion script calls the program with its own flag first, whatever the verb.
    return bool(arguments) and arguments[0] in (*HYDRA_VERBS, *COMPLETION)


def _hydra(arguments: list[str]) -> int:
    """Hand over to Hydra, and turn what it raises into one line."""
    with _importing():
        import hydra

        from thpsweep.application import Application
        from thpsweep.config.explain import explain
        from thpsweep.config.files import only_values
        from thpsweep.config.register import hydra_defaults, register
        from thpsweep.shipped import conf_dir

        for_developers = os.environ.get("HYDRA_FULL_ERROR") == "1"
        application = Application(previews=arguments[0] == "plan", whole="--all" in arguments)
        arguments = load_plugins(arguments)
        register()
    sys.argv[1:] = for_hydra(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, and let us say it
    if "COMP_LINE" in os.environ:
        os.environ["COMP_LINE"] = line_to_complete(os.environ["COMP_LINE"])
    try:
        with _the_verb_is_the_mode(), only_values():
            hydra.main(config_path=str(conf_dir()), config_name="config", **hydra_defaults())(application)()
        if application.problem is not None:
            raise application.problem
    except Exception as error:
        line = None if for_developers or isinstance(error, ThpsweepError) else explain(error)
        if line is None and application.told_no_number and not for_developers:
            line = f"hydra/sweeper: ended by {type(error).__name__} ({error}); expected sweep.objective_never=NUMBER"
        if line is None:
            raise
        raise ThpsweepError(line) from error
    finally:
        application.close()
    return application.exit_code


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Collect no garbage while modules are imported: what they make stays, and no later collection need walk it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _the_verb_is_the_mode() -> Iterator[None]:
    """Keep Hydra from composing everything once only to read hydra.mode: None makes it go by --multirun, which our verb
    decides.

    Source: hydra/_internal/utils.py _run_app (hydra-core 1.3.2).
    """
    from hydra._internal.hydra import Hydra

    asks = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = asks  # type: ignore[method-assign]


def _plain(arguments: list[str]) -> int:
    if not arguments:
        print(overview())
        return 0
    options, unknown = parser().parse_known_args(arguments)
    if unknown:
        options.usage_of.error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = options.verb(options)
    return code


if __name__ == "__main__":
    main()
