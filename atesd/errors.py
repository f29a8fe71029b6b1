"""The one error a user can cause."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: the key, the value given, what is allowed, and the next step.
    """
