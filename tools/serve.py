import sys

from poets_tfr.cli.serve import main

if __name__ == '__main__':
    sys.exit(main())
