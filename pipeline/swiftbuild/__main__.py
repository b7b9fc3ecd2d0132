"""`python -m swiftbuild`."""

from swiftbuild.cli.app import main

if __name__ == "__main__":
    main()
