"""Standard input, output and error of a process that was started without them. Light: commands need it first of all."""

import os


def fill() -> None:
    """Have /dev/null where one of them is closed, as by ``>&-``.

    Else the next file or socket would take its number, and whatever is printed, or handed to a child as that, mean it.
    """
    # Standard error is 2.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
