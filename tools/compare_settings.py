import sys

from poets_tfr.cli.compare_settings import main

if __name__ == '__main__':
    sys.exit(main())
