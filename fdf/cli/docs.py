"""`fdf docs`."""


def docs() -> None:
    """x."""
