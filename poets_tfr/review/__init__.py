"""A page on which people decide what the examination has found; image files stay as they are."""
