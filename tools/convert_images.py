import sys

from poets_tfr.cli.convert_images import main

if __name__ == '__main__':
    sys.exit(main())
