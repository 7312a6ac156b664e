import sys

from poets_tfr.cli.label_image import main

if __name__ == '__main__':
    sys.exit(main())
