import sys

from poets_tfr.cli.review import main

if __name__ == '__main__':
    sys.exit(main())
