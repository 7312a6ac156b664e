"""The command lines; installed, this folder is the package poets_tfr.tools."""
