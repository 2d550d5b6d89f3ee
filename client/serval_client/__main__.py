"""`python -m serval_client` is `serval-client`."""

import sys

from serval_client.commands import main

if __name__ == "__main__":
    sys.exit(main())
