"""The one exception that means: the user gave us something we cannot use."""


class InputError(ValueError):
    """Bad input from outside (configuration, trace file, catalogue).

    The message alone must let the user mend it: it names the file and line or the key, the value
    found and what is allowed. The command line prints it and exits with code 2.
    """
