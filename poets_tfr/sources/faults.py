"""What is wrong with a picture file."""


class BadPictureError(Exception):
    """A file that cannot become a record; the message is the reason, for a person."""
