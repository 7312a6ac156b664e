import sys

from poets_tfr.cli.examine import main

if __name__ == '__main__':
    sys.exit(main())
