"""What is run in a checkout: the command lines, and the drawing of the demo's pictures."""
