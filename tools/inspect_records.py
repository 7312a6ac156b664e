import sys

from poets_tfr.cli.inspect_records import main

if __name__ == '__main__':
    sys.exit(main())
