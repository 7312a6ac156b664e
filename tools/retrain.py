import sys

from poets_tfr.cli.retrain import main

if __name__ == '__main__':
    sys.exit(main())
