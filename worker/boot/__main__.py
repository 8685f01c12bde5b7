"""`python -m worker.boot`: bring the model to this machine as a worker would, print the cold-start line, and end."""

import sys

from worker.boot.boot import main

if __name__ == "__main__":
    sys.exit(main())
