"""``cyclone completion``: what a shell needs to complete our command line, and what completes it.

Owns neither: argcomplete asks the very parser that reads a command line, when somebody presses the key. What depends on
the master (jobs, namespaces, nodes) is asked of it, for a moment at most.
"""

import argparse

from cyclone.cli import common, output, parsing

SHELLS = ("bash", "zsh", "fish")
_EPILOG = (
    "Once for all: `cyclone completion bash > ~/.local/share/bash-completion/completions/cyclone`, for zsh `cyclone "
    "completion zsh > DIR/_cyclone` with a DIR of $fpath, for fish `cyclone completion fish > "
    '~/.config/fish/completions/cyclone.fish`. For this shell: `eval "$(cyclone completion bash)"`.'
)

_EXAMPLES = (
    ("cyclone completion bash > /etc/bash_completion.d/cyclone", "for all users of this host"),
    ("cyclone completion zsh > ~/.zfunc/_cyclone", "with ~/.zfunc in $fpath, before compinit"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "completion",
        help="let bash, zsh or fish complete command lines",
        description="Print what a shell has to read so that it completes verbs, options, states, fields, jobs, "
        "namespaces and nodes.",
        epilog=_EPILOG,
    )
    parser.add_argument("shell", choices=SHELLS, help="for which shell")
    parsing.add_examples(parser, *_EXAMPLES)


def completion(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from argcomplete.shell_integration import shellcode

    output.write(shellcode(["cyclone"], shell=args.shell).rstrip())
    return common.EXIT_OK


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that has asked by the environment, and end the process."""
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options=False)
