"""``python -m flare_actors``: the same as ``flare-actors``."""

from flare_actors.cli import main

if __name__ == "__main__":
    main()
