"""`python -m worker.boot`: restore the model as a worker would, print the cold-start line, and exit."""

import sys

from worker.boot.boot import main

if __name__ == "__main__":
    sys.exit(main())
