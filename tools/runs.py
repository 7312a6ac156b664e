import sys

from poets_tfr.cli.runs import main

if __name__ == '__main__':
    sys.exit(main())
