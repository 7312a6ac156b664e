import sys

from poets_tfr.cli.fetch_flowers import main

if __name__ == '__main__':
    sys.exit(main())
