"""Tests of the images themselves, in containers: `./newvisions test --images` builds and runs them."""
